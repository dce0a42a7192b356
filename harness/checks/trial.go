//go:build linux

package checks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long a run may take before it counts as hanging. A machine
// without KVM starts a container in some 30 ms.
var patience = 10 * time.Second

// shorten lessens the patience with programs that are known to hang, or to leave
// a process behind, until the function it returns is called.
func shorten(d time.Duration) (undo func()) {
	patienceBefore, settlingBefore := patience, settling
	patience, settling = d, d/4
	return func() { patience, settling = patienceBefore, settlingBefore }
}

// A Program is what is tried: an executable that meets the contract.
type Program struct {
	Name string // what its user calls it
	Path string
}

// A Trial is one attempt at showing a fact of one program.
type Trial struct {
	Program Program

	fact      Fact
	ran       string // the last command, to paste
	stderr    string // what the last command said there
	status    int    // how it ended
	refusal   bool   // it is to fail before the command runs
	reached   bool   // a command has been seen to run
	leftovers []string
	atEnd     []func()
	seen      host // the machine, when it is as it was last seen; nil: look again
}

// A Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Warnings       string // lines of stderr in which the program says what its user cannot have
	Status         int
}

// warning is how such a line begins, from step 05 on.
const warning = "container: warning: "

// cutWarnings takes the warnings out of what a program says.
func cutWarnings(said string) (warnings, rest string) {
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, warning) {
			warnings += line
		} else {
			rest += line
		}
	}
	return warnings, rest
}

// A Running is a program that has been started and not yet ended.
type Running struct {
	t      *Trial
	cmd    *exec.Cmd
	before host
	lock   sync.Mutex
	stdout bytes.Buffer
	stderr bytes.Buffer
	ended  chan struct{}
}

// Run runs the program with "run" and command, to its end.
func (t *Trial) Run(command ...string) Result { return t.RunWith(nil, command...) }

// Sh runs a line of shell in the container. The line must work in any POSIX
// shell, with builtins only.
func (t *Trial) Sh(line string) Result { return t.Run("sh", "-c", line) }

// RunWith is Run with variables added to the environment.
func (t *Trial) RunWith(env []string, command ...string) Result {
	return t.StartWith(env, command...).Wait()
}

// Start starts the program with "run" and command.
func (t *Trial) Start(command ...string) *Running { return t.StartWith(nil, command...) }

// StartWith is Start with variables added to the environment.
func (t *Trial) StartWith(env []string, command ...string) *Running {
	return t.launch(env, nil, append([]string{t.Program.Path, "run"}, command...)...)
}

// Launch starts words as they are, in which the program's path may stand
// anywhere, and waits for their end. Stdin holds input.
func (t *Trial) Launch(input string, words ...string) Result {
	return t.launch(nil, strings.NewReader(input), words...).Wait()
}

// launch starts words in the box's environment.
func (t *Trial) launch(env []string, stdin io.Reader, words ...string) *Running {
	r := &Running{t: t, before: t.look(), ended: make(chan struct{})}
	r.cmd = exec.Command(words[0], words[1:]...)
	r.cmd.Env = append(os.Environ(), env...)
	r.cmd.Stdin = stdin
	r.cmd.Stdout, r.cmd.Stderr = (*stdoutOf)(r), (*stderrOf)(r)
	r.cmd.WaitDelay = settling // a process it left behind may hold stdout open
	t.ran = paste(env, t.Program, words)
	if err := r.cmd.Start(); err != nil {
		t.stop(Failure{Expected: []string{"a program that starts"}, Saw: []string{err.Error()}})
	}
	go func() {
		_ = r.cmd.Wait() // the status is in ProcessState
		close(r.ended)
	}()
	t.atEnd = append(t.atEnd, r.kill)
	return r
}

type stdoutOf Running
type stderrOf Running

func (r *stdoutOf) Write(p []byte) (int, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.stdout.Write(p)
}

func (r *stderrOf) Write(p []byte) (int, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.stderr.Write(p)
}

// paste renders words as a line for a shell, with the program's own name.
func paste(env []string, p Program, words []string) string {
	var out []string
	for _, w := range append(append([]string{}, env...), words...) {
		if strings.HasPrefix(w, "GODEBUG=") {
			continue // it is for the probe, which is of Go
		}
		if w == p.Path {
			w = p.Name
		}
		if w == "" || strings.ContainsAny(w, " \t\n'\"$&|;<>()*?[]#~`\\!{}") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// Signal sends sig to the program, not to the command in it.
func (r *Running) Signal(sig syscall.Signal) { _ = r.cmd.Process.Signal(sig) }

// Output waits until stdout holds text, and returns all of stdout.
func (r *Running) Output(text string) string {
	out, err := waitFor(r.read, func(s string) bool { return strings.Contains(s, text) }, r.ended)
	if err != nil {
		r.missed(text, append(lines(out), err.Error()), err)
	}
	r.t.reached = true
	return out
}

// missed ends the trial of a run that did not come as far as want, with what
// the program said of it.
func (r *Running) missed(want string, saw []string, err error) {
	r.lock.Lock()
	_, r.t.stderr = cutWarnings(r.stderr.String())
	r.lock.Unlock()
	r.t.fail([]string{want}, saw, errors.Is(err, errPatience))
}

// read returns what stdout holds so far.
func (r *Running) read() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.stdout.String()
}

// Wait waits for the end of the program and compares the host with before.
func (r *Running) Wait() Result {
	select {
	case <-r.ended:
	case <-time.After(patience):
		if errors.Is(r.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			<-r.ended // it has ended; what it left behind holds its stdout open
			break
		}
		r.kill()
		r.t.stderr = r.stderr.String()
		r.t.fail([]string{"an end"}, append([]string{fmt.Sprintf("still running after %v", patience)}, lines(r.read())...), true)
	}
	result := Result{Stdout: r.stdout.String(), Status: status(r.cmd.ProcessState)}
	result.Warnings, result.Stderr = cutWarnings(r.stderr.String())
	r.t.stderr, r.t.status = result.Stderr, result.Status
	left := r.before.changed()
	if len(left) == 0 {
		r.t.seen = r.before
	}
	r.t.leftovers = append(r.t.leftovers, left...)
	return result
}

// kill ends the program, if it has not ended, and waits for that.
func (r *Running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// status is the shell's: 128+n for a program that signal n killed.
func status(p *os.ProcessState) int {
	ws := p.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

var errPatience = errors.New("not in time")

// waitFor polls get until ok is content with it, at most for patience, and not
// after gone is closed (nil: never).
func waitFor[T any](get func() T, ok func(T) bool, gone <-chan struct{}) (T, error) {
	deadline := time.After(patience)
	for {
		last := false
		select {
		case <-gone:
			last = true
		default:
		}
		begun := time.Now()
		value := get()
		if ok(value) {
			return value, nil
		}
		if last {
			return value, errors.New("and then its end")
		}
		select {
		case <-time.After(between(time.Since(begun))):
		case <-deadline:
			return value, errPatience
		}
	}
}

// Expect compares two texts line by line; a difference ends the trial.
func (t *Trial) Expect(want, saw string) {
	if w, s := lines(want), lines(saw); !cmp.Equal(w, s) {
		t.fail(w, s, false)
	}
}

// ExpectStatus compares an exit status.
func (t *Trial) ExpectStatus(want int, r Result) {
	t.Expect(fmt.Sprintf("status %d", want), fmt.Sprintf("status %d", r.Status))
}

// ExpectThat ends the trial when ok is false; saw says what was there instead
// of want.
func (t *Trial) ExpectThat(ok bool, want, saw string) {
	if !ok {
		t.fail(lines(want), lines(saw), false)
	}
}

// Excuse forgets what the last run left behind: the fact speaks of it itself,
// or the command left it, where the program has no namespace for it yet.
func (t *Trial) Excuse() { t.leftovers = nil }

// Control is for what must be true of the host, so that the fact means
// something: "it does not see X" needs an X. If it is not, the harness broke.
func (t *Trial) Control(ok bool, format string, args ...any) {
	if !ok {
		panic(HarnessError{fmt.Errorf("control: "+format, args...)})
	}
}

// must is Control for errors of the harness's own acts.
func (t *Trial) must(err error) {
	if err != nil {
		panic(HarnessError{err})
	}
}

// AtEnd runs undo after the trial, last one first. Whoever calls it has changed
// the host.
func (t *Trial) AtEnd(undo func()) {
	t.atEnd = append(t.atEnd, undo)
	t.seen = nil
}

// look returns the state of the host before a run. To read it takes about as
// long as the run, so it is read again only when it may have changed.
func (t *Trial) look() host {
	before := t.seen
	if before == nil {
		before = observeHost()
	}
	t.seen = nil // until the run has ended
	return before
}

// fail ends the trial: the fact does not hold.
func (t *Trial) fail(want, saw []string, hung bool) {
	died := t.status == 2 && (strings.HasPrefix(t.stderr, "panic: ") || strings.HasPrefix(t.stderr, "fatal error: "))
	refused := !t.refusal && (t.status == 125 && strings.HasPrefix(t.stderr, "container: ") || died)
	if said := lines(t.stderr); len(said) > 0 && !slices.Contains(saw, said[0]) {
		saw = append(saw, "stderr: "+said[0])
	}
	f := Failure{Expected: want, Saw: saw, Hung: hung, Reached: t.reached, Refused: refused}
	if m := frame.FindStringSubmatch(t.stderr); died && m != nil {
		f.Died = m[1]
	}
	t.stop(f)
}

// frame finds the first place of a program's own in the trace of a panic: the
// line after "main.run(...)", see runtime/debug.PrintStack.
var frame = regexp.MustCompile(`(?m)^main\..*\n\t(?:\S*/)?([^/\s]+\.go:\d+)`)

// Skip ends the trial: on this machine the fact cannot be tried, or what is left
// of it.
func (t *Trial) Skip(reason string) { panic(Skip{reason}) }

// left is the failure of a program that left something behind, nil for none.
func (t *Trial) left() *Failure {
	if len(t.leftovers) == 0 {
		return nil
	}
	return &Failure{Fact: t.fact, Ran: t.ran, Expected: []string{"the machine as it was before"}, Saw: t.leftovers, Left: true}
}

// stop unwinds to Try.
func (t *Trial) stop(f Failure) {
	f.Fact, f.Ran = t.fact, t.ran
	panic(&f)
}

// cleanUp ends what runs and makes the host what it was.
func (t *Trial) cleanUp() {
	for i := len(t.atEnd) - 1; i >= 0; i-- {
		t.atEnd[i]()
	}
	if t.seen.equal(pristine) {
		return // the last run left it so, and nothing was put on stage
	}
	if err := pristine.restore(); err != nil {
		spoilt = fmt.Errorf("%w, since the fact %q", err, t.fact.Claim)
	}
}

// spoilt is why the machine is of no more use.
var spoilt error

// lines splits a text into its lines, without an empty one at the end.
func lines(s string) []string {
	if s = strings.TrimRight(s, "\n"); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
