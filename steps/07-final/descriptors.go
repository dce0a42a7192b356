//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeDescriptors makes execve(2) close all descriptors from first on. One
// that leads to a directory of the host leads out of any container, whoever
// left it open.
func closeDescriptors(first int) error {
	err := unix.CloseRange(uint(first), ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// ENOSYS before Linux 5.9, EINVAL before 5.11, EPERM from an outer
	// container's filter. This needs a /proc, and says so if there is none.
	dir, openErr := os.Open("/proc/self/fd")
	if openErr != nil {
		return fmt.Errorf("close descriptors from %d: %w", first, errors.Join(err, openErr))
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("close descriptors from %d: %w", first, err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
