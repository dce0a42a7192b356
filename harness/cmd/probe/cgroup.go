//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// mem takes memory and writes to each page of it, so that it is really there.
func mem(args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	memory, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map %d MiB: %w", mib, err)
	}
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	fmt.Printf("took %d MiB\n", mib)
	return nil
}

// forks starts processes until one is refused, at most so many, and stays. They
// do nothing and die with it. Only the kernel is asked, not Go: its runtime
// cannot go on without a thread that it wants, and threads count too.
func forks(args []string) error {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // whose death the processes are to follow
	made, refused := 0, syscall.Errno(0)
	for ; made < most; made++ {
		var pid uintptr
		if pid, _, refused = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); refused != 0 {
			break
		}
		if pid == 0 {
			syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
			for {
				syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
	if refused != 0 {
		fmt.Printf("made %d, then: %v\n", made, refused)
	} else {
		fmt.Printf("made %d\n", made)
	}
	for {
		_, _ = unix.Ppoll(nil, nil, nil)
	}
}

// controllers are those of the limits.
var controllers = []string{"memory", "pids", "cpu"}

// mountCgroups mounts each hierarchy that has one of the controllers, and
// returns where, and which of them is v2's ("" is none).
func mountCgroups() (dirs []string, v2 string, err error) {
	lines, err := os.ReadFile("/proc/self/cgroup") // 4:cpu,cpuacct:/ of v1, 0::/ of v2
	if err != nil {
		return nil, "", err
	}
	for line := range strings.Lines(string(lines)) {
		names := strings.SplitN(line, ":", 3)[1]
		listed := slices.ContainsFunc(strings.Split(names, ","), func(name string) bool { return slices.Contains(controllers, name) })
		if names != "" && !listed {
			continue
		}
		dir, err := os.MkdirTemp("/tmp", "cgroup")
		if err != nil {
			return nil, "", err
		}
		fstype := "cgroup"
		if names == "" {
			fstype = "cgroup2"
		}
		if err := unix.Mount(fstype, dir, fstype, 0, names); err != nil {
			return nil, "", fmt.Errorf("mount the %s of %q: %w", fstype, names, err)
		}
		if names == "" {
			if shared, _ := os.ReadFile(dir + "/cgroup.controllers"); !strings.Contains(string(shared), "memory") {
				_ = unix.Unmount(dir, 0)
				continue
			}
			v2 = dir
		}
		dirs = append(dirs, dir)
	}
	return dirs, v2, nil
}

// below makes a cgroup, and one in it, below its own in each hierarchy.
func below([]string) error {
	dirs, _, err := mountCgroups()
	for _, dir := range dirs {
		err = errors.Join(err, os.MkdirAll(dir+"/below/below", 0o755))
	}
	if err != nil {
		fmt.Println("tried")
		return err
	}
	fmt.Println("made")
	return nil
}

// lift tries to take its limits away, and becomes a program.
func lift(args []string) error {
	runtime.LockOSThread() // the namespace and execve(2) must be the same thread's
	fmt.Println("tries:", liftLimits())
	return become(args)
}

// liftLimits mounts the cgroups in which it is. What it may not write there as
// the root of its cgroup namespace, see nsdelegate in cgroups(7), it may as soon
// as that root lies deeper.
func liftLimits() error {
	dirs, v2, err := mountCgroups()
	if err != nil {
		return err
	}
	if v2 != "" {
		if err := os.Mkdir(v2+"/below", 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(v2+"/below/cgroup.procs", []byte("0"), 0); err != nil {
			return err
		}
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("create cgroup namespace: %w", err)
		}
	}
	var errs []error
	for _, dir := range dirs {
		for _, limit := range [][2]string{
			{"memory.max", "max"}, {"memory.swap.max", "max"}, {"cpu.max", "max"}, {"pids.max", "max"},
			{"memory.memsw.limit_in_bytes", "-1"}, {"memory.limit_in_bytes", "-1"}, {"cpu.cfs_quota_us", "-1"},
		} {
			if path := filepath.Join(dir, limit[0]); exists(path) {
				errs = append(errs, os.WriteFile(path, []byte(limit[1]), 0))
			}
		}
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// ownMounts moves this thread into a mount namespace, in which whoever it
// becomes finds the host's cgroups changed.
func ownMounts(more int) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS | more); err != nil {
		return fmt.Errorf("create mount namespace: %w", err)
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// readonly becomes a program to which all cgroups are mounted read-only.
func readonly(args []string) error {
	if err := ownMounts(0); err != nil {
		return err
	}
	mounts, err := probe.Mounts()
	for _, m := range mounts {
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			err = errors.Join(err, unix.Mount("", m.Target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		}
	}
	if err != nil {
		return fmt.Errorf("make cgroups read-only: %w", err)
	}
	return become(args)
}

// uncontrolled becomes a program that finds no mount with the controller
// args[0]: of v1 none is there, of v2, mounted on args[1], only the cgroup
// args[2], which has been kept from it.
func uncontrolled(args []string) error {
	if err := ownMounts(0); err != nil {
		return err
	}
	mounts, err := probe.Mounts()
	for _, m := range slices.Backward(mounts) {
		if m.Type == "cgroup" && slices.Contains(m.Super, args[0]) {
			err = errors.Join(err, unix.Unmount(m.Target, unix.MNT_DETACH))
		}
	}
	if args[1] != "" {
		err = errors.Join(err, unix.Mount(args[2], args[1], "", unix.MS_BIND, ""))
	}
	if err != nil {
		return fmt.Errorf("hide the controller %s: %w", args[0], err)
	}
	return become(args[3:])
}

// crowded becomes a program that finds itself in the root of all cgroups that
// it sees, as in Docker: of v2, mounted on args[0], that root is args[1].
func crowded(args []string) error {
	if err := os.WriteFile(args[1]+"/cgroup.procs", fmt.Append(nil, os.Getpid()), 0); err != nil {
		return err
	}
	if err := ownMounts(unix.CLONE_NEWCGROUP); err != nil {
		return err
	}
	if err := unix.Unmount(args[0], unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", args[0], err)
	}
	if err := unix.Mount("cgroup2", args[0], "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount cgroup2 on %s: %w", args[0], err)
	}
	return become(args[2:])
}
