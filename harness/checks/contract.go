//go:build linux

package checks

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// contract are the facts that every program keeps, in every step.
var contract = []Fact{
	{
		Claim:   "the exit status is the command's own",
		Broken:  []string{"status-zero", "prints-nothing"},
		Because: "whoever calls the program learns from the status how the command ended",
		LookAt:  "what the program ends with",
		Ours:    []string{"02-pid/pid.go wait", "01-uts/command.go exit", "01-uts/command.go execute", "01-uts/main.go main", "02-pid/main.go main"},
		Read:    "wait(2), exit(3)",
		Show: func(t *Trial) {
			for _, n := range []int{0, 7, 255} {
				t.ExpectStatus(n, t.Sh(fmt.Sprintf("exit %d", n)))
			}
		},
	},
	{
		Claim:   "a command that signal n kills gives 128+n",
		Broken:  []string{"status-zero", "status-one"},
		Because: "shells say it so, and callers tell a crash from a failure by it",
		LookAt:  "what the program ends with when wait(2) reports a signal",
		Ours:    []string{"02-pid/pid.go wait"},
		Read:    "wait(2), signal(7)",
		Show: func(t *Trial) {
			run := t.Start("sleep", "5555")
			t.must(syscall.Kill(run.Command("sleep 5555"), syscall.SIGKILL))
			t.ran += " & kill -9 $(pgrep -f 'sleep 5555')"
			t.ExpectStatus(137, run.Wait())
		},
	},
	{
		Claim:   "a command that is not there gives 127",
		Broken:  []string{"status-one"},
		Because: "the shell's statuses: 127 not found, 126 not executable",
		LookAt:  "the error of the look-up and of execve",
		Ours:    []string{"01-uts/command.go execute", "01-uts/command.go exit"},
		Read:    "execve(2)",
		Show: func(t *Trial) {
			for _, command := range []string{"no-such-command", "/no/such/command"} {
				r := t.Run(command)
				t.ExpectStatus(127, r)
				t.ExpectOneLine(r)
			}
		},
	},
	{
		Claim:   "a command that cannot be executed gives 126",
		Broken:  []string{"status-one"},
		Because: "the shell's statuses: 127 not found, 126 not executable",
		LookAt:  "the error of the look-up and of execve",
		Ours:    []string{"01-uts/command.go execute", "01-uts/command.go exit"},
		Read:    "execve(2)",
		Show: func(t *Trial) {
			for _, command := range []string{"/etc", "/etc/passwd", "/box/not-a-program", "/box/no-interpreter"} {
				r := t.Run(command)
				t.ExpectStatus(126, r)
				t.ExpectOneLine(r)
				t.ExpectThat(strings.Contains(r.Stderr, command), "the name "+command+" on stderr", r.Stderr)
				if command == "/box/no-interpreter" && !t.others() { // execve(2) says ENOENT of a file that is there
					t.ExpectThat(strings.Contains(r.Stderr, "the interpreter"), "a word of the interpreter on stderr", r.Stderr)
				}
			}
		},
	},
	{
		Claim:   "bad usage gives 125 and one line",
		Broken:  []string{"status-one", "guesses"},
		Because: "a program that guesses what was meant does something else instead",
		LookAt:  "how main reads its arguments",
		Ours:    []string{"01-uts/main.go main", "02-pid/main.go main"},
		Read:    "harness/CONTRACT.md",
		Show: func(t *Trial) {
			for _, words := range [][]string{{}, {"run"}, {"walk", "/probe", "args", "it", "ran"}, {"init", "/probe", "args", "it", "ran"}} {
				if len(words) > 0 && words[0] == "init" { // of the inner half, there since step 02
					t.fact.LookAt = "when main accepts the verb of the inner half: in a container only"
					t.fact.Ours = []string{"02-pid/main.go main"}
				}
				t.ExpectRefusal(t.Launch("", append([]string{t.Program.Path}, words...)...))
			}
		},
	},
	{
		Claim:   "stdin, stdout and stderr are the command's",
		Broken:  []string{"merges-stderr", "prints-nothing", "no-stdin"},
		Because: "the three standard files are inherited, and a pipe of containers is only a pipe then",
		LookAt:  "the standard files of the process that becomes the command",
		Ours:    []string{"02-pid/pid.go reexec"},
		Read:    "stdin(3), execve(2)",
		Show: func(t *Trial) {
			r := t.Launch("a line\n", t.Program.Path, "run", "sh", "-c", "read line; echo out $line; echo err $line >&2")
			t.Expect("out a line", r.Stdout)
			t.Expect("err a line", r.Stderr)
		},
	},
	{
		Claim:   "closed standard files do not stop it",
		Broken:  []string{"needs-stdin"},
		Because: "a service is often started without any; the first file opened then gets number 0",
		LookAt:  "which descriptors the program takes for granted",
		Ours:    []string{"02-pid/pid.go reexec"},
		Read:    "open(2)",
		Show: func(t *Trial) {
			for _, closed := range []string{"<&-", "2>&-", "<&- 2>&-"} {
				r := t.Launch("", "sh", "-c", `exec "$0" run sh -c "echo here" `+closed, t.Program.Path)
				t.Expect("here", r.Stdout)
				t.ExpectStatus(0, r)
			}
			t.ExpectStatus(4, t.Launch("", "sh", "-c", `exec "$0" run sh -c "exit 4" <&- >&- 2>&-`, t.Program.Path))
		},
	},
	{
		Claim:   "arguments reach the command unchanged",
		Broken:  []string{"joins-arguments"},
		Because: "an argument vector is a list of words; joined and split again it is another",
		LookAt:  "how the command is handed from one half of the program to the other",
		Ours:    []string{"02-pid/pid.go reexec"},
		Read:    "execve(2)",
		Show: func(t *Trial) {
			t.Expect(`["a b" "" "$HOME" "it's" "--help" "\xff"]`, t.Run("probe", "args", "a b", "", "$HOME", "it's", "--help", "\xff").Stdout)
		},
	},
	{
		Claim:   "the command has no open file but the standard ones",
		Broken:  []string{"leaks-a-file"},
		Because: "an open file or directory is a way past every mount and root; execve keeps it without close-on-exec",
		LookAt:  "close-on-exec of the pipe between the two halves",
		Ours:    []string{"02-pid/pid.go awaitRelease", "02-pid/pid.go reexec"},
		Read:    "execve(2), fcntl(2)",
		Show: func(t *Trial) {
			var extra []string
			// Go itself may hold a file of its cgroup, by the number of one that the
			// program forgot to hand on.
			r := t.RunWith([]string{"GODEBUG=containermaxprocs=0"}, "probe")
			for fd, target := range t.report(r).Files {
				if fd > 2 {
					extra = append(extra, fmt.Sprintf("%d -> %s", fd, target))
				}
			}
			t.Expect("", strings.Join(extra, "\n"))
		},
	},
	{
		Claim:   "the standard devices are there",
		Broken:  []string{"empty-dev"},
		Because: "programs take null, zero, full, random, urandom, tty and ptmx for granted",
		LookAt:  "where /dev is filled",
		Ours:    []string{"03-mount/mount.go filesystems", "03-mount/mount.go mountFilesystems"},
		Read:    "null(4), random(4), tty(4), pts(4)",
		Show: func(t *Trial) {
			r := t.Inside()
			for _, d := range []string{"null c 1:3", "zero c 1:5", "full c 1:7", "random c 1:8", "urandom c 1:9", "tty c 5:0"} {
				name, number, _ := strings.Cut(d, " ")
				t.ExpectThat(r.Devices[name] == number, "/dev/"+d, "/dev/"+name+" "+r.Devices[name])
			}
			terminal := t.Run("probe", "pty")
			t.ExpectThat(strings.HasPrefix(terminal.Stdout, "/dev/pts/"), "a terminal from /dev/ptmx", terminal.Stdout)
		},
	},
	{
		Claim:   "its links in dev lead to its own files",
		Broken:  []string{"empty-dev"},
		Because: "scripts write to /dev/stderr; without the link that makes a file",
		LookAt:  "where the links in /dev are made",
		Ours:    []string{"03-mount/mount.go mountFilesystems", "05-user/user.go handOver", "05-user/user.go prepareRootfs"},
		Read:    "fd(4)",
		Show: func(t *Trial) {
			r := t.Launch("in\n", t.Program.Path, "run", "sh", "-c", "read x </dev/stdin; echo $x >/dev/stdout; echo err >/dev/stderr; echo fd >/dev/fd/1")
			t.Expect("in\nfd", r.Stdout)
			t.Expect("err", r.Stderr)
		},
	},
	{
		Claim:   "TERM, HUP and QUIT end a command that does not handle them",
		Broken:  []string{"swallows-signals"},
		Because: "the kernel drops a signal for which process 1 has no handler",
		LookAt:  "what the program does with a signal of its own",
		Ours:    []string{"02-pid/pid.go wait", "02-pid/pid.go handles", "02-pid/pid.go reexec"},
		Read:    "pid_namespaces(7), signal(7)",
		Show: func(t *Trial) {
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
				run := t.Start("sleep", "4444")
				run.Command("sleep 4444")
				run.Signal(sig)
				t.ran += fmt.Sprintf(" & kill -%d $!", sig)
				t.ExpectStatus(128+int(sig), run.Wait())
				if sig != syscall.SIGQUIT { // which some shells ignore
					t.ExpectStatus(128+int(sig), t.signalled(sig, "echo ready; while :; do :; done"))
				}
			}
		},
	},
	{
		Claim:   "TERM, HUP and QUIT reach a command that handles them",
		Broken:  []string{"swallows-signals", "kills-on-signal"},
		Because: "a server saves its data when it is told to end",
		LookAt:  "what the program does with a signal of its own",
		Ours:    []string{"02-pid/pid.go wait", "02-pid/pid.go handles", "02-pid/pid.go reexec"},
		Read:    "signal(7), proc_pid_status(5)",
		Show: func(t *Trial) {
			for status, sig := range map[int]syscall.Signal{3: syscall.SIGTERM, 4: syscall.SIGHUP, 5: syscall.SIGQUIT} {
				script := fmt.Sprintf("trap 'exit %d' %d; echo ready; while :; do :; done", status, sig)
				t.ExpectStatus(status, t.signalled(sig, script))
			}
		},
	},
	{
		Claim:   "a signal that the command ignores is ignored",
		Broken:  []string{"kills-on-signal"},
		Because: "nohup(1) and interactive shells ignore signals on purpose",
		LookAt:  "what the program does with a signal of its own",
		Ours:    []string{"02-pid/pid.go handles"},
		Read:    "signal(7), proc_pid_status(5)",
		Show: func(t *Trial) {
			run := t.Start("sh", "-c", "trap '' TERM; trap 'exit 6' HUP; echo ready; while :; do :; done")
			run.Output("ready")
			run.Signal(syscall.SIGTERM)
			run.taken() // signals of different numbers do not queue in order
			run.Signal(syscall.SIGHUP)
			t.ran += " & kill -TERM $!; kill -HUP $!"
			t.ExpectStatus(6, run.Wait())
		},
	},
	{
		Claim:   "killing the program kills the container",
		Broken:  []string{"outlives"},
		Because: "SIGKILL cannot be handled: the kernel must be told before what shall die with it",
		LookAt:  "the parent death signal of the process that becomes the command",
		Ours:    []string{"02-pid/pid.go reexec", "02-pid/pid.go init"},
		Read:    "PR_SET_PDEATHSIG(2const), pid_namespaces(7)",
		Show: func(t *Trial) {
			run := t.Start("sleep", "3333")
			run.Command("sleep 3333")
			run.Signal(syscall.SIGKILL)
			t.ran += " & kill -KILL $!"
			t.ExpectStatus(137, run.Wait())
			t.Excuse()
			t.Expect("", named("sleep 3333"))
		},
	},
	{
		Claim:   "a namespace that is refused stops the run",
		Holds:   "-+",
		Because: "an isolation that cannot be made must not be left out",
		LookAt:  "the error of unshare or clone",
		Ours:    []string{"01-uts/main.go run", "02-pid/main.go run", "01-uts/command.go exit"},
		Read:    "capabilities(7), unshare(2), clone(2)",
		Show: func(t *Trial) {
			for _, launcher := range []string{"without sys_admin", "unshareless"} { // the second may set a hostname
				words := append([]string{"/probe"}, strings.Fields(launcher)...)
				r := t.Launch("", append(words, t.Program.Path, "run", "/probe", "args", "it", "ran")...)
				t.Excuse()
				t.ExpectRefusal(r)
				t.ExpectThat(strings.Contains(r.Stderr, "not permitted"), "the kernel's reason on stderr", r.Stderr)
			}
		},
	},
	{
		Claim:   "a hostname that is refused stops the run",
		Holds:   "-+",
		Because: "an isolation that cannot be made must not be left out",
		LookAt:  "the error of sethostname",
		Ours:    []string{"01-uts/uts.go setHostname", "01-uts/main.go run", "02-pid/main.go initProcess"},
		Read:    "sethostname(2)",
		Show: func(t *Trial) {
			r := t.Launch("", "/probe", "deny", "sethostname", t.Program.Path, "run", "/probe", "args", "it", "ran")
			t.Excuse()
			t.ExpectRefusal(r)
		},
	},
}

// signalled runs script, which prints "ready", sends sig to the program and
// returns how it ended. A script that waits for its signal must be busy: a
// shell that is about to block in read(2) or wait(2) would sleep over it.
func (t *Trial) signalled(sig syscall.Signal, script string) Result {
	run := t.Start("sh", "-c", script)
	run.Output("ready")
	run.Signal(sig)
	t.ran += fmt.Sprintf(" & kill -%d $!", sig)
	return run.Wait()
}

// taken waits until the kernel has delivered all signals sent to the program,
// but for those that it blocks: at step 01 the program is the command.
func (r *Running) taken() {
	_, _ = waitFor(func() uint64 {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
		_, masks, _ := strings.Cut(string(status), "ShdPnd:")
		var pending, blocked uint64
		fmt.Sscanf(masks, "%x\nSigBlk: %x", &pending, &blocked)
		return pending &^ blocked
	}, func(open uint64) bool { return open == 0 }, r.ended)
}

// Command waits until the command is what runs, and returns its number on the
// host. A shell that is to exec it will not do: until then, signals are the
// shell's, and dash catches SIGINT.
func (r *Running) Command(line string) int {
	pid, err := waitFor(func() int {
		for _, p := range processes() {
			if p.name == line {
				return p.pid
			}
		}
		return 0
	}, func(pid int) bool { return pid != 0 }, r.ended)
	if err != nil {
		r.missed(line+" among the host's processes", []string{err.Error()}, err)
	}
	r.t.reached = true
	return pid
}
