//go:build linux

package checks

import "strings"

// step01 are the facts that the UTS namespace makes true.
var step01 = []Fact{
	{
		Claim:   "its hostname is container",
		Holds:   "-+",
		Because: "a UTS namespace has a hostname of its own",
		LookAt:  "where the hostname is set, after the namespace is there",
		Ours:    []string{"01-uts/uts.go setHostname", "01-uts/main.go run"},
		Read:    "uts_namespaces(7), sethostname(2)",
		Show: func(t *Trial) {
			t.Control(observe(t).Hostname != "container", "the host is called container already")
			t.Expect("container", t.Run("probe", "hostname").Stdout)
		},
	},
	{
		Claim:   "renaming its machine does not rename the host",
		Holds:   "-+",
		Because: "without a UTS namespace of its own, sethostname(2) names the host",
		LookAt:  "where the UTS namespace is made",
		Ours:    []string{"01-uts/main.go run"},
		Read:    "uts_namespaces(7)",
		Show: func(t *Trial) {
			before := observe(t).Hostname
			t.ExpectDoneOrDenied("PWNED", t.Run("probe", "hostname", "PWNED"))
			t.ran += "; hostname"
			t.Excuse()
			t.Expect(before, observe(t).Hostname)
		},
	},
	{
		Claim:   "its UTS namespace is not the host's",
		Holds:   "-+",
		Broken:  []string{"without-uts"},
		Because: "processes share each namespace that nobody made anew for them",
		LookAt:  "where the UTS namespace is made",
		Ours:    []string{"01-uts/main.go run"},
		Read:    "namespaces(7)",
		Show: func(t *Trial) {
			host := observe(t).Namespaces["uts"]
			inside := t.Inside().Namespaces["uts"]
			t.ExpectThat(inside != host, "another number than "+host, inside)
		},
	},
}

// step02 are the facts that the PID namespace makes true.
var step02 = []Fact{
	{
		Claim:   "the command is process 1",
		Holds:   "--+",
		Because: "the first process in a PID namespace has the number 1 there",
		LookAt:  "where the PID namespace is made and the command takes the place of its first process",
		Ours:    []string{"02-pid/main.go run", "02-pid/main.go initProcess", "02-pid/pid.go reexec"},
		Read:    "pid_namespaces(7)",
		Show: func(t *Trial) {
			t.Expect("1", t.Sh("echo $$").Stdout)
		},
	},
	{
		Claim:   "it cannot signal a process of the host",
		Holds:   "--+",
		Because: "in a PID namespace, the processes outside have no number to name them by",
		LookAt:  "where the PID namespace is made",
		Ours:    []string{"02-pid/main.go run"},
		Read:    "pid_namespaces(7), kill(2)",
		Show: func(t *Trial) {
			victim := t.HostProcess("sleep", "7777")
			r := t.Sh("echo tries; kill -9 " + victim.pid())
			t.Excuse()
			t.Expect("tries", r.Stdout)
			if r.Status == 0 { // it reached somebody: who is killed ends a little later
				_, _ = waitFor(victim.alive, func(alive bool) bool { return !alive }, nil)
			}
			t.ExpectThat(victim.alive(), "process "+victim.pid()+" of the host still there",
				"killed from inside (the command's status was "+itoa(r.Status)+")")
		},
	},
	{
		Claim:   "what it leaves running dies with it",
		Holds:   "--+",
		Because: "when process 1 of a PID namespace ends, the kernel kills all others in it",
		LookAt:  "where the PID namespace is made, and who is process 1 in it",
		Ours:    []string{"02-pid/main.go run"},
		Read:    "pid_namespaces(7)",
		Show: func(t *Trial) {
			r := t.Sh("sleep 6666 </dev/null >/dev/null 2>&1 & echo $!")
			t.Excuse()
			t.ExpectThat(strings.TrimSpace(r.Stdout) != "", "the number of what it left", "nothing")
			t.ran += "; ps"
			t.Expect("", named("sleep 6666"))
		},
	},
	{
		Claim:   "its parent has no number",
		Holds:   "--+",
		Because: "a parent in another PID namespace is 0 to getppid(2)",
		LookAt:  "where the PID namespace is made",
		Ours:    []string{"02-pid/main.go run"},
		Read:    "pid_namespaces(7), getppid(2)",
		Show: func(t *Trial) {
			t.Expect("0", t.Sh("echo $PPID").Stdout)
		},
	},
}
