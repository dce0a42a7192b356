//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// limits are what a container gets at most: for each the controller, and the
// file on cgroup v2, see the kernel's cgroup-v2.rst, and on v1.
var limits = []struct{ controller, file, value, fileV1, valueV1 string }{
	{"memory", "memory.max", "64M", "memory.limit_in_bytes", "64M"},
	{"memory", "memory.swap.max", "0", "memory.memsw.limit_in_bytes", "64M"}, // with memory
	{"pids", "pids.max", "64", "pids.max", "64"},
	{"cpu", "cpu.max", "50000 100000", "cpu.cfs_quota_us", "50000"}, // of 100,000 µs
}

// A cgroup is the container's directory in each hierarchy: v2 has one for all
// controllers, v1 one for each or two.
type cgroup []string

// createCgroup makes a cgroup with limits and puts process pid into it: what
// that starts will be there too. With an error it returns what is to be
// removed.
func createCgroup(pid int) (c cgroup, err error) {
	// The number alone may be that of a run that was killed and left its
	// cgroup, or of one in another PID namespace.
	name := fmt.Sprintf("container-%d-%x", os.Getpid(), rand.Uint32())
	for _, l := range limits {
		root, v2, err := hierarchy(l.controller)
		if err != nil {
			return c, err
		}
		if v2 { // where those below have what is shared out to them, and no more
			l.fileV1, l.valueV1 = l.file, l.value
			if err := write(root+"/cgroup.subtree_control", "+"+l.controller); err != nil {
				return c, err
			}
		}
		if dir := filepath.Join(root, name); !slices.Contains(c, dir) {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return c, err
			}
			c = append(c, dir)
			if err := write(dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
				return c, err
			}
		}
		if err := write(filepath.Join(root, name, l.fileV1), l.valueV1); err != nil {
			return c, err
		}
	}
	return c, nil
}

// hierarchy finds the root of the one that controller belongs to: on v1 an
// option of the mount tells, on v2 a file. A hybrid host has some here, some
// there.
func hierarchy(controller string) (root string, v2 bool, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		// 36 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
		// (The second word after the "-", a name, may be empty.)
		f := strings.Fields(line)
		root, fstype, controllers := f[4], f[slices.Index(f, "-")+1], strings.Split(f[len(f)-1], ",")
		if fstype == "cgroup2" {
			file, _ := os.ReadFile(root + "/cgroup.controllers")
			controllers = strings.Fields(string(file))
		}
		if strings.HasPrefix(fstype, "cgroup") && slices.Contains(controllers, controller) {
			return root, fstype == "cgroup2", nil
		}
	}
	return "", false, cmp.Or(err, fmt.Errorf("no controller %s (for memory, boot with cgroup_enable=memory; where no cgroups are: mount -t cgroup2 cgroup2 /sys/fs/cgroup)", controller))
}

// write writes to a file that the kernel has made. A limit whose file is not
// there is none that it knows: it must not become an ordinary file.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		f.Close()
	}
	return err
}

// cgroupError says what was refused, and what to paste then.
func cgroupError(err error) error {
	switch path, _ := errors.AsType[*os.PathError](err); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("create cgroup: %w (mount -o remount,bind,rw %s)", err, filepath.Dir(path.Path))
	case errors.Is(err, unix.EBUSY): // as in Docker: who has processes shares nothing out
		return fmt.Errorf("create cgroup: %w (mkdir %[2]s/init; xargs -n1 <%[2]s/cgroup.procs >%[2]s/init/cgroup.procs)", err, filepath.Dir(path.Path))
	case errors.Is(err, unix.ENOENT) && strings.Contains(filepath.Base(path.Path), "sw"):
		return fmt.Errorf("create cgroup: %w (before Linux 6.1, boot with swapaccount=1; since then, CONFIG_SWAP is missing)", err)
	}
	return fmt.Errorf("create cgroup: %w", err)
}

// remove removes the cgroup, and those that the command made below it. All
// processes in them are dead: they end with the first of their PID namespace.
func (c cgroup) remove(err *error) {
	for _, dir := range c {
		below, _ := os.ReadDir(dir)
		for _, d := range below {
			if d.IsDir() {
				cgroup{filepath.Join(dir, d.Name())}.remove(err)
			}
		}
		*err = cmp.Or(*err, os.Remove(dir))
	}
}

// hideCgroup makes the cgroup of init the root of all that it sees of cgroups,
// see cgroup_namespaces(7). Call it in the cgroup: after awaitRelease.
func hideCgroup() error {
	return os.NewSyscallError("create cgroup namespace", unix.Unshare(unix.CLONE_NEWCGROUP))
}
