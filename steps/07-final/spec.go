//go:build linux

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
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
	pids     int
	cpus     float64
	without  []string // of the protections
}

// keeps tells whether the container has a protection.
func (o *runOptions) keeps(protection string) bool {
	return !slices.Contains(o.without, protection)
}

// defaultConfig is the config.json of `run CMD` and of `spec`, with comments.
//
//go:embed default.jsonc
var defaultConfig string

// configText is defaultConfig as JSON, which knows no comments.
func configText() []byte {
	var text []byte
	for line := range strings.Lines(defaultConfig) {
		if !strings.HasPrefix(strings.TrimSpace(line), "//") {
			text = append(text, line...)
		}
	}
	return text
}

// defaultSpec is what `run CMD` is made of. Of the caller's variables the
// command gets these two, in the place of the first of default.jsonc.
func defaultSpec(command []string) *specs.Spec {
	spec := new(specs.Spec)
	if err := json.Unmarshal(configText(), spec); err != nil {
		panic(err) // a test reads it
	}
	spec.Process.Args = command
	for i, name := range []string{"PATH", "TERM"} {
		if value := os.Getenv(name); value != "" {
			spec.Process.Env[i] = name + "=" + value
		}
	}
	return spec
}

// writeSpec writes config.json into a bundle, unless there is one.
func writeSpec(bundle string) error {
	f, err := os.OpenFile(filepath.Join(bundle, "config.json"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(configText())
		err = errors.Join(err, f.Close())
	}
	return wrap(err, "write configuration")
}

// withoutNamespace takes a namespace out of the spec.
func withoutNamespace(linux *specs.Linux, kind specs.LinuxNamespaceType) {
	linux.Namespaces = slices.DeleteFunc(linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
}

// bindHost makes of the mount on destination one of what the host has there:
// in a user namespace, /proc and /sys can only be mounted by who also has the
// PID and the network namespace, see mount_namespaces(7).
func bindHost(spec *specs.Spec, destination string) {
	for i, m := range spec.Mounts {
		if m.Destination == destination {
			flags := slices.DeleteFunc(m.Options, func(option string) bool { return strings.Contains(option, "=") })
			spec.Mounts[i] = specs.Mount{Destination: destination, Type: "bind", Source: destination, Options: append(flags, "rbind")}
		}
	}
}

// apply changes spec as the flags say.
func (o *runOptions) apply(spec *specs.Spec) error {
	spec.Hostname = o.hostname
	if err := o.limit(spec.Linux.Resources); err != nil {
		return err
	}
	for _, protection := range o.without {
		withoutNamespace(spec.Linux, specs.LinuxNamespaceType(protection)) // seven are named as theirs
		switch protection {
		case "uts":
			spec.Hostname = ""
		case "pid":
			bindHost(spec, "/proc")
		case "mount": // nor a root of its own
			spec.Root, spec.Mounts = nil, nil
		case "user":
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = nil, nil
		case "network":
			bindHost(spec, "/sys")
		case "ipc":
			spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" })
		case "capabilities":
			all := strings.Fields(capabilityNames)
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		case "seccomp":
			spec.Linux.Seccomp = nil
		case "no-new-privileges":
			spec.Process.NoNewPrivileges = false
		case "masks":
			spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
		case "devices":
			spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
			bindHost(spec, "/dev")
			spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev/") })
		case "environment":
			spec.Process.Env = os.Environ()
		}
	}
	if !privileged() && hasNamespace(spec, specs.UserNamespace) {
		mapOwnIDs(spec.Linux)
	}
	return nil
}

// limit sets the limits that have flags.
func (o *runOptions) limit(r *specs.LinuxResources) error {
	memory, err := parseSize(o.memory)
	if err != nil {
		return err
	}
	if o.pids < 1 {
		return fmt.Errorf("pids-limit %d leaves no room for the command", o.pids)
	}
	// The kernel takes from 1 ms on, see cgroup-v2.rst; NaN is not a number.
	if !(o.cpus >= 0.01 && o.cpus <= 10000) {
		return fmt.Errorf("cpus %v is not between 0.01 and 10000", o.cpus)
	}
	*r.Memory.Limit, *r.Memory.Swap, *r.Pids.Limit = memory, memory, int64(o.pids)
	*r.CPU.Quota = int64(o.cpus * float64(*r.CPU.Period))
	return nil
}

// parseSize reads a number of bytes such as 64m.
func parseSize(size string) (int64, error) {
	digits := strings.TrimRight(size, "kKmMgG")
	unit, known := map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[strings.ToLower(size[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 1 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("memory %q is not a number of bytes, with k, m or g", size)
	}
	return n * unit, nil
}
