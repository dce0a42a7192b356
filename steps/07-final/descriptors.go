//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// closeDescriptors makes execve(2) close all descriptors from first on. One
// that leads to a directory of the host leads out of any container, whoever
// left it open.
func closeDescriptors(first int) error {
	if err := unix.CloseRange(uint(first), ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors from %d: %w", first, err)
	}
	return nil
}
