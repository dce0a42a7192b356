package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"containers-from-scratch/harness/internal/pty"

	"golang.org/x/sys/unix"
)

// patience is how long one command of an engine may take, or a condition to
// come true: docker gives a container ten seconds to stop.
const patience = 60 * time.Second

// A check is one sentence about what an engine does with the runtime, and the
// way to see that it is true.
type check struct {
	claim string
	show  func(t *trial)
}

// A trial is one check of one engine.
type trial struct {
	*engine
	atEnd []func()
}

// A failure ends a trial.
type failure string

// fail ends the trial.
func (t *trial) fail(format string, args ...any) {
	panic(failure(fmt.Sprintf(format, args...)))
}

// must ends the trial when there is an error.
func (t *trial) must(err error) {
	if err != nil {
		t.fail("%v", err)
	}
}

// try runs a check, and says why it failed.
func (e *engine) try(c check) (why string) {
	t := &trial{engine: e}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			why = string(p)
		default:
			panic(p)
		}
		for _, f := range t.atEnd {
			f()
		}
		if left := e.removeAll(); left != "" && why == "" {
			why = left
		}
	}()
	c.show(t)
	return ""
}

// A result is how a command ended.
type result struct {
	t              *trial
	line           string // to paste
	stdout, stderr string
	status         int
}

// do runs the engine's command with arguments, to its end.
func (t *trial) do(args ...string) result { return t.input("", args...) }

// input is do with something to read.
func (t *trial) input(text string, args ...string) result {
	return t.run(strings.NewReader(text), append(t.cli, args...)...)
}

// run runs any command.
func (t *trial) run(stdin io.Reader, words ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), t.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	r := result{t: t, line: strings.Join(words, " "), stdout: stdout.String(), stderr: stderr.String()}
	if ctx.Err() != nil {
		t.fail("%s does not end", r.line)
	}
	if cmd.ProcessState == nil {
		t.must(err)
	}
	r.status = cmd.ProcessState.ExitCode()
	return r
}

// is ends the trial unless the command ended with one of these statuses.
func (r result) is(statuses ...int) result {
	for _, status := range statuses {
		if r.status == status {
			return r
		}
	}
	r.t.fail("%s: status %d, not %v: %s", r.line, r.status, statuses, strings.TrimSpace(r.stderr))
	return r
}

// gives ends the trial unless the command ended well and printed text.
func (r result) gives(text string) result {
	if r.is(0); r.stdout != text {
		r.t.fail("%s: printed %q, not %q", r.line, r.stdout, text)
	}
	return r
}

// has ends the trial unless the command ended well and what it printed matches.
func (r result) has(pattern string) result {
	if r.is(0); !regexp.MustCompile(pattern).MatchString(r.stdout) {
		r.t.fail("%s: printed %q, in which nothing matches %s", r.line, r.stdout, pattern)
	}
	return r
}

// number is the number that the command printed.
func (r result) number() (n int) {
	if _, err := fmt.Sscan(r.is(0).stdout, &n); err != nil {
		r.t.fail("%s: printed %q, which is no number", r.line, r.stdout)
	}
	return n
}

// until waits for a condition to come true.
func (t *trial) until(what string, f func() bool) {
	for deadline := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.fail("in vain waited until %s", what)
		}
	}
}

// A terminal is a pseudoterminal with the engine's command on it.
type terminal struct {
	t     *trial
	ptmx  *os.File
	ended chan int // takes the status
	said  pty.Screen
}

// onTerminal starts the engine's command on a terminal of 30 rows and 90
// columns.
func (t *trial) onTerminal(args ...string) *terminal {
	on := &terminal{t: t, ended: make(chan int, 1)}
	words := append(t.cli, args...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), append(t.env, "TERM=xterm")...)
	var err error
	on.ptmx, _, err = pty.Start(cmd, 30, 90, &on.said)
	t.must(err)
	t.atEnd = append(t.atEnd, func() {
		_ = cmd.Process.Kill() // an error says that it has ended
		on.ptmx.Close()
	})
	go func() {
		_ = cmd.Wait()
		on.ended <- cmd.ProcessState.ExitCode()
	}()
	return on
}

// resize sets the size; the kernel sends SIGWINCH.
func (on *terminal) resize(rows, columns uint16) {
	on.t.must(pty.Resize(on.ptmx, rows, columns))
}

// shows waits until the terminal shows text, after what it has shown before.
func (on *terminal) shows(text string) {
	if _, shown := on.said.Await(text, patience); !shown {
		on.t.fail("the terminal shows %q, not %q", on.said.String(), text)
	}
}

// types presses keys. What is typed is shown, too: no line should hold what it
// is to print.
func (on *terminal) types(keys string) {
	if _, err := on.ptmx.WriteString(keys); err != nil && !errors.Is(err, unix.EIO) {
		on.t.must(err)
	}
}

// ends waits until the command has ended with status.
func (on *terminal) ends(status int) {
	select {
	case got := <-on.ended:
		if got != status {
			on.t.fail("on a terminal: status %d, not %d: %q", got, status, on.said.String())
		}
	case <-time.After(patience):
		on.t.fail("on a terminal: does not end: %q", on.said.String())
	}
}
