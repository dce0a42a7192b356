//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
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
		err = json.Unmarshal(text, v, json.MatchCaseInsensitiveNames(true))
	}
	return text, wrap(err, "read %s", file)
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

// A refusal is what is wrong with a configuration, or not done by this runtime,
// and whether it is so.
type refusal struct {
	so  bool
	why string
}

// refuse returns the first refusal that is so.
func refuse(list ...refusal) error {
	for _, r := range list {
		if r.so {
			return errors.New(r.why)
		}
	}
	return nil
}

// validate refuses a configuration that is wrong or asks for something that
// this runtime does not do: nothing in it is left out in silence. It looks at
// nothing but spec.
func validate(spec *specs.Spec) error {
	if err := cmp.Or(validateNamespaces(spec), validateHooks(spec), validateMounts(spec), validateSysctls(spec)); err != nil {
		return err
	}
	linux := spec.Linux
	userPath, user := findNamespace(spec, specs.UserNamespace)
	uids, gids := len(linux.UIDMappings), len(linux.GIDMappings)
	if err := refuse(
		refusal{!strings.HasPrefix(spec.Version, "1."), fmt.Sprintf("ociVersion %q is not supported: 1.0 to %s are", spec.Version, specs.Version)},
		refusal{given(spec.Root).Path == "", "config.json has no root"},
		refusal{spec.Solaris != nil, "solaris is not supported"},
		refusal{spec.Windows != nil, "windows is not supported"},
		refusal{spec.VM != nil, "vm is not supported"},
		refusal{spec.ZOS != nil, "zos is not supported"},
		refusal{spec.FreeBSD != nil, "freebsd is not supported"},
		refusal{linux.IntelRdt != nil, "linux.intelRdt is not supported"},
		refusal{linux.MemoryPolicy != nil, "linux.memoryPolicy is not supported"},
		refusal{len(linux.NetDevices) > 0, "linux.netDevices is not supported"},
		refusal{given(linux.Seccomp).ListenerPath != "", "linux.seccomp.listenerPath is not supported"},
		refusal{given(linux.Seccomp).ListenerMetadata != "", "linux.seccomp.listenerMetadata is not supported"},
		refusal{linux.Personality != nil, "linux.personality is not supported"},
		refusal{user && userPath == "" && uids*gids == 0, "a new user namespace needs uidMappings and gidMappings"},
		refusal{!user && uids+gids > 0, "uidMappings and gidMappings need a user namespace"},
		refusal{spec.Hostname+spec.Domainname != "" && !hasNamespace(spec, specs.UTSNamespace),
			"hostname and domainname need a UTS namespace: they would name the host"},
		refusal{len(linux.TimeOffsets) > 0 && !hasNamespace(spec, specs.TimeNamespace), "timeOffsets need a time namespace"},
	); err != nil {
		return err
	}
	if spec.Process.Args == nil && spec.Process.CommandLine == "" { // then start fails
		return nil
	}
	return validateProcess(spec.Process)
}

// validateNamespaces refuses namespaces that cannot be.
func validateNamespaces(spec *specs.Spec) error {
	for i, ns := range spec.Linux.Namespaces {
		same := func(other specs.LinuxNamespace) bool { return other.Type == ns.Type }
		if err := refuse(
			refusal{!slices.ContainsFunc(namespaces, func(n namespace) bool { return n.kind == ns.Type }), fmt.Sprintf("namespace type %q is not supported", ns.Type)},
			refusal{slices.ContainsFunc(spec.Linux.Namespaces[:i], same), fmt.Sprintf("namespace %s is listed twice", ns.Type)},
			refusal{ns.Path != "" && !filepath.IsAbs(ns.Path), fmt.Sprintf("the path of namespace %s is not absolute: %q", ns.Type, ns.Path)},
		); err != nil {
			return err
		}
	}
	return nil
}

// validateHooks refuses hooks whose file would be looked for somewhere.
func validateHooks(spec *specs.Spec) error {
	h := given(spec.Hooks)
	for _, hook := range slices.Concat(h.Prestart, h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop) {
		if err := refuse(
			refusal{!filepath.IsAbs(hook.Path), fmt.Sprintf("the path of a hook is not absolute: %q", hook.Path)},
			refusal{hook.Timeout != nil && *hook.Timeout <= 0, fmt.Sprintf("hook %s: a timeout of %d s is none", hook.Path, given(hook.Timeout))},
		); err != nil {
			return err
		}
	}
	return nil
}
