package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where every machine has its cgroups, see cgroups(7).
const cgroupRoot = "/sys/fs/cgroup"

// cgroupVariable tells the programs of a machine which cgroups they can make:
// "v2", "v1", "hybrid" or "none".
const cgroupVariable = "SANDBOX_CGROUP="

// stepControllers are the controllers with which the steps limit something.
var stepControllers = []string{"memory", "pids", "cpu"}

// A hierarchy is one of this machine's cgroup trees, as a box sees it.
type hierarchy struct {
	Mount string // where it is mounted: /sys/fs/cgroup/cpu,cpuacct
	Kind  string // "cgroup2", or "cgroup" for version 1
	Data  string // what names it to mount(2): "cpu,cpuacct" or "none,name=systemd"
	Own   string // directory of the box's cgroup, first that of the launcher's
}

// boxCgroups are the cgroups that are the box's own, one in each hierarchy. In
// the box each is the root of its tree, see cgroup_namespaces(7).
type boxCgroups struct {
	trees []hierarchy
	locks []*os.File
}

// boxPrefix begins the name of every cgroup made for a box, and of no other.
const boxPrefix = "containers-from-scratch-box-"

// makeCgroups makes the cgroups for a box. Who makes one keeps it locked, so
// that the next can tell what a killed launcher left, and remove it.
func makeCgroups() (c *boxCgroups, err error) {
	mounts, err := probe.Mounts()
	if err != nil {
		return nil, err
	}
	current, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	trees := hierarchies(mounts, string(current))
	if len(trees) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted on %s", cgroupRoot)
	}
	c = &boxCgroups{}
	name := boxPrefix + strings.ToLower(rand.Text()[:12])
	for _, h := range trees {
		if err := c.add(h, name, notInVersion1(trees)); err != nil {
			c.remove()
			return nil, err
		}
	}
	return c, nil
}

// hierarchies are the trees mounted where they should be, with the cgroup of
// the process whose /proc/PID/cgroup says:
//
//	4:cpu,cpuacct:/user.slice
//	1:name=systemd:/user.slice/session-2.scope
//	0::/user.slice/session-2.scope
func hierarchies(mounts []probe.Mount, current string) (list []hierarchy) {
	for _, m := range mounts {
		if m.Target != cgroupRoot && filepath.Dir(m.Target) != cgroupRoot {
			continue
		}
		for line := range strings.Lines(current) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(f) < 3 || !shows(m, f[1]) {
				continue
			}
			data := f[1]
			if strings.HasPrefix(data, "name=") {
				data = "none," + data
			}
			// A bind mount of a part of the tree begins at that part.
			if path, ok := strings.CutPrefix(f[2]+"/", strings.TrimSuffix(m.Root, "/")+"/"); ok {
				list = append(list, hierarchy{m.Target, m.Type, data, filepath.Join(m.Target, path)})
			}
		}
	}
	return list
}

// shows tells whether m is a mount of the tree that /proc/PID/cgroup calls name.
func shows(m probe.Mount, name string) bool {
	if name == "" {
		return m.Type == "cgroup2"
	}
	return m.Type == "cgroup" && containsAll(m.Super, strings.Split(name, ","))
}

// containsAll tells whether all of words are in list.
func containsAll(list, words []string) bool {
	for _, w := range words {
		if !slices.Contains(list, w) {
			return false
		}
	}
	return true
}

// notInVersion1 are the controllers that version 2 must have.
func notInVersion1(trees []hierarchy) (names []string) {
	for _, name := range stepControllers {
		if !slices.ContainsFunc(trees, func(h hierarchy) bool { return slices.Contains(strings.Split(h.Data, ","), name) }) {
			names = append(names, name)
		}
	}
	return names
}

// add makes the box's cgroup in h. It stands below the launcher's own, whose
// limits hold for the box too. In version 2 only a cgroup without processes
// hands controllers down, see "no internal processes" in cgroups(7): there it
// stands below the nearest one above the launcher's that hands down those.
func (c *boxCgroups) add(h hierarchy, name string, controllers []string) error {
	parent := h.Own
	for h.Kind == "cgroup2" && !handsDown(parent, controllers) {
		if parent == h.Mount {
			return fmt.Errorf("no cgroup from %s up hands down %s", h.Own, strings.Join(controllers, ", "))
		}
		parent = filepath.Dir(parent)
	}
	door, err := lock(parent, unix.LOCK_EX) // nobody sweeps what is made and not yet locked
	if err != nil {
		return err
	}
	defer door.Close()
	sweep(parent)

	h.Own = filepath.Join(parent, name)
	if err := os.Mkdir(h.Own, 0o755); err != nil {
		return err
	}
	c.trees = append(c.trees, h)
	own, err := lock(h.Own, unix.LOCK_EX)
	if err != nil {
		return err
	}
	c.locks = append(c.locks, own)
	if h.Data == "cpuset" {
		return inherit(h.Own, "cpuset.cpus", "cpuset.mems") // nothing joins while they are empty, see cpuset(7)
	}
	return nil
}

// handsDown tells whether the children of cgroup dir have all controllers.
func handsDown(dir string, controllers []string) bool {
	return containsAll(strings.Fields(readLine(filepath.Join(dir, "cgroup.subtree_control"))), controllers)
}

// inherit copies settings of the cgroup above to dir.
func inherit(dir string, files ...string) error {
	for _, file := range files {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := writeCgroup(filepath.Join(dir, file), string(value)); err != nil {
			return err
		}
	}
	return nil
}

// lock locks a directory until the file it returns is closed, or its process
// has ended, see flock(2).
func lock(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// sweep removes what killed launchers left below parent.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, boxPrefix+"*"))
	for _, dir := range left {
		if f, err := lock(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil { // else in use
			removeCgroups(dir)
			_ = unix.Rmdir(dir) // EBUSY while its last process ends: then the next sweep
			f.Close()
		}
	}
}

// remove removes the cgroups; call it when the box has ended.
func (c *boxCgroups) remove() {
	for _, h := range c.trees {
		removeCgroups(h.Own)
		_ = unix.Rmdir(h.Own) // what cannot be removed yet is swept by the next
	}
	for _, f := range c.locks {
		f.Close()
	}
}

// directories are the cgroups' names for enterCgroups.
func (c *boxCgroups) directories() (list []string) {
	for _, h := range c.trees {
		list = append(list, h.Own)
	}
	return list
}

// enterCgroups joins the box's cgroups, makes them the roots of what can be
// seen of the trees, and executes the caller anew: unshare(2) moves the calling
// thread only, and a Go program has several. It returns only when it fails.
func enterCgroups(dirs []string) error {
	for _, dir := range dirs {
		if err := writeCgroup(filepath.Join(dir, "cgroup.procs"), "0"); err != nil {
			return fmt.Errorf("join the box's cgroup: %w", err)
		}
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare the cgroup namespace: %w", err)
	}
	for _, dir := range dirs {
		if err := delegateCgroup(dir); err != nil {
			return fmt.Errorf("delegate the box's cgroup: %w", err)
		}
	}
	return unix.Exec("/proc/self/exe", []string{os.Args[0], "guest-box"}, []string{})
}

// mountOwnCgroups mounts the trees below dir as they are on this machine. Each
// mount begins at the cgroup namespace's root, which is the box's own cgroup.
func mountOwnCgroups(dir string, trees []hierarchy) error {
	const flags = cgroupFlags
	if !slices.ContainsFunc(trees, func(h hierarchy) bool { return h.Mount == cgroupRoot }) {
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", cgroupRoot, err)
		}
	}
	for _, h := range trees {
		target := filepath.Join(dir, strings.TrimPrefix(h.Mount, cgroupRoot))
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(h.Kind, target, h.Kind, flags, h.Data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", h.Kind, h.Mount, err)
		}
		if names := strings.Split(filepath.Base(h.Mount), ","); len(names) > 1 {
			for _, name := range names { // cpu -> cpu,cpuacct
				if err := os.Symlink(filepath.Base(h.Mount), filepath.Join(dir, name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cgroupMode says what cgroups a machine's programs can make. It tries it: only
// so it is known whether they can be limited and joined.
func cgroupMode() string {
	kind := cgroupKind()
	if tryLimits(kind) != nil {
		return "none"
	}
	return kind
}

// cgroupKind says what is mounted.
func cgroupKind() string {
	switch {
	case isCgroup2(cgroupRoot):
		return "v2"
	case isCgroup2(filepath.Join(cgroupRoot, "unified")):
		return "hybrid"
	default:
		return "v1"
	}
}

// isCgroup2 tells whether dir is in a version 2 tree.
func isCgroup2(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// tryLimits makes cgroups as step 04 does, lets a process join, and removes them.
func tryLimits(kind string) error {
	limits := map[string]string{
		"memory/selftest/memory.limit_in_bytes": "67108864",
		"pids/selftest/pids.max":                "64",
		"cpu/selftest/cpu.cfs_quota_us":         "50000",
	}
	if kind == "v2" {
		limits = map[string]string{
			"selftest/memory.max": "67108864",
			"selftest/pids.max":   "64",
			"selftest/cpu.max":    "50000 100000",
		}
	}
	process := exec.Command("/bin/sh", "-c", "read until_it_ends")
	stdin, err := process.StdinPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	defer func() {
		stdin.Close()
		_ = process.Wait() // its status is that of read at end-of-file
		for file := range limits {
			_ = unix.Rmdir(filepath.Join(cgroupRoot, filepath.Dir(file)))
		}
	}()
	for file, limit := range limits {
		file = filepath.Join(cgroupRoot, file)
		if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := writeCgroup(file, limit); err != nil {
			return err
		}
	}
	for file := range limits {
		procs := filepath.Join(cgroupRoot, filepath.Dir(file), "cgroup.procs")
		if err := writeCgroup(procs, strconv.Itoa(process.Process.Pid)); err != nil {
			return err
		}
	}
	return nil
}

// writeCgroup writes to a file that the kernel has made in a cgroup. Where no
// hierarchy is mounted, none must be made: it would take any limit.
func writeCgroup(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
