//go:build linux

package main

import (
	"maps"
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
	if len(c.directories()) == 1 && c.Dirs[""] != "" {
		return []specs.Mount{hierarchyMount(m, c.Dirs[""], "cgroup2", nil, ownNamespace)}, nil
	}
	readOnly := slices.Contains(m.Options, "ro")
	tmpfs := specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: slices.DeleteFunc(
		append(slices.Clone(m.Options), "mode=755"), func(o string) bool { return o == "ro" })}
	mounts := []specs.Mount{tmpfs}
	for _, dir := range c.directories() {
		mount := strings.TrimSuffix(dir, c.Path) // /sys/fs/cgroup/cpu,cpuacct
		names := []string{path.Base(mount)}
		fstype, data := "cgroup2", []string(nil)
		for _, controller := range slices.Sorted(maps.Keys(c.Dirs)) {
			if c.Dirs[controller] != dir || dir == c.Dirs[""] {
				continue
			}
			fstype, data = "cgroup", append(data, controller)
			// Where the host has a link, a second mount: cpu beside
			// cpu,cpuacct.
			if !strings.Contains(controller, "=") && !slices.Contains(names, controller) {
				names = append(names, controller)
			}
		}
		for _, name := range names {
			below := m
			below.Destination = path.Join(m.Destination, name)
			mounts = append(mounts, hierarchyMount(below, dir, fstype, data, ownNamespace))
		}
	}
	if readOnly {
		tmpfs.Options = append(slices.Clone(m.Options), "remount", "bind")
		mounts = append(mounts, tmpfs)
	}
	return mounts, nil
}

// hierarchyMount is one hierarchy's mount: data says to the kernel which of v1.
func hierarchyMount(m specs.Mount, dir, fstype string, data []string, ownNamespace bool) specs.Mount {
	if !ownNamespace {
		m.Type, m.Source, m.Options = "bind", dir, append(slices.Clone(m.Options), "bind")
		return m
	}
	if slices.ContainsFunc(data, func(d string) bool { return strings.HasPrefix(d, "name=") }) {
		data = append([]string{"none"}, data...) // a hierarchy without controllers
	}
	m.Type, m.Source, m.Options = fstype, "cgroup", append(slices.Clone(m.Options), data...)
	return m
}
