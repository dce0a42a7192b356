//go:build linux

package main

import (
	"fmt"
	"syscall"
)

// setHostname names the machine that the command sees. Call it inside a new
// UTS namespace: outside one it renames the host, see uts_namespaces(7).
func setHostname() error {
	if err := syscall.Sethostname([]byte("container")); err != nil {
		return fmt.Errorf("set hostname to container: %w", err)
	}
	return nil
}
