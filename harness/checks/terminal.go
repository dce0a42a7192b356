//go:build linux

package checks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"containers-from-scratch/harness/internal/pty"

	"golang.org/x/sys/unix"
)

// terminals are the facts of the contract that need a terminal.
var terminals = []Fact{
	{
		Claim:   "Ctrl-C ends a command that does not handle it",
		Broken:  []string{"swallows-signals"},
		Because: "the terminal sends SIGINT to its foreground processes; process 1 drops it without a handler",
		LookAt:  "what the program does on SIGINT",
		Ours:    []string{"02-pid/pid.go wait", "02-pid/pid.go handles", "02-pid/pid.go reexec"},
		Read:    "pid_namespaces(7), termios(3)",
		Show: func(t *Trial) {
			run, terminal := t.StartOnTerminal("sleep", "2222")
			run.Command("sleep 2222")
			t.type_(terminal, ctrlC)
			t.ExpectStatus(130, run.Wait())
		},
	},
	{
		Claim:   "Ctrl-C reaches a command once",
		Broken:  []string{"sends-int-twice"},
		Because: "the terminal sends SIGINT to the program and to the command: passing it on sends it twice",
		LookAt:  "what the program does on SIGINT",
		Ours:    []string{"02-pid/pid.go wait", "02-pid/pid.go reexec"},
		Read:    "termios(3), credentials(7)",
		Show: func(t *Trial) {
			// Two that are pending together count as one: so nobody counts them here.
			// The program may send none, see unsent.
			run, terminal := t.startOnTerminal("/probe", "unsent", itoa(int(unix.SIGINT)), t.Program.Path, "run", "sh", "-c",
				`n=0; trap 'n=$((n+1)); echo caught $n' INT; trap 'exit $n' TERM; echo ready; while :; do :; done`)
			run.Output("ready")
			t.type_(terminal, ctrlC)
			_, _ = waitFor(run.read, func(s string) bool { return strings.Contains(s, "caught 1") }, run.ended)
			// What the program does on SIGINT it has done when it passes on SIGTERM.
			run.Signal(unix.SIGTERM)
			t.ran += " & kill -TERM $!"
			r := run.Wait()
			t.ExpectThat(r.Status != 128+int(unix.SIGSYS), "no SIGINT from the program: the terminal sends one",
				"it sends another, for which this trial lets SIGSYS end it")
			t.ExpectStatus(1, r)
		},
	},
	{
		Claim:   "an interactive shell has job control",
		Broken:  []string{"no-terminal"},
		Because: "Ctrl-C, Ctrl-Z and fg work by process groups of the terminal's session, which the command stays in",
		LookAt:  "the session and the process group of the command: leave both as they are",
		Ours:    []string{"02-pid/pid.go reexec"},
		Read:    "setsid(2), setpgid(2), tcsetpgrp(3)",
		Show: func(t *Trial) {
			run, terminal := t.StartOnTerminal("bash", "--norc", "--noprofile", "-i")
			// What is typed comes back too: no line holds what it is to print.
			t.type_(terminal, "sh -c 'printf go%s 1; exec sleep 1111'\r")
			run.Output("go1")
			t.type_(terminal, ctrlC)
			t.type_(terminal, "echo int=$?\r")
			run.Output("int=130")
			t.type_(terminal, "sh -c 'printf go%s 2; read x; printf got-%s $x'\r")
			run.Output("go2")
			t.type_(terminal, ctrlZ)
			run.Output("Stopped")
			t.type_(terminal, "echo stop=$?\r")
			run.Output("stop=148")
			t.type_(terminal, "echo now=$((1+1)); fg\r")
			run.Output("now=2") // before, the shell's line editor would take the word
			t.type_(terminal, "word\r")
			run.Output("got-word")
			t.type_(terminal, "exit 9\r")
			t.ExpectStatus(9, run.Wait())
		},
	},
	{
		Claim:   "a change of the terminal's size is seen",
		Broken:  []string{"no-terminal"},
		Because: "the command has the caller's terminal, whose size the kernel keeps",
		LookAt:  "the standard files of the process that becomes the command",
		Ours:    []string{"02-pid/pid.go reexec"},
		Read:    "ioctl_tty(2)",
		Show: func(t *Trial) {
			run, terminal := t.StartOnTerminal("sh", "-c", "probe size; echo ready; read line; probe size")
			run.Output("24 80\r\nready")
			t.must(pty.Resize(terminal, 40, 132))
			t.type_(terminal, "\r")
			run.Output("40 132")
			run.Wait()
		},
	},
	{
		Claim:   "the terminal is given back",
		Broken:  []string{"keeps-terminal"},
		Because: "an interactive shell makes its own group the terminal's foreground; a reader outside that group gets EIO or SIGTTIN",
		LookAt:  "what the program does after the command has ended",
		Ours:    []string{"02-pid/pid.go wait"},
		Read:    "tcsetpgrp(3), setpgid(2)",
		Show: func(t *Trial) {
			// The outer shell is not interactive: it would not take it itself.
			run, terminal := t.startOnTerminal("sh", "-c", `"$0" run bash --norc --noprofile -i; read line; echo got $line`, t.Program.Path)
			t.type_(terminal, "echo inside=$((1+1)); exit\r")
			run.Output("inside=2")
			t.type_(terminal, "outside\r")
			run.Output("got outside")
			run.Wait()
		},
	},
	{
		Claim:   "in the background it leaves the terminal alone",
		Broken:  []string{"steals-terminal"},
		Because: "a shell that finds itself out of the terminal's foreground reads an error there, and ends",
		LookAt:  "when the program takes the terminal back: only if nobody has it",
		Ours:    []string{"02-pid/pid.go wait"},
		Read:    "tcsetpgrp(3), credentials(7)",
		Show: func(t *Trial) {
			run, terminal := t.startOnTerminal("bash", "--norc", "--noprofile", "-i")
			t.type_(terminal, t.Program.Path+" run sleep 1212\r")
			victim := run.Command("sleep 1212")
			t.type_(terminal, ctrlZ)
			run.Output("Stopped")
			t.type_(terminal, "bg\r")
			// The line that bg prints, and then the prompt: up to there the shell
			// itself takes the terminal back, whoever has it.
			_, err := waitFor(run.read, func(s string) bool {
				_, after, _ := strings.Cut(s, "&")
				return strings.Contains(after, "# ")
			}, run.ended)
			t.ExpectThat(err == nil, "a prompt after bg", fmt.Sprint(err))
			foreground := func() int {
				group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
				t.must(err)
				return group
			}
			shell := foreground()
			t.must(syscall.Kill(victim, syscall.SIGKILL))
			_, _ = waitFor(func() string { return named(t.Program.Path + " run sleep 1212") },
				func(s string) bool { return s == "" }, run.ended)
			group := foreground()
			t.ExpectThat(group == shell, fmt.Sprintf("the shell's process group %d in the foreground", shell),
				fmt.Sprintf("group %d", group))
			t.type_(terminal, "exit 9\r")
			t.ExpectStatus(9, run.Wait())
		},
	},
}

// What keys send, see "special characters" in termios(3).
const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

// StartOnTerminal starts the program as the first process on a new terminal of
// 24 rows and 80 columns, as a login would. Its output goes where that of
// Start goes, with the terminal's "\r\n".
func (t *Trial) StartOnTerminal(command ...string) (*Running, *os.File) {
	return t.startOnTerminal(append([]string{t.Program.Path, "run"}, command...)...)
}

func (t *Trial) startOnTerminal(words ...string) (*Running, *os.File) {
	ptmx, tty, err := pty.Open(24, 80)
	t.must(err)
	t.AtEnd(func() { _ = ptmx.Close() })
	defer tty.Close()

	r := &Running{t: t, before: t.look(), ended: make(chan struct{})}
	r.cmd = exec.Command(words[0], words[1:]...)
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, tty, tty
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	t.ran = paste(nil, t.Program, words)
	if err := r.cmd.Start(); err != nil {
		t.stop(Failure{Expected: []string{"a program that starts"}, Saw: []string{err.Error()}})
	}
	drained := make(chan struct{})
	go func() { // ends with EIO when nobody has the other end open any more
		defer close(drained)
		_, _ = io.Copy((*stdoutOf)(r), ptmx)
	}()
	go func() {
		_ = r.cmd.Wait()
		select {
		case <-drained:
		case <-time.After(settling): // a process it left behind has it open
		}
		close(r.ended)
	}()
	t.atEnd = append(t.atEnd, r.kill)
	return r, ptmx
}

// type_ presses keys.
func (t *Trial) type_(terminal *os.File, keys string) {
	name := strings.NewReplacer(ctrlC, "Ctrl-C", ctrlZ, "Ctrl-Z", "\r", "").Replace(keys)
	t.ran += ", then " + name
	if _, err := terminal.WriteString(keys); err != nil && !errors.Is(err, unix.EIO) {
		t.must(err) // EIO: the program has ended; what follows says so
	}
}
