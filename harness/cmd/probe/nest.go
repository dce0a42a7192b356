//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"containers-from-scratch/harness/internal/process1"

	"golang.org/x/sys/unix"
)

// nest runs a program in a machine inside the machine: with namespaces of its
// own, in which damage ends with it. A mutant that lost CLONE_NEWNS pivots the
// root of everything around it; here that is nothing but its nest.
func nest(args []string) error {
	if os.Getpid() == 1 {
		return insideNest(args)
	}
	return runIn("a nest", &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
	}, append([]string{"/proc/self/exe", "nest"}, args...))
}

// runIn runs a program in new namespaces, which dies with this one, and ends with
// its status.
func runIn(what string, attr *syscall.SysProcAttr, words []string) error {
	runtime.LockOSThread() // the parent death signal is a matter of threads
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	attr.Pdeathsig = unix.SIGKILL
	var exited *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exited) {
		os.Exit(exited.ExitCode())
	} else if err != nil {
		return fmt.Errorf("make %s: %w", what, err)
	}
	return nil
}

// first runs a program as process 1 of a PID namespace, as the entrypoint of a
// container of another runtime is: two such programs have the same number. All
// else is the machine's.
func first(args []string) error {
	if os.Getpid() == 1 {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make the mounts private: %w", err)
		}
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount proc on /proc: %w", err)
		}
		return become(args)
	}
	return runIn("a PID namespace", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID},
		append([]string{"/proc/self/exe", "first"}, args...))
}

// insideNest is process 1 of the nest. It gives the nest the shape of any
// sandbox, runs the program, and ends with its status; what the program leaves
// running the kernel kills, see pid_namespaces(7).
func insideNest(args []string) error {
	// Private and then shared: a peer group of its own, not the machine's.
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", propagation|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("change the propagation of /: %w", err)
		}
	}
	if err := unix.Unmount("/proc", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /proc: %w", err)
	}
	const nothing = unix.MS_NOSUID | unix.MS_NODEV
	for _, m := range []struct {
		kind, target string
		flags        uintptr
		data         string
	}{
		{"proc", "/proc", nothing | unix.MS_NOEXEC, ""},
		{"tmpfs", "/tmp", nothing, "mode=1777"},
		{"tmpfs", "/run", nothing, "mode=755"},
		{"tmpfs", "/dev/shm", nothing, "mode=1777"},
	} {
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	if err := process1.UpLoopback(); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	status, err := process1.Await(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", args[0], err)
	}
	os.Exit(status)
	return nil
}
