//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A right is what only the root of the machine has. To try it changes nothing:
// the kernel asks for the right before it finds that the rest makes no sense.
type right struct {
	name string
	try  func() error // nil: it would have been let
}

// rights prints which ones it has, and then that it has tried.
func rights([]string) error {
	for _, r := range []right{
		{"set the clock", func() error {
			nowhere := [2]int32{1 << 20, 0} // struct timezone, more than 15 hours off
			_, _, errno := unix.Syscall(unix.SYS_SETTIMEOFDAY, 0, uintptr(unsafe.Pointer(&nowhere)), 0)
			return except(unix.EINVAL, errno)
		}},
		{"load a module", func() error { return except(unix.ENOEXEC, unix.InitModule([]byte("none"), "")) }},
		{"set the level of kernel messages", func() error {
			const consoleLevel, noLevel = 8, 0 // see syslog(2)
			_, _, errno := unix.Syscall(unix.SYS_SYSLOG, consoleLevel, 0, noLevel)
			return except(unix.EINVAL, errno)
		}},
		{"make a device node", func() error {
			defer os.Remove("/disk")
			return unix.Mknod("/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0)))
		}},
		{"mount the host's devices", func() error { _, err := detached("devtmpfs"); return err }},
		{"change cgroups", func() error {
			fd, err := detached("cgroup2")
			if err != nil {
				return err
			}
			_, err = unix.Openat(fd, "cgroup.procs", unix.O_WRONLY, 0)
			return err
		}},
		{"read the kernel's memory", func() error {
			core, err := os.Open("/proc/kcore") // or what masks it: that is empty
			if err == nil {
				_, err = core.Read(make([]byte, 4))
				core.Close()
			}
			return err
		}},
		{"ask the kernel for a reboot", func() error { return opens("/proc/sysrq-trigger", os.O_WRONLY) }},
		{"say what a crash starts", func() error { return opens("/proc/sys/kernel/core_pattern", os.O_WRONLY) }},
		{"change a setting of the disks", func() error { return opens("/proc/sys/vm/laptop_mode", os.O_WRONLY) }},
		{"be spared when memory ends", func() error {
			return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
		}},
	} {
		if r.try() == nil {
			fmt.Println(r.name)
		}
	}
	fmt.Println("tried")
	return nil
}

// except returns err, unless it is the one that comes after the right.
func except(after syscall.Errno, err error) error {
	if errno, ok := err.(syscall.Errno); ok && (errno == 0 || errno == after) {
		return nil
	}
	return err
}

// opens tells whether a file can be opened, which is all that protects it.
func opens(file string, flags int) error {
	f, err := os.OpenFile(file, flags, 0)
	if err == nil {
		err = f.Close()
	}
	return err
}

// detached mounts a filesystem without a place in any tree: it is gone with the
// probe. See fsmount(2).
func detached(fstype string) (fd int, err error) {
	context, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
}

// remount takes the flag read-only from a mount.
func remount(args []string) error {
	return unix.Mount("none", args[0], "", unix.MS_REMOUNT|unix.MS_BIND, "")
}

// uncover takes off the mounts on directories, with those below them, down to one
// that cannot be taken off.
func uncover(args []string) error {
	for _, dir := range args {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
		}
	}
	return nil
}

// suid makes the file on stdin a program that runs as its owner.
func suid([]string) error { return unix.Fchmod(0, 0o4755) }

// covered becomes a program in whose mounts the directory of a file is covered,
// and holds nothing but that file.
func covered(args []string) error {
	runtime.LockOSThread() // the namespace and execve(2) must be the same thread's
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("create mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := mountTmpfs([]string{filepath.Dir(args[0])}); err != nil {
		return err
	}
	if err := os.WriteFile(args[0], []byte(args[1]+"\n"), 0o644); err != nil {
		return err
	}
	return become(args[2:])
}

// userns runs a program as root of a user namespace in which no other id is.
func userns(args []string) error {
	return runIn("a user namespace", &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS, // mounts are his to make, as in LXD
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}, args)
}
