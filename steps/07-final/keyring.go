//go:build linux

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// joinKeyring gives the command a session keyring, unless the caller's is to
// stay.
func (c *initHalf) joinKeyring() error {
	if !c.Keyring {
		return nil
	}
	return joinSessionKeyring("_ses." + c.ID)
}

// joinSessionKeyring gives the calling thread a session keyring of that name, a
// new one unless it may search one that is there. Otherwise the container had
// the keys of whoever started it: no namespace keeps keyrings apart, see
// session-keyring(7).
//
// A kernel without keyrings has nothing to hide: ENOSYS is no error. Neither is
// a refusal by a filter of an outer container: the command inherits the filter,
// which will refuse it keyctl(2) too.
func joinSessionKeyring(name string) error {
	_, err := unix.KeyctlJoinSessionKeyring(name)
	if err == nil || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	mode, _ := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if errors.Is(err, unix.EPERM) && mode == unix.SECCOMP_MODE_FILTER {
		return nil
	}
	return fmt.Errorf("join session keyring %s: %w", name, err)
}
