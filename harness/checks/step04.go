//go:build linux

package checks

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"containers-from-scratch/harness/probe"
)

// step04 are the facts that the cgroup and its namespace make true.
var step04 = []Fact{
	{
		Claim:   "it has 64 MiB, 64 processes and half a CPU",
		Holds:   "----+",
		Broken:  []string{"without-limits"},
		Despite: []string{"user"},
		Because: "a process may use what the machine has, unless a cgroup that it is in has limits",
		LookAt:  "where the cgroup is made, and the command's process written to its cgroup.procs",
		Ours:    []string{"04-cgroup/cgroup.go createCgroup", "04-cgroup/cgroup.go limits", "04-cgroup/cgroup.go write", "04-cgroup/cgroup.go hierarchy", "04-cgroup/main.go run"},
		Read:    "cgroups(7), cgroup-v2.rst in the kernel's documentation",
		Show: func(t *Trial) {
			run := t.Start("sleep", "2222")
			pid := run.Command("sleep 2222")
			t.ran += " & cat /proc/$!/cgroup; cat …/memory.max …"
			t.Expect(theLimits, limits(pid))
		},
	},
	{
		Claim:   "memory beyond the limit ends in an OOM kill",
		Holds:   "----+",
		Because: "when nothing can be freed, the kernel kills in the cgroup; with swap, it would slow down the host first",
		LookAt:  "the limits of memory and of swap, and when the command gets them",
		Ours:    []string{"04-cgroup/cgroup.go limits", "04-cgroup/cgroup.go createCgroup"},
		Read:    "cgroup-v2.rst and cgroup-v1/memory.rst in the kernel's documentation",
		Show: func(t *Trial) {
			run := t.Start("sh", "-c", "probe mem 96; echo status $?; exec sleep 2223")
			t.Expect("status 137", run.Output("status"))
			pid := run.Command("sleep 2223")
			kills := counted(cgroupsOf(pid), "memory.events", "oom_kill") + counted(cgroupsOf(pid), "memory.oom_control", "oom_kill")
			t.ExpectThat(kills > 0, "an oom_kill in the cgroup's memory.events", "none")
		},
	},
	{
		Claim:   "its files in memory count as memory",
		Holds:   "----+",
		Because: "a tmpfs is memory, and belongs to the cgroup whose process wrote it",
		LookAt:  "the limit of memory",
		Ours:    []string{"04-cgroup/cgroup.go limits"},
		Read:    "tmpfs(5), cgroup-v2.rst in the kernel's documentation",
		Show: func(t *Trial) {
			// What each holds is the program's own business.
			r := t.Sh("probe hoard 96 /tmp/x /dev/shm/x; exit $?")
			t.Excuse()
			t.ExpectStatus(137, r)
		},
	},
	{
		Claim:   "a fork bomb stops at the limit",
		Holds:   "----+",
		Because: "fork(2) fails with EAGAIN where the cgroup holds pids.max processes; others do not notice",
		LookAt:  "the limit of processes, and when the command gets it",
		Ours:    []string{"04-cgroup/cgroup.go limits", "04-cgroup/cgroup.go createCgroup"},
		Read:    "fork(2), cgroup-v2.rst in the kernel's documentation",
		Show: func(t *Trial) {
			run := t.Start("probe", "forks", "100")
			said := run.Output("\n")
			pid := run.Command("probe forks 100")
			t.ExpectThat(strings.Contains(said, "temporarily unavailable"), "fork(2): resource temporarily unavailable", said)
			t.ExpectThat(counted(cgroupsOf(pid), "pids.events", "max") > 0, "max in the cgroup's pids.events", "none")
			t.Control(exec.Command("/probe", "args").Run() == nil, "the host itself cannot fork")
		},
	},
	{
		Claim:   "a busy loop is throttled",
		Holds:   "----+",
		Because: "who has used up its quota waits for the next period, see cpu.stat",
		LookAt:  "the limit of the CPU",
		Ours:    []string{"04-cgroup/cgroup.go limits"},
		Read:    "cgroup-v2.rst and scheduler/sched-bwc.rst in the kernel's documentation",
		Show: func(t *Trial) {
			run := t.Start("sh", "-c", "while :; do :; done")
			pid := run.Command("sh -c while :; do :; done")
			// Found once: who looks for it all the time takes half of the only CPU,
			// and leaves the loop no more than its quota.
			own := cgroupsOf(pid)
			t.ExpectThat(len(own) > 0, "a cgroup of its own", "the host's")
			_, err := waitFor(func() int { return counted(own, "cpu.stat", "nr_throttled") }, func(n int) bool { return n > 0 }, run.ended)
			t.ExpectThat(err == nil, "nr_throttled in the cgroup's cpu.stat", fmt.Sprint("none: ", err))
		},
	},
	{
		Claim:   "its cgroup is the root of all that it sees",
		Holds:   "----+",
		Broken:  []string{"without-cgroup"},
		Despite: []string{"user"},
		Because: "a cgroup namespace hides what lies above the cgroup in which it was made",
		LookAt:  "where the cgroup namespace is made: by a process that is in the cgroup already",
		Ours: []string{"04-cgroup/cgroup.go hideCgroup", "04-cgroup/main.go initProcess", "04-cgroup/cgroup.go createCgroup",
			"02-pid/pid.go awaitRelease"},
		Read: "cgroup_namespaces(7)",
		Show: func(t *Trial) {
			host, inside := observe(t).Namespaces["cgroup"], t.Inside()
			t.ExpectThat(inside.Namespaces["cgroup"] != host, "another number than "+host, inside.Namespaces["cgroup"])
			for _, line := range inside.Cgroup {
				t.ExpectThat(strings.HasSuffix(line, ":/"), ":/ at the end", line)
			}
		},
	},
	{
		Claim:   "it cannot lift its limits",
		Holds:   "-----+",
		Broken:  []string{"without-user,capabilities,seccomp"},
		Despite: []string{"user"},
		Because: "the limits are files of root, and until there is a user namespace root inside is root",
		LookAt:  "who is root inside; no cgroup namespace keeps root from writing",
		Ours:    []string{"05-user/user.go asRoot"},
		Read:    "cgroups(7), user_namespaces(7)",
		Show: func(t *Trial) {
			run := t.Start("probe", "lift", "sleep", "2224")
			run.Output("tries")
			t.Expect(theLimits, limits(run.Command("sleep 2224")))
		},
	},
	{
		Claim:   "its cgroup is gone with it",
		Holds:   "----+",
		Because: "a cgroup is a directory: it stays until somebody removes it, which needs all its processes dead",
		LookAt:  "what is done after the end of the command, also of one that failed, and on signals",
		Ours:    []string{"04-cgroup/cgroup.go remove", "04-cgroup/main.go run", "02-pid/pid.go wait"},
		Read:    "cgroups(7), rmdir(2)",
		Show: func(t *Trial) {
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				run := t.Start("sleep", "2225")
				own := cgroupsOf(run.Command("sleep 2225"))
				t.ExpectThat(len(own) > 0, "a cgroup of its own", "the host's")
				run.Signal(sig)
				t.ran += fmt.Sprintf(" & kill -%d $!", sig)
				t.ExpectStatus(128+int(sig), run.Wait())
				t.Expect("", there(own))
			}
			t.ExpectStatus(127, t.Run("no-such-command"))
			t.ExpectRefusal(t.Launch("", "/probe", "deny", "sethostname", t.Program.Path, "run", "/probe", "args", "it", "ran"))
		},
	},
	{
		Claim:   "cgroups that it makes are gone with it",
		Holds:   "----+",
		Because: "a cgroup with others below it cannot be removed; root inside may make some",
		LookAt:  "how the cgroup is removed: from the bottom up",
		Ours:    []string{"04-cgroup/cgroup.go remove"},
		Read:    "cgroups(7), rmdir(2)",
		Show: func(t *Trial) {
			run := t.Start("sh", "-c", "probe below; exec sleep 2226")
			run.Output("\n") // made, or from step 05 on tried
			own := cgroupsOf(run.Command("sleep 2226"))
			t.ExpectThat(len(own) > 0, "a cgroup of its own", "the host's")
			run.Signal(syscall.SIGTERM)
			run.Wait()
			t.Expect("", there(own))
		},
	},
	{
		Claim:   "a cgroup that is left over stops no other run",
		Holds:   "----+",
		Because: "who is killed by SIGKILL removes nothing, and numbers of processes come again, in another PID namespace at once",
		LookAt:  "the name of the cgroup",
		Ours:    []string{"04-cgroup/cgroup.go createCgroup"},
		Read:    "cgroups(7), mkdir(2), pid_namespaces(7)",
		Show: func(t *Trial) {
			// Each program has the number 1.
			start := func(seconds string) (run *Running, pid int, own []string) {
				run = t.launch(nil, nil, "/probe", "first", t.Program.Path, "run", "sleep", seconds)
				pid = run.Command("sleep " + seconds)
				t.Expect(theLimits, limits(pid))
				own = cgroupsOf(pid)
				t.AtEnd(func() {
					for _, dir := range own {
						_ = os.Remove(dir)
					}
				})
				return run, pid, own
			}
			killed, _, _ := start("2227")
			killed.Signal(syscall.SIGKILL) // and with it the program
			killed.Wait()
			t.Excuse()
			one, pid, own := start("2228")
			another, itsPID, itsOwn := start("2229")
			t.ExpectThat(!contains(itsOwn, own...), "a cgroup each", strings.Join(own, " ")+" for two")
			t.must(syscall.Kill(itsPID, syscall.SIGKILL))
			another.Wait()
			t.must(syscall.Kill(pid, syscall.SIGKILL))
			one.Wait()
		},
	},
	{
		Claim:   "whatever of its limits is refused, the run stops",
		Holds:   "----+",
		Because: "a limit that cannot be set must not be left out, and the command must not run before",
		LookAt:  "the error of each write to a file of the cgroup, and what the command waits for",
		Ours: []string{"04-cgroup/cgroup.go createCgroup", "04-cgroup/cgroup.go write", "04-cgroup/cgroup.go cgroupError", "04-cgroup/cgroup.go remove",
			"04-cgroup/main.go run", "04-cgroup/main.go initProcess", "02-pid/pid.go awaitRelease"},
		Read: "cgroups(7), pipe(7)",
		Show: func(t *Trial) {
			t.Refuse("", "cgroup")
			if !t.others() { // and what it cannot take away again, it tells
				r := t.Launch("", "/probe", "fail", "unlinkat", "0", t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.ExpectThat(len(t.leftovers) > 0, "a cgroup that is left", "none")
				t.Excuse()
				t.Expect(`["it" "ran"]`, r.Stdout)
				t.ExpectStatus(125, r)
				t.ExpectOneLine(r)
				t.Expect("waited", t.Launch("", "/probe", "unwaited", t.Program.Path, "run", "true").Stdout)
			}
		},
	},
	{
		Claim:   "a cgroup namespace that is refused stops the run",
		Holds:   "----+",
		Because: "an isolation that cannot be made must not be left out",
		LookAt:  "the error of unshare or clone",
		Ours:    []string{"04-cgroup/cgroup.go hideCgroup", "04-cgroup/main.go initProcess"},
		Read:    "cgroup_namespaces(7), unshare(2)",
		Show: func(t *Trial) {
			t.ExpectRefusal(t.Launch("", "/probe", "cgroupless", t.Program.Path, "run", "/probe", "args", "it", "ran"))
		},
	},
	{
		Claim:   "a controller that is missing stops the run",
		Holds:   "----+",
		Because: "a limit that cannot be set must not be left out",
		LookAt:  "how each controller is found: they may be in several hierarchies",
		Ours:    []string{"04-cgroup/cgroup.go hierarchy", "04-cgroup/cgroup.go createCgroup", "04-cgroup/cgroup.go cgroupError", "04-cgroup/cgroup.go remove"},
		Read:    "cgroups(7), proc_pid_mountinfo(5)",
		Show: func(t *Trial) {
			for _, controller := range []string{"memory", "pids", "cpu"} {
				root, instead := "", ""
				if h, _ := hierarchyOf(controller); h.V2 {
					root, instead = h.Root, t.cgroupWithout(controller, h)
				}
				r := t.Launch("", "/probe", "uncontrolled", controller, root, instead, t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.ExpectRefusal(r)
				t.ExpectThat(strings.Contains(r.Stderr, controller) && strings.Contains(r.Stderr, "mount"), controller+", and a command that mounts it", r.Stderr)
			}
			if !t.others() { // who opens its files by another system call is not kept from them
				r := t.Launch("", "/probe", "swapless", t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.ExpectRefusal(r)
				t.ExpectThat(strings.Contains(r.Stderr, "swapaccount=1"), "swapaccount=1 on stderr", r.Stderr)
			}
		},
	},
	{
		Claim:   "read-only cgroups stop the run, and it names what mends that",
		Holds:   "----+",
		Because: "in a container the cgroups are often mounted read-only; who may remount them wants to know how",
		LookAt:  "the error EROFS",
		Ours:    []string{"04-cgroup/cgroup.go cgroupError", "04-cgroup/cgroup.go createCgroup"},
		Read:    "mount(8), mount(2)",
		Show: func(t *Trial) {
			mounts := map[string]bool{} // each is to be mended
			for _, controller := range []string{"memory", "pids", "cpu"} {
				h, _ := hierarchyOf(controller)
				mounts[h.Root] = true
			}
			t.must(os.MkdirAll("/run/mount", 0o755)) // mount(8) makes it
			t.AtEnd(func() { _ = os.RemoveAll("/run/mount") })
			all := len(probe.Hierarchies(observe(t).Mounts)) // of which a program may use more
			t.ExpectMended(len(mounts), all, t.Launch("", "/probe", "readonly", "sh", "-c", mending, t.Program.Path))
		},
	},
	{
		Claim:   "a crowded cgroup stops the run, and it names what mends that",
		Holds:   "----+",
		Because: "on v2 a cgroup with processes shares no controllers out, but for the root of all; on v1 it does",
		LookAt:  "the error EBUSY",
		Ours:    []string{"04-cgroup/cgroup.go cgroupError", "04-cgroup/cgroup.go createCgroup"},
		Read:    "\"no internal processes\" in cgroups(7)",
		Show: func(t *Trial) {
			h, _ := hierarchyOf("memory")
			words := []string{"sh", "-c", mending, t.Program.Path}
			if !h.V2 {
				t.ExpectMended(0, 0, t.Launch("", words...))
				run := t.Start("sleep", "2229")
				t.Expect(theLimits, limits(run.Command("sleep 2229")))
				return
			}
			dir := h.Root + "/crowded"
			t.must(os.Mkdir(dir, 0o755))
			t.AtEnd(func() { _ = os.Remove(dir + "/init"); _ = os.Remove(dir) })
			r := t.Launch("", append([]string{"/probe", "crowded", h.Root, dir}, words...)...)
			t.Excuse() // dir/init, as it was told to
			t.ExpectMended(1, 1, r)
			below, err := os.ReadDir(dir)
			t.must(err)
			for _, d := range below {
				t.ExpectThat(!d.IsDir() || d.Name() == "init", "no cgroup but init", d.Name())
			}
		},
	},
}
