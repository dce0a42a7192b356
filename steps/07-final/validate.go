//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// readJSON reads v from a file, or from standard input when its name is "-",
// and returns the text, too.
func readJSON(file string, v any) (text []byte, err error) {
	if file == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err == nil {
		err = unmarshal(text, v)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return text, nil
}

// readSpec reads a config.json as it is, and returns its text, too.
func readSpec(file string) (*specs.Spec, []byte, error) {
	spec := new(specs.Spec)
	text, err := readJSON(file, spec)
	if err != nil {
		return nil, nil, err
	}
	if spec.Linux == nil {
		spec.Linux = new(specs.Linux)
	}
	if spec.Process == nil { // it is required when start is called, see config.md, Process
		spec.Process = &specs.Process{Cwd: "/"}
	}
	return spec, text, nil
}

// loadSpec reads the config.json of a bundle, refuses what this runtime does
// not do, and makes the path of the root filesystem absolute.
func loadSpec(bundle string) (*specs.Spec, []byte, error) {
	spec, raw, err := readSpec(filepath.Join(bundle, "config.json"))
	if err == nil {
		err = validate(spec)
	}
	if err != nil {
		return nil, nil, err
	}
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(bundle, spec.Root.Path)
	}
	for i, m := range spec.Mounts {
		if o, err := parseMountOptions(m.Options); err == nil && o.bind && !filepath.IsAbs(m.Source) {
			spec.Mounts[i].Source = filepath.Join(bundle, m.Source)
		}
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
	if spec.Root == nil || spec.Root.Path == "" {
		return errors.New("config.json has no root")
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
		{"linux.personality", spec.Linux.Personality != nil},
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
	if spec.Process.Args == nil { // then start fails
		return nil
	}
	return validateProcess(spec.Process)
}

// validateNamespaces refuses namespaces that contradict each other or what is
// to be done in them.
func validateNamespaces(spec *specs.Spec) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range spec.Linux.Namespaces {
		switch known := slices.ContainsFunc(namespaces, func(n namespace) bool { return n.kind == ns.Type }); {
		case !known:
			return fmt.Errorf("namespace type %q is not supported", ns.Type)
		case seen[ns.Type]:
			return fmt.Errorf("namespace %s is listed twice", ns.Type)
		case ns.Path != "" && !filepath.IsAbs(ns.Path):
			return fmt.Errorf("the path of namespace %s is not absolute: %q", ns.Type, ns.Path)
		}
		seen[ns.Type] = true
	}
	path, user := findNamespace(spec, specs.UserNamespace)
	uids, gids := len(spec.Linux.UIDMappings), len(spec.Linux.GIDMappings)
	switch {
	case user && path == "" && uids*gids == 0:
		return errors.New("a new user namespace needs uidMappings and gidMappings")
	case !user && uids+gids > 0:
		return errors.New("uidMappings and gidMappings need a user namespace")
	case (spec.Hostname != "" || spec.Domainname != "") && !hasNamespace(spec, specs.UTSNamespace):
		return errors.New("hostname and domainname need a UTS namespace: they would name the host")
	case len(spec.Linux.TimeOffsets) > 0 && !hasNamespace(spec, specs.TimeNamespace):
		return errors.New("timeOffsets need a time namespace")
	}
	return nil
}

// validateHooks refuses hooks whose file would be looked for somewhere.
func validateHooks(spec *specs.Spec) error {
	h := given(spec.Hooks)
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
