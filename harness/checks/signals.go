//go:build linux

package checks

import "syscall"

// signals are more facts of the contract about signals.
var signals = []Fact{
	{
		Claim:   "a signal that the command blocks waits",
		Broken:  []string{"kills-on-signal"},
		Because: "who blocks a signal takes it later, as with sigwait(3) or signalfd(2)",
		LookAt:  "what the program does with a signal of its own",
		Ours:    []string{"02-pid/pid.go handles"},
		Read:    "signal(7), sigprocmask(2), proc_pid_status(5)",
		Show: func(t *Trial) {
			run := t.Start("probe", "block", "sh", "-c", "trap 'exit 5' HUP; echo ready; while :; do :; done")
			run.Output("ready")
			run.Signal(syscall.SIGTERM)
			run.taken() // signals of different numbers do not queue in order
			run.Signal(syscall.SIGHUP)
			t.ran += " & kill -TERM $!; kill -HUP $!"
			t.ExpectStatus(5, run.Wait())
		},
	},
	{
		Claim:   "a signal that comes early ends it as well",
		Broken:  []string{"swallows-signals"},
		Because: "before the command runs nobody handles a signal: to wait for it may be to wait for ever",
		LookAt:  "what the program does with a signal before its command has started: kill, not wait",
		Ours:    []string{"02-pid/pid.go handles", "02-pid/pid.go wait"},
		Read:    "pid_namespaces(7), signal(7)",
		Show: func(t *Trial) {
			t.reached = true // init has come as far as the probe lets it
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
				t.ExpectStatus(128+int(sig), t.Launch("", "/probe", "early", itoa(int(sig)), t.Program.Path, "run", "/probe", "args", "it", "ran"))
			}
		},
	},
}
