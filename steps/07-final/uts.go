//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// setHostname names the machine that the command sees, by hostname and
// domainname of config.json. Both need a UTS namespace of the container's own:
// outside one they would name the host, see uts_namespaces(7).
func (c *initConfig) setHostname() error {
	if c.Spec.Hostname != "" {
		if err := unix.Sethostname([]byte(c.Spec.Hostname)); err != nil {
			return fmt.Errorf("set hostname to %q: %w", c.Spec.Hostname, err)
		}
	}
	if c.Spec.Domainname != "" {
		if err := unix.Setdomainname([]byte(c.Spec.Domainname)); err != nil {
			return fmt.Errorf("set domainname to %q: %w", c.Spec.Domainname, err)
		}
	}
	return nil
}
