//go:build linux

package main

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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

// hasNamespace tells whether the container has a namespace of this type that is
// not the runtime's: a new one or one that is named by its path.
func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	_, own := findNamespace(spec, kind)
	return own
}

// findNamespace returns the path of the namespace of this type, empty for a new
// one, and whether config.json lists it: what is not listed is inherited.
func findNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) (path string, listed bool) {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == kind {
			return ns.Path, true
		}
	}
	return "", false
}
