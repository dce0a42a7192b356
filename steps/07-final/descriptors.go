//go:build linux

package main

import "golang.org/x/sys/unix"

// closeDescriptors makes execve(2) close all descriptors from first on. One
// that leads to a directory of the host leads out of any container, whoever
// left it open.
func closeDescriptors(first int) error {
	return wrap(unix.CloseRange(uint(first), ^uint(0), unix.CLOSE_RANGE_CLOEXEC), "close descriptors from %d", first)
}
