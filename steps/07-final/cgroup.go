//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	noController = "no controller %s (for memory, boot with cgroup_enable=memory; where no cgroups are: mount -t cgroup2 cgroup2 /sys/fs/cgroup)"
	noSystemd    = "systemd's cgroups are not supported: let the engine use cgroupfs (podman --cgroup-manager=cgroupfs; docker --exec-opt native.cgroupdriver=cgroupfs)"
)

// controllersV1 are what a mount of cgroup v1 can have, see cgroups(7).
var controllersV1 = []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory",
	"net_cls", "net_prio", "perf_event", "pids", "rdma"}

// A cgroup is the container's directory in each hierarchy: v2 has one for all
// controllers, v1 one for each or two. A hybrid host has both.
type cgroup struct {
	Path string            `json:"path"` // below the mount of each hierarchy
	Dirs map[string]string `json:"dirs"` // of each controller; under "" that of v2
}

// findCgroup tells where the cgroup of container id is or will be, and makes
// nothing. Path is the cgroupsPath of config.json. It counts from the mounts,
// with or without a leading "/": so it means the same whoever calls.
func findCgroup(path, id string) (cgroup, error) {
	path = cmp.Or(path, "container-"+id)
	c := cgroup{filepath.Join("/", path), map[string]string{}}
	switch {
	case c.Path == "/" || slices.Contains(strings.Split(path, "/"), ".."):
		return c, fmt.Errorf("cgroupsPath %s is not below the root, where the host's processes are", path)
	case strings.Count(path, ":") == 2 && !strings.Contains(path, "/"):
		return c, fmt.Errorf("cgroupsPath %s: %s", path, noSystemd)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		// 36 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
		f := strings.Fields(line)
		mount, names := f[4], strings.Split(f[len(f)-1], ",")
		switch f[len(f)-3] {
		case "cgroup":
			names = slices.DeleteFunc(names, func(n string) bool {
				return !slices.Contains(controllersV1, n) && !strings.HasPrefix(n, "name=")
			})
		case "cgroup2":
			names = append(strings.Fields(readCgroup(mount+"/cgroup.controllers")), "")
		default:
			continue
		}
		for _, name := range names {
			c.Dirs[name] = cmp.Or(c.Dirs[name], mount+c.Path) // the first of several mounts
		}
	}
	if err == nil && len(c.Dirs) == 0 {
		err = fmt.Errorf(noController, "at all")
	}
	return c, err
}

// v2 tells whether cgroup v2 has the controller.
func (c cgroup) v2(controller string) bool {
	return c.Dirs[controller] != "" && c.Dirs[controller] == c.Dirs[""]
}

// controllers are those of one of the directories.
func (c cgroup) controllers(dir string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.Dirs)), func(name string) bool {
		return name == "" || c.Dirs[name] != dir
	})
}

// directories are the cgroup's, each once, that of v2 first.
func (c cgroup) directories() []string {
	list := slices.Compact(slices.Sorted(maps.Values(c.Dirs)))
	if i := slices.Index(list, c.Dirs[""]); i > 0 {
		list[0], list[i] = list[i], list[0]
	}
	return list
}

// create makes the cgroup, and those above it, with limits, but that of
// processes. One that is there is another container's. After an error nothing
// is left that it made.
func (c cgroup) create(r *specs.LinuxResources) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, dir := range slices.Backward(made) {
				unix.Rmdir(dir) // unless another container is in it by now
			}
			err = cgroupError(err)
		}
	}()
	for _, dir := range c.directories() {
		parent := strings.TrimSuffix(dir, c.Path)
		for name := range strings.SplitSeq(c.Path[1:], "/") {
			child := parent + "/" + name
			if dir == c.Dirs[""] {
				if err := c.handDown(parent); err != nil {
					return err
				}
			}
			err := os.Mkdir(child, 0o755)
			if err == nil {
				made = append(made, child)
			} else if child == dir || !errors.Is(err, os.ErrExist) {
				return err
			}
			if dir == c.Dirs["cpuset"] && !c.v2("cpuset") {
				if err := inheritCPUSet(parent, child); err != nil {
					return err
				}
			}
			parent = child
		}
	}
	limits := given(r)
	if limits.Pids != nil {
		limits.Pids = &specs.LinuxPids{Limit: new(int64(-1))} // see limitProcesses
	}
	if err := c.update(&limits); err != nil {
		return err
	}
	return c.limitDevices(limits.Devices)
}

// handDown lets the cgroups below dir have the controllers of v2: each cgroup
// from the root on must give them to the next.
func (c cgroup) handDown(dir string) error {
	file := dir + "/cgroup.subtree_control"
	has := strings.Fields(readCgroup(file))
	missing := slices.DeleteFunc(c.controllers(c.Dirs[""]), func(name string) bool { return slices.Contains(has, name) })
	if len(missing) == 0 {
		return nil
	}
	return writeCgroup(file, "+"+strings.Join(missing, " +")) // all of them or none
}

// inheritCPUSet gives a cgroup of v1 the CPUs and memory nodes of the one
// above: a new one has none, and no process can join it.
func inheritCPUSet(parent, child string) (err error) {
	for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		if err == nil && readCgroup(child+file) == "" {
			err = writeCgroup(child+file, readCgroup(parent+file))
		}
	}
	return err
}

// hideCgroup makes the cgroup of init the root of all that it sees of cgroups,
// see cgroup_namespaces(7). Call it in the cgroup.
func (c *initHalf) hideCgroup() error {
	if path, listed := findNamespace(c.Spec, specs.CgroupNamespace); !listed || path != "" {
		return nil
	}
	return os.NewSyscallError("create cgroup namespace", unix.Unshare(unix.CLONE_NEWCGROUP))
}
