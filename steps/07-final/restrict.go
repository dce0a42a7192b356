//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// restrict gives up all that the command must not have. The order rules: what
// one call needs, a later one takes away.
func (c *initHalf) restrict() error {
	p := c.Spec.Process
	if c.Keyring {
		if err := joinSessionKeyring("_ses." + c.ID); err != nil {
			return err
		}
	}
	caps, unknown := parseCapabilities(p.Capabilities)
	for _, name := range unknown {
		c.warn("capability %s is not known here", name)
	}
	if p.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	for _, step := range []func() error{
		func() error { setUmask(p.User.Umask); return setPersonality(c.Spec.Linux.Personality) },
		func() error { return setScheduler(p.Scheduler) },
		func() error { return setIOPriority(p.IOPriority) },
		caps.dropBounding,
		func() error { return setUser(p.User) },
		// A filter is for who may do all, or gains nothing any more, to load:
		// see seccomp(2). The command's own calls begin later in either case.
		func() error { return c.loadFilter(!p.NoNewPrivileges) },
		caps.apply,
		func() error { return setRlimits(p.Rlimits) },
		func() error { return c.loadFilter(p.NoNewPrivileges) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// loadFilter loads the seccomp filter, if it is time.
func (c *initHalf) loadFilter(now bool) error {
	if !now {
		return nil
	}
	return loadSeccomp(c.Seccomp, c.SeccompFlags)
}
