//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// restrict gives up all that the command must not have. The order rules: what
// one call needs, a later one takes away.
func (c *initHalf) restrict() error {
	p := c.Spec.Process
	if c.path == "" {
		return errors.New("config.json has no process to start")
	}
	caps, unknown := parseCapabilities(p.Capabilities)
	for _, name := range unknown {
		c.warn("capability %s cannot be granted", name)
	}
	return inOrder(
		c.preserveDescriptors,
		c.joinKeyring,
		func() error { return setExecLabels(p) },
		func() error { return setNoNewPrivileges(p.NoNewPrivileges) },
		caps.dropBounding,
		func() error { return setUser(p.User) },
		caps.apply,
		restoreOpenFiles,
		c.limitProcesses,
		func() error { return setRlimits(p.Rlimits) },
		func() error { return loadSeccomp(c.Seccomp, c.SeccompFlags) },
	)
}

// setNoNewPrivileges makes files that are set-user-ID, or have capabilities,
// ordinary ones to execve(2), for good: see PR_SET_NO_NEW_PRIVS(2const).
func setNoNewPrivileges(set bool) error {
	if !set {
		return nil
	}
	return os.NewSyscallError("set no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}

// restoreOpenFiles gives back the limit of open files that this process was
// started with. Go raises it, and lowers it again in Exec: also in one that
// fails, and then the next makes no call but execve(2) under the filter.
func restoreOpenFiles() error {
	if err := syscall.Exec("", nil, nil); err != unix.ENOENT {
		return fmt.Errorf("restore the limit of open files: %w", err)
	}
	return nil
}
