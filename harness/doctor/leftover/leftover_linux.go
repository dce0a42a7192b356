// Package leftover finds what runs that were killed have left on this machine.
package leftover

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// Cgroups finds the cgroups of runs that are gone, each after what is below
// it: in this order rmdir removes them.
func Cgroups() []string {
	mounts, _ := probe.Mounts()
	var roots []string
	for _, h := range probe.Hierarchies(mounts) {
		roots = append(roots, h.Root)
	}
	return cgroups(roots, runs)
}

// Bridge tells whether there is the bridge of step 06 and no container at it.
func Bridge() bool {
	ports, err := os.ReadDir("/sys/class/net/cfs0/brif") // only a bridge has it
	return err == nil && len(ports) == 0
}

// name is what createCgroup in steps/04-cgroup/cgroup.go makes of its number.
var name = regexp.MustCompile(`^container-([0-9]+)-[0-9a-f]+$`)

// cgroups looks at the top of each tree. A number alone proves nothing: it may
// have another owner by now, or come from another PID namespace. A cgroup with
// a process in it is never one of them.
func cgroups(roots []string, runs func(pid int) bool) (left []string) {
	for _, root := range roots {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			if m := name.FindStringSubmatch(e.Name()); m != nil {
				pid, err := strconv.Atoi(m[1])
				if dirs, empty := tree(filepath.Join(root, e.Name())); err == nil && empty && !runs(pid) {
					left = append(left, dirs...)
				}
			}
		}
	}
	return left
}

// tree lists a cgroup and those below it, the deepest first, and tells whether
// no process is in any.
func tree(dir string) (dirs []string, empty bool) {
	empty = true
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dirs = append(dirs, path)
		processes, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		empty = empty && err == nil && len(processes) == 0
		return nil
	})
	slices.Reverse(dirs)
	return dirs, empty && err == nil
}

// runs tells whether process pid may be one that runs a container: of "sudo
// ./04-cgroup run sh" both processes have run as an argument. What it cannot
// read may be one.
func runs(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return unix.Kill(pid, 0) != unix.ESRCH
	}
	args := strings.Split(string(line), "\x00")
	return slices.Contains(args, "run") || slices.Contains(args, "rerun")
}
