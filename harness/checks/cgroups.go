//go:build linux

package checks

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"containers-from-scratch/harness/probe"
)

// A hierarchy is where the host has a controller: on v2 all are in one, on v1
// each has its own, or shares it.
type hierarchy struct{ probe.Hierarchy }

// hierarchyOf finds the one that a controller is in, as far as it is mounted.
func hierarchyOf(controller string) (h hierarchy, found bool) {
	mounts, _ := probe.Mounts()
	if with := probe.With(controller, probe.Hierarchies(mounts)); with != nil {
		return hierarchy{*with}, true
	}
	return hierarchy{}, false
}

// cgroupWithout makes a cgroup, for the length of the trial, that has all the
// controllers of a v2 hierarchy but one, and no processes.
func (t *Trial) cgroupWithout(controller string, h hierarchy) string {
	shared := filepath.Join(h.Root, "without-"+controller)
	t.must(os.MkdirAll(shared+"/some", 0o755))
	t.AtEnd(func() { _ = os.Remove(shared + "/some"); _ = os.Remove(shared) })
	for _, other := range h.Controllers {
		t.must(os.WriteFile(h.Root+"/cgroup.subtree_control", []byte("+"+other), 0))
		if other != controller {
			t.must(os.WriteFile(shared+"/cgroup.subtree_control", []byte("+"+other), 0))
		}
	}
	return shared + "/some"
}

// cgroups are the directory of a process's cgroup in a hierarchy, and those
// above it: what each allows, none below can exceed.
func (h hierarchy) cgroups(pid int) (dirs []string) {
	table, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(table)) { // 4:cpu,cpuacct:/a/b of v1, 0::/a/b of v2
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "" && !h.V2 || f[1] != "" && (h.V2 || !contains(h.Controllers, strings.Split(f[1], ",")...)) {
			continue
		}
		below := filepath.Clean("/" + strings.TrimPrefix(f[2], h.Top))
		for ; below != "/"; below = filepath.Dir(below) {
			dirs = append(dirs, h.Root+below)
		}
		return append(dirs, h.Root)
	}
	return nil
}

// cgroupsOf are the cgroups that a process has of its own, one in each hierarchy
// of a limit; none when it is where the harness is.
func cgroupsOf(pid int) (own []string) {
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if h, found := hierarchyOf(controller); found {
			dirs, ours := h.cgroups(pid), h.cgroups(os.Getpid())
			if len(dirs) > 0 && !slices.Contains(ours, dirs[0]) && !slices.Contains(own, dirs[0]) {
				own = append(own, dirs[0])
			}
		}
	}
	return own
}

// limit is the lowest of the numbers that file, in one of the cgroups above a
// process, begins with; infinite without any.
func limit(pid int, controller, fileV2, fileV1 string) float64 {
	h, _ := hierarchyOf(controller)
	file, lowest := fileV1, math.Inf(1)
	if h.V2 {
		file = fileV2
	}
	for _, dir := range h.cgroups(pid) {
		text, _ := os.ReadFile(dir + "/" + file)
		f := append(strings.Fields(string(text)), "max")
		n, err := strconv.ParseFloat(f[0], 64)
		if err != nil || n < 0 || n > 1<<60 { // "max" of v2; of v1, -1 or what the kernel can count
			continue
		}
		if period, _ := os.ReadFile(dir + "/cpu.cfs_period_us"); file == "cpu.cfs_quota_us" {
			f[1] = strings.TrimSpace(string(period))
		}
		if period, err := strconv.ParseFloat(f[min(1, len(f)-1)], 64); err == nil && controller == "cpu" {
			n /= period
		}
		lowest = min(lowest, n)
	}
	return lowest
}

// limits tells what a process gets at most, one line each.
func limits(pid int) string {
	memory := limit(pid, "memory", "memory.max", "memory.limit_in_bytes")
	swap := limit(pid, "memory", "memory.swap.max", "memory.memsw.limit_in_bytes")
	if h, _ := hierarchyOf("memory"); !h.V2 && !math.IsInf(swap, 1) {
		swap -= memory // v1 counts both together
	}
	return fmt.Sprintf("memory %v MiB\nswap %v MiB\nprocesses %v\nCPUs %v",
		memory/(1<<20), swap/(1<<20), limit(pid, "pids", "pids.max", "pids.max"), limit(pid, "cpu", "cpu.max", "cpu.cfs_quota_us"))
}

const theLimits = "memory 64 MiB\nswap 0 MiB\nprocesses 64\nCPUs 0.5"

// counted reads what cgroups have counted: the number after name in file, which
// one of them only has.
func counted(cgroups []string, file, name string) int {
	for _, dir := range cgroups {
		text, _ := os.ReadFile(dir + "/" + file)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == name {
				n, _ := strconv.Atoi(f[1])
				return n
			}
		}
	}
	return 0
}

// there are those of dirs that are there.
func there(dirs []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return !exists(dir) }), "\n")
}

// mending is a shell's script that runs a program, and while it fails pastes
// what its error names in parentheses, until that is no use. It tells all in the
// order in which it happens.
const mending = `n=0; while [ $((n += 1)) -le 20 ]; do
	said=$("$0" run /probe args it ran 2>&1)
	status=$?
	[ $status = 0 ] && echo "$said" && exit
	mend=${said##* \(} # not the shell's $(
	mend=${mend%\)}
	echo "refused: $status ${said% \(*}"
	[ "$mend" = "$said" ] || [ "$mend" = "$last" ] && exit
	last=$mend
	echo "pasted: $mend"
	eval "$mend" 2>&1
done`

// ExpectMended expects that the program was refused so many times, at least and
// at most, said why in one line, and that what it named made the command run.
func (t *Trial) ExpectMended(least, most int, r Result) {
	t.refusal = true
	words := "'" + mending + "' " + t.Program.Name
	t.ran = strings.Replace(t.ran, "sh -c "+words, t.Program.Name+" run /probe args it ran # and what it says in parentheses", 1)
	refusals, said := 0, lines(r.Stdout)
	for i, line := range said {
		if why, refused := strings.CutPrefix(line, "refused: "); refused {
			refusals++
			t.ExpectThat(strings.HasPrefix(why, "125 container: "), "125 container: …", why)
			t.ExpectThat(i+1 == len(said) || strings.HasPrefix(said[i+1], "pasted: "), "one line on stderr", said[min(i+1, len(said)-1)])
		}
	}
	last := strings.Join(said[max(0, len(said)-4):], "\n") // what was pasted, what it said, what came of it
	t.ExpectThat(strings.HasSuffix(r.Stdout, `["it" "ran"]`+"\n"), "the command, after what stderr named was pasted", last)
	t.ExpectThat(refusals >= least && refusals <= most, fmt.Sprintf("%d to %d refusals", least, most), last)
}
