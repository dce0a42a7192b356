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
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const noController = "no controller %s (mount -t cgroup2 cgroup2 /sys/fs/cgroup; for memory, boot with cgroup_enable=memory)"

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
	c := cgroup{Path: filepath.Join("/", path), Dirs: map[string]string{}}
	switch {
	case slices.Contains(strings.Split(path, "/"), ".."):
		return c, fmt.Errorf("cgroupsPath %s leads up with ..", path)
	case c.Path == "/": // all of the host's processes may be in it
		return c, fmt.Errorf("cgroupsPath %s is the root", path)
	case strings.Count(path, ":") == 2 && !strings.Contains(path, "/"):
		return c, fmt.Errorf("cgroupsPath %s is one for systemd; only a path is supported (docker: native.cgroupdriver=cgroupfs; podman: --cgroup-manager=cgroupfs)", path)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return c, fmt.Errorf("find cgroup: %w", err)
	}
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
			if c.Dirs[name] == "" { // else another mount of what is there already
				c.Dirs[name] = mount + c.Path
			}
		}
	}
	if len(c.Dirs) == 0 {
		return c, fmt.Errorf("find cgroup: "+noController, "at all")
	}
	return c, nil
}

// v2 tells whether cgroup v2 has the controller.
func (c cgroup) v2(controller string) bool {
	return c.Dirs[controller] != "" && c.Dirs[controller] == c.Dirs[""]
}

// directories are the cgroup's, each once. That of v2 is the first: its events
// tell when all processes are gone, also for the others.
func (c cgroup) directories() []string {
	list := slices.Compact(slices.Sorted(maps.Values(c.Dirs)))
	if i := slices.Index(list, c.Dirs[""]); i > 0 {
		list[0], list[i] = list[i], list[0]
	}
	return list
}

// create makes the cgroup, and those above it, with limits. One without
// processes, as a killed runtime leaves it, is taken over. After an error
// nothing is left that it made; the cgroup may be another container's then: let
// it be.
func (c cgroup) create(r *specs.LinuxResources) (err error) {
	var made []string
	defer func() {
		for _, dir := range slices.Backward(made) {
			if err != nil {
				unix.Rmdir(dir) // unless another container is in it by now
			}
		}
		err = cgroupError(err)
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
			if err = os.Mkdir(child, 0o755); err == nil {
				made = append(made, child)
			} else if !errors.Is(err, os.ErrExist) {
				return err
			} else if child == dir {
				if err := c.unused(dir); err != nil {
					return err
				}
			}
			if dir == c.Dirs["cpuset"] && !c.v2("cpuset") {
				if err := inheritCPUSet(parent, child); err != nil {
					return err
				}
			}
			parent = child
		}
	}
	return c.limit(r, true)
}

// handDown lets the cgroups below dir have the controllers of v2: each cgroup
// from the root on must give them to the next.
func (c cgroup) handDown(dir string) error {
	has, missing := strings.Fields(readCgroup(dir+"/cgroup.subtree_control")), ""
	for _, name := range slices.Sorted(maps.Keys(c.Dirs)) {
		if name != "" && c.v2(name) && !slices.Contains(has, name) {
			missing += " +" + name
		}
	}
	if missing == "" {
		return nil
	}
	return writeCgroup(dir+"/cgroup.subtree_control", missing) // all of them or none
}

// inheritCPUSet gives a cgroup of v1 the CPUs and memory nodes of the one
// above: a new one has none, and no process can join it.
func inheritCPUSet(parent, child string) error {
	for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
		if readCgroup(child+file) == "" {
			if err := writeCgroup(child+file, readCgroup(parent+file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unused refuses a cgroup in which a container would meet other processes, or
// never start.
func (c cgroup) unused(dir string) error {
	if pids, err := processesBelow(dir); err != nil || len(pids) > 0 {
		return cmp.Or(err, fmt.Errorf("%s is not empty: processes %v", dir, pids))
	}
	frozen, err := c.frozen()
	if frozen {
		return fmt.Errorf("%s is frozen", dir)
	}
	return err
}

// add puts a process into the cgroup: what it starts will be there too.
func (c cgroup) add(pid int) error {
	for _, dir := range c.directories() {
		err := writeCgroup(dir+"/cgroup.procs", strconv.Itoa(pid))
		if errors.Is(err, unix.EBUSY) { // the container has handed controllers down
			err = joinBelow(dir, pid, err)
		}
		if err != nil {
			return fmt.Errorf("add process %d to cgroup: %w", pid, err)
		}
	}
	return nil
}

// readCgroup returns what a file holds, without the end of the line; nothing
// when it is not there.
func readCgroup(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSuffix(string(text), "\n")
}

// writeCgroup writes to a file that the kernel has made, at once. A limit whose
// file is not there is none that it knows: it must not become an ordinary file.
func writeCgroup(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		unix.Close(fd)
	}
	if err != nil {
		return &os.PathError{Op: "write " + strconv.Quote(value) + " to", Path: file, Err: err}
	}
	return nil
}

// cgroupError says what was refused, and what to paste then.
func cgroupError(err error) error {
	switch path, _ := errors.AsType[*os.PathError](err); {
	case err == nil:
		return nil
	case path != nil && errors.Is(err, unix.EROFS):
		return fmt.Errorf("create cgroup: %w (mount -o remount,bind,rw %s)", err, filepath.Dir(path.Path))
	case path != nil && errors.Is(err, unix.EBUSY) && filepath.Base(path.Path) == "cgroup.subtree_control": // as in Docker: who has processes shares nothing out
		return fmt.Errorf("create cgroup: %w (mkdir %[2]s/init; xargs -n1 <%[2]s/cgroup.procs >%[2]s/init/cgroup.procs)", err, filepath.Dir(path.Path))
	}
	return fmt.Errorf("create cgroup: %w", err)
}

// remove removes the cgroup, and those that the container made below it. It
// waits for processes that are about to end, but not forever.
func (c cgroup) remove() (err error) {
	deadline := time.Now().Add(10 * time.Second)
	for _, dir := range c.directories() {
		e := unix.Rmdir(dir)
		for e == unix.EBUSY && time.Now().Before(deadline) {
			awaitEmpty(dir, deadline)
			walkCgroups(unix.AT_FDCWD, dir, func(at int, name string, _ *os.File) error {
				unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
				return nil
			})
			e = unix.Rmdir(dir)
		}
		if e == unix.EROFS { // the kernel's answer also where there is none
			if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		if e != nil && e != unix.ENOENT {
			err = cmp.Or(err, fmt.Errorf("remove cgroup %s: %w", dir, e))
		}
	}
	return err
}

// hideCgroup makes the cgroup of init the root of all that it sees of cgroups,
// see cgroup_namespaces(7). Call it in the cgroup.
func hideCgroup() error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("create cgroup namespace: %w", err)
	}
	return nil
}

// defaultResources are the limits of a container that nobody gave any: 64 MiB
// without swap, 64 processes, half a CPU, and no devices but the harmless.
func defaultResources() *specs.LinuxResources {
	memory, pids, quota, period := int64(64<<20), int64(64), int64(50000), uint64(100000)
	return &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: &memory, Swap: &memory},
		Pids:    &specs.LinuxPids{Limit: &pids},
		CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period},
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
	}
}
