//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// settings are those of a machine that keep ordinary users, or all, from user
// namespaces: files below /proc, and what they then say. The first is missing
// then: the kernel was built without.
var settings = []struct {
	file, value, hint string
	forRoot           bool
}{
	{"self/uid_map", "", "a kernel with CONFIG_USER_NS is needed", true},
	{"sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "sysctl kernel.apparmor_restrict_unprivileged_userns=0", false},
	{"sys/kernel/unprivileged_userns_clone", "0\n", "sysctl kernel.unprivileged_userns_clone=1", false},
	{"sys/user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces=10000", true},
}

// explain adds to a refusal what on this machine may be behind it.
func explain(err error) error {
	refused := errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL)
	if refused && strings.HasPrefix(err.Error(), "mount proc") && !strings.Contains(err.Error(), "mount point") {
		return fmt.Errorf("%w (part of /proc is covered: in Docker, --security-opt systempaths=unconfined)", err)
	}
	// A command's file is the image's. Init has all that run could have, and a
	// root that is closed is another's.
	if _, command := errors.AsType[commandError](err); command || !refused || slices.Contains(os.Args[1:2], "init") || strings.HasPrefix(err.Error(), "enter") {
		return err
	}
	sudo := map[bool]string{false: "sudo sysctl", true: "sysctl"}[privileged()]
	for _, s := range settings {
		if value, _ := os.ReadFile("/proc/" + s.file); string(value) == s.value && (s.forRoot || !privileged()) {
			return fmt.Errorf("%w (%s)", err, strings.Replace(s.hint, "sysctl", sudo, 1))
		}
	}
	if errors.Is(err, os.ErrPermission) && os.Geteuid() == 0 && !privileged() { // no sudo mends it
		return fmt.Errorf("%w (in a user namespace: an unprivileged container, a security module, or Linux before 5.12? see dmesg)", err)
	}
	return fmt.Errorf("%w%s", err, hint(err))
}

// wrap says what was tried, if err is not nil, as os.NewSyscallError does for a
// system call.
func wrap(err error, act string, a ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(act, a...), err)
}

// explainDeath says what init died of, if err is that it is dead.
func explainDeath(err error, init *os.Process) error {
	// EINVAL is netlink's word for a namespace that has gone, since Linux 6.12.
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	// It is dead, or about to be: a signal of ours would hide of what.
	if !await(func() bool { _, err := startTime(init.Pid); return err != nil }) {
		return err
	}
	if end, _ := init.Wait(); end != nil {
		err = fmt.Errorf("init ended before the command: %v", end)
		switch status := end.Sys().(syscall.WaitStatus); {
		case status.Signal() == unix.SIGKILL:
			err = fmt.Errorf("%w (by the OOM killer, if the memory limit is too low)", err)
		case status.ExitStatus() == 2: // Go's own
			err = fmt.Errorf("%w (if Go got no thread: exec needs room for 8 below the limit of processes)", err)
		}
	}
	return err
}

// cgroupError says what was refused, and what to paste then.
func cgroupError(err error) error {
	path, _ := errors.AsType[*os.PathError](err)
	switch dir, file := filepath.Split(given(path).Path); given(path).Err {
	case unix.EROFS:
		err = fmt.Errorf("%w (mount -o remount,bind,rw %s)", err, dir)
	case unix.ENOENT:
		if strings.Contains(file, "sw") {
			err = fmt.Errorf("%w (before Linux 6.1, boot with swapaccount=1; since then, CONFIG_SWAP is missing)", err)
		}
	case unix.EEXIST:
		err = fmt.Errorf("%w: it is another container's, or was left behind", err)
	case unix.EBUSY: // as in Docker: who has processes shares nothing out
		err = fmt.Errorf("%w (mkdir %[2]sinit; xargs -n1 <%[2]scgroup.procs >%[2]sinit/cgroup.procs)", err, dir)
	}
	return fmt.Errorf("create cgroup: %w", err)
}
