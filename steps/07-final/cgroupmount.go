//go:build linux

package main

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cgroupMounts returns what a mount of type cgroup becomes, to be mounted one
// after the other as they are, and each mount point made before it. The
// container sees its own cgroup and none above: as the root of its cgroup
// namespace, or else by a bind mount of the directory. The first mount of v1 is
// a tmpfs for the others, and what made it read-only comes last.
func cgroupMounts(m specs.Mount, c cgroup, ownNamespace bool) ([]specs.Mount, error) {
	show := func(dir, below string) specs.Mount {
		shown := specs.Mount{Destination: path.Join(m.Destination, below), Type: "cgroup2", Source: "cgroup", Options: slices.Clone(m.Options)}
		if !ownNamespace {
			shown.Type, shown.Source, shown.Options = "bind", dir, append(shown.Options, "bind")
		} else if dir != c.Dirs[""] { // the controllers say to the kernel which hierarchy it is
			data := c.controllers(dir)
			if strings.HasPrefix(data[0], "name=") { // it has none
				data = append(data, "none")
			}
			shown.Type, shown.Options = "cgroup", append(shown.Options, data...)
		}
		return shown
	}
	dirs := c.directories()
	if len(dirs) == 1 && dirs[0] == c.Dirs[""] {
		return []specs.Mount{show(dirs[0], "")}, nil
	}
	tmpfs := specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: slices.DeleteFunc(
		append(slices.Clone(m.Options), "mode=755"), func(o string) bool { return o == "ro" })}
	mounts := []specs.Mount{tmpfs}
	for _, dir := range dirs {
		name := path.Base(strings.TrimSuffix(dir, c.Path)) // cpu,cpuacct
		mounts = append(mounts, show(dir, name))
		for _, controller := range c.controllers(dir) {
			// Where the host has a link, a second mount: cpu beside it.
			if dir != c.Dirs[""] && controller != name && !strings.Contains(controller, "=") {
				mounts = append(mounts, show(dir, controller))
			}
		}
	}
	if slices.Contains(m.Options, "ro") {
		tmpfs.Options = append(slices.Clone(m.Options), "remount", "bind")
		mounts = append(mounts, tmpfs)
	}
	return mounts, nil
}
