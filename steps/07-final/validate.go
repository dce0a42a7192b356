//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// readSpec reads a config.json as it is.
func readSpec(file string) (*specs.Spec, error) {
	spec, _, err := readRawSpec(file)
	return spec, err
}

// readRawSpec reads a config.json and returns its text, too.
func readRawSpec(file string) (*specs.Spec, []byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	spec := new(specs.Spec)
	if err := unmarshal(raw, spec); err != nil {
		return nil, nil, fmt.Errorf("read configuration %s: %w", file, err)
	}
	if spec.Linux == nil {
		spec.Linux = new(specs.Linux)
	}
	return spec, raw, nil
}

// loadSpec reads the config.json of a bundle, refuses what this runtime does
// not do, and makes the path of the root filesystem absolute.
func loadSpec(bundle string) (*specs.Spec, []byte, error) {
	spec, raw, err := readRawSpec(filepath.Join(bundle, "config.json"))
	if err == nil {
		err = validate(spec)
	}
	if err != nil {
		return nil, nil, err
	}
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(bundle, spec.Root.Path)
	}
	return spec, raw, nil
}

// validate refuses a configuration that is wrong or asks for something that
// this runtime does not do: nothing in it is left out in silence. It looks at
// nothing but spec.
func validate(spec *specs.Spec) error {
	if !strings.HasPrefix(spec.Version, "1.") {
		return fmt.Errorf("ociVersion %q is not supported: 1.0 to %s are", spec.Version, specs.Version)
	}
	for _, missing := range []struct {
		name string
		is   bool
	}{{"root", spec.Root == nil || spec.Root.Path == ""}, {"process", spec.Process == nil}} {
		if missing.is {
			return fmt.Errorf("config.json has no %s", missing.name)
		}
	}
	for _, unsupported := range []struct {
		name string
		is   bool
	}{
		{"solaris", spec.Solaris != nil}, {"windows", spec.Windows != nil}, {"vm", spec.VM != nil},
		{"zos", spec.ZOS != nil}, {"freebsd", spec.FreeBSD != nil},
		{"linux.intelRdt", spec.Linux.IntelRdt != nil},
		{"linux.memoryPolicy", spec.Linux.MemoryPolicy != nil},
		{"linux.netDevices", len(spec.Linux.NetDevices) > 0},
		{"process.commandLine", spec.Process.CommandLine != ""},
	} {
		if unsupported.is {
			return fmt.Errorf("%s is not supported", unsupported.name)
		}
	}
	for _, check := range []func(*specs.Spec) error{validateNamespaces, validateHooks, validateMounts, validateSysctls} {
		if err := check(spec); err != nil {
			return err
		}
	}
	return cmp.Or(validatePersonality(spec.Linux.Personality), validateProcess(spec.Process))
}

// validateNamespaces refuses namespaces that contradict each other or what is
// to be done in them.
func validateNamespaces(spec *specs.Spec) error {
	var seen []specs.LinuxNamespaceType
	for _, ns := range spec.Linux.Namespaces {
		known := false
		for _, n := range namespaces {
			known = known || n.kind == ns.Type
		}
		for _, s := range seen {
			if s == ns.Type {
				return fmt.Errorf("namespace %s is listed twice", ns.Type)
			}
		}
		if seen = append(seen, ns.Type); !known {
			return fmt.Errorf("namespace type %q is not supported", ns.Type)
		}
		if ns.Path != "" && !filepath.IsAbs(ns.Path) {
			return fmt.Errorf("the path of namespace %s is not absolute: %q", ns.Type, ns.Path)
		}
	}
	path, user := findNamespace(spec, specs.UserNamespace)
	mappings := append(append([]specs.LinuxIDMapping{}, spec.Linux.UIDMappings...), spec.Linux.GIDMappings...)
	switch {
	case user && path == "" && (len(spec.Linux.UIDMappings) == 0 || len(spec.Linux.GIDMappings) == 0):
		return errors.New("a new user namespace needs uidMappings and gidMappings")
	case !user && len(mappings) > 0:
		return errors.New("uidMappings and gidMappings need a user namespace")
	case (spec.Hostname != "" || spec.Domainname != "") && !hasNamespace(spec, specs.UTSNamespace):
		return errors.New("hostname and domainname need a UTS namespace: they would name the host")
	case len(spec.Linux.TimeOffsets) > 0 && !hasNamespace(spec, specs.TimeNamespace):
		return errors.New("timeOffsets need a time namespace")
	}
	for _, m := range mappings {
		if m.Size == 0 || uint64(m.ContainerID)+uint64(m.Size) > 1<<32-1 || uint64(m.HostID)+uint64(m.Size) > 1<<32-1 {
			return fmt.Errorf("ID mapping %d %d %d is out of range", m.ContainerID, m.HostID, m.Size)
		}
	}
	for clock := range spec.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("timeOffsets: there is no clock %q", clock)
		}
	}
	return nil
}

// validateHooks refuses hooks whose file would be looked for somewhere.
func validateHooks(spec *specs.Spec) error {
	h := hooks(spec)
	for _, list := range [][]specs.Hook{h.Prestart, h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop} {
		for _, hook := range list {
			if !filepath.IsAbs(hook.Path) {
				return fmt.Errorf("the path of a hook is not absolute: %q", hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return fmt.Errorf("hook %s: a timeout of %d s is none", hook.Path, *hook.Timeout)
			}
		}
	}
	return nil
}
