//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// protections are what `run CMD` puts around a command, in the order of the
// steps. Each can be left out by --without, to see what it is for.
var protections = []string{
	"uts", "pid", "mount", "limits", "cgroup", "user", "network", "ipc",
	"capabilities", "seccomp", "no-new-privileges", "masks", "devices",
	"descriptors", "environment", "keyring",
}

// runOptions are the flags of `run CMD`.
type runOptions struct {
	hostname string
	memory   string // bytes, or with the suffix k, m or g
	pids     int64
	cpus     float64
	without  []string // of the protections
}

// keeps tells whether the container has a protection.
func (o *runOptions) keeps(protection string) bool {
	return !slices.Contains(o.without, protection)
}

// defaultPath is where commands are looked for, if the caller has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultSpec is what `run CMD` and `spec` are made of: a config.json with
// every protection, see the runtime-spec's config.md and config-linux.md.
func defaultSpec(command []string) *specs.Spec {
	capabilities := defaultCapabilities()
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: false,
			Args:     command,
			Env:      []string{"PATH=" + cmp.Or(os.Getenv("PATH"), defaultPath), "TERM=" + os.Getenv("TERM"), "HOME=/root"},
			Cwd:      "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
			NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: "container",
		Mounts:   defaultMounts(),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UTSNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace},
				{Type: specs.UserNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
			},
			UIDMappings:   defaultMappings(hostID, ids),
			GIDMappings:   defaultMappings(hostID, ids),
			Resources:     defaultResources(),
			Seccomp:       defaultSeccomp(),
			MaskedPaths:   defaultMaskedPaths(),
			ReadonlyPaths: defaultReadonlyPaths(),
		},
	}
}

// writeSpec writes config.json into a bundle, unless there is one.
func writeSpec(bundle string) error {
	text, err := json.MarshalIndent(defaultSpec([]string{"sh"}), "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(bundle, "config.json"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(append(text, '\n'))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// withoutNamespace takes a namespace out of the spec.
func withoutNamespace(linux *specs.Linux, kind specs.LinuxNamespaceType) {
	linux.Namespaces = slices.DeleteFunc(linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
}

// apply changes spec as the flags say.
func (o *runOptions) apply(spec *specs.Spec) {
	spec.Hostname = o.hostname
	*spec.Linux.Resources.Pids.Limit = o.pids
	for _, protection := range o.without {
		switch protection {
		case "uts":
			spec.Hostname = ""
			withoutNamespace(spec.Linux, specs.UTSNamespace)
		case "pid", "mount", "cgroup", "network", "ipc":
			withoutNamespace(spec.Linux, specs.LinuxNamespaceType(protection))
		case "user":
			withoutNamespace(spec.Linux, specs.UserNamespace)
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = nil, nil
		case "capabilities":
			all := describe().Linux.Capabilities
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		case "seccomp":
			spec.Linux.Seccomp = nil
		case "no-new-privileges":
			spec.Process.NoNewPrivileges = false
		case "masks":
			spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
		case "environment":
			spec.Process.Env = os.Environ()
		}
	}
	if !privileged() && hasNamespace(spec, specs.UserNamespace) {
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = defaultMappings(os.Geteuid(), 1), defaultMappings(os.Getegid(), 1)
	}
}
