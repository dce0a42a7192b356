package probe

import (
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// ReadLimits reads the limits of a process from its cgroups, see cgroups(7).
// What the process is in below the root of each tree counts, and what lies
// between: the tightest limit is the one that holds.
func ReadLimits(pid int, trees []Hierarchy) (Limits, error) {
	membership, err := lines(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return Limits{}, err
	}
	var l Limits
	for _, controller := range []string{"memory", "pids", "cpu"} {
		tree := With(controller, trees)
		if tree == nil {
			continue // no such controller, so no limit
		}
		for dir := cgroupOf(controller, tree.V2, membership); ; dir = path.Dir(dir) {
			l.tighten(controller, tree.Root+dir)
			if dir == "/" {
				break
			}
		}
	}
	return l, nil
}

// cgroupOf finds the path of a process's cgroup among the lines of
// /proc/PID/cgroup:
//
//	4:memory:/container-57
//	0::/container-57
func cgroupOf(controller string, v2 bool, membership []string) string {
	for _, line := range membership {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		ours := v2 && parts[1] == "" && parts[0] == "0"
		for _, name := range strings.Split(parts[1], ",") {
			ours = ours || !v2 && name == controller
		}
		if ours {
			return path.Clean("/" + parts[2]) // above the root of what we see is the root
		}
	}
	return "/"
}

// tighten lowers l to what a cgroup says, in either version's words.
func (l *Limits) tighten(controller, dir string) {
	switch controller {
	case "memory":
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			// Version 1 says "none" as the largest number of pages there is.
			if n := number(dir + "/" + file); n > 0 && n < math.MaxInt64>>13<<12 && (l.Memory == 0 || n < l.Memory) {
				l.Memory = n
			}
		}
	case "pids":
		if n := number(dir + "/pids.max"); n > 0 && (l.Pids == 0 || n < l.Pids) {
			l.Pids = n
		}
	case "cpu":
		quota, period := number(dir+"/cpu.cfs_quota_us"), number(dir+"/cpu.cfs_period_us")
		if data, err := os.ReadFile(dir + "/cpu.max"); err == nil { // "50000 100000"
			_, _ = fmt.Sscan(string(data), &quota, &period) // "max" leaves 0
		}
		if quota > 0 && period > 0 {
			if cpus := float64(quota) / float64(period); l.CPUs == 0 || cpus < l.CPUs {
				l.CPUs = cpus
			}
		}
	}
}

// number reads a file that holds one; 0 is "max", or no such file.
func number(file string) int64 {
	data, _ := os.ReadFile(file)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n
}
