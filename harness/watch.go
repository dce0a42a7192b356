package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"containers-from-scratch/harness/hints"
	"containers-from-scratch/harness/sandbox"
	"containers-from-scratch/harness/watch"
)

// learnersDir is where make start puts a program; git ignores it.
const learnersDir = "work"

// start puts into work/ what step N begins with, by default step 1.
func start(args []string) error {
	n := 1
	if len(args) > 0 {
		step, err := knownStep(args[0])
		if err != nil || len(args) > 1 || lesson(step) == nil {
			return usage("usage: make start [N], with N from 1 to %d", hints.LastStep)
		}
		n = step
	}
	if program := os.Getenv("PROGRAM"); program != "" && !isLearners(program) {
		return usage("make start puts the program into %s/, and into no PROGRAM=%s", learnersDir, program)
	}
	files, err := beginning(n)
	if err != nil {
		return broke(err)
	}
	backup, err := watch.Put(learnersDir, files, time.Now())
	if err != nil {
		return cannot(err)
	}
	if err := (watch.Progress{Step: n}).Save(learnersDir); err != nil {
		return cannot(err)
	}
	if backup != "" {
		fmt.Printf("What was in %s/ is in %s/\n\n", learnersDir, backup)
	}
	step, first := lesson(n), "work/"
	if n == 1 {
		first = "work/main.go"
	}
	fmt.Printf("%s is step %02d; step %02d is yours to write.\nRead %s, start `%s` in a second terminal, change %s.\n",
		learnersDir+"/", n-1, n, step.Lesson, again("make watch"), first)
	return nil
}

// again is a command of make with the machine that was asked for this time: who
// needed SANDBOX=host once needs it in what he pastes next.
func again(command string) string {
	for _, name := range []string{"SANDBOX", "CGROUP", "KERNEL", "ACCEL", "ARCH"} {
		if value := os.Getenv(name); value != "" {
			command += " " + name + "=" + value
		}
	}
	return command
}

// knownStep reads "3", "03" or "03-mount", and wants such a step.
func knownStep(word string) (int, error) {
	number, _, _ := strings.Cut(word, "-")
	n, err := strconv.Atoi(number)
	steps, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*", n))
	if err != nil || len(steps) != 1 {
		return 0, usage("there is no step %s: N is one of %s", word, stepNumbers())
	}
	return n, nil
}

// beginning are the files that step n begins with: the program of the step
// before. Before the first that is step 00, with the command.go of all steps.
func beginning(n int) (map[string]string, error) {
	pattern := fmt.Sprintf("steps/%02d-*/*.go", n-1)
	if n == 1 {
		pattern = "harness/testdata/00-none/*.go"
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files[filepath.Base(path)] = string(data)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("step %d has no program before it", n)
	}
	return files, nil
}

// lesson is what there is of step n, nil when a learner does not write it.
func lesson(n int) *watch.Step {
	if n > hints.LastStep {
		return nil
	}
	lessons, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*/README.md", n))
	if len(lessons) != 1 {
		return nil
	}
	return &watch.Step{Number: n, Name: filepath.Base(filepath.Dir(lessons[0])), Lesson: lessons[0]}
}

// watchProgram is the learner's loop, on work/ or PROGRAM.
func watchProgram(args []string) error {
	dir := filepath.Clean(os.Getenv("PROGRAM"))
	if os.Getenv("PROGRAM") == "" {
		dir = learnersDir
	}
	if info, err := os.Stat(dir); err != nil && dir == learnersDir {
		return usage("there is no %s/ yet: %s", learnersDir, again("make start"))
	} else if err != nil || !info.IsDir() {
		return usage("PROGRAM=%s is not the directory of a Go package", dir)
	}
	if len(args) > 0 {
		n, err := knownStep(args[0])
		if err != nil || len(args) > 1 || lesson(n) == nil {
			return usage("usage: make watch [N], with N from 1 to %d", hints.LastStep)
		}
		if p := watch.Load(dir); p.Step != n {
			if err := (watch.Progress{Step: n}).Save(dir); err != nil {
				return cannot(err)
			}
		}
	}
	if err := os.Setenv("PROGRAM", dir); err != nil {
		return broke(err)
	}
	if needsSudo() { // while the terminal still is as sudo wants it
		if err := interactive("sudo", "-v").Run(); err != nil {
			return cannot(fmt.Errorf("SANDBOX=host needs root: sudo -v: %w", err))
		}
	}
	w := &watcher{dir: dir}
	defer w.close()
	once, err := watch.Main(watch.Course{
		Dir: dir, Step: lesson, Hints: hints.For, Again: again, Files: beginning, Diff: w.diff, Try: w.try,
	}, os.Stdin, os.Stdout)
	switch {
	case err != nil:
		return broke(err)
	case once == nil || once.Kind == watch.Holds:
		return nil
	case once.Kind == watch.NoVerdict:
		return outcome{status: 2}
	}
	return outcome{status: 1}
}

// interactive is a command that has our terminal.
func interactive(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// A watcher tries one program again and again, in machines that it keeps.
type watcher struct {
	dir   string
	built *built // the harness's own part, once it is there
	log   waits
	m     *booking
}

// waits passes lines of the sandbox on as news of what is waited for. A machine
// that is being made writes while a later run takes the news over.
type waits struct {
	mu   sync.Mutex
	tell func(watch.News)
}

// to names who is told from now on.
func (w *waits) to(tell func(watch.News)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = tell
}

func (w *waits) Write(p []byte) (int, error) {
	w.mu.Lock()
	tell := w.tell
	w.mu.Unlock() // telling may wait for the run to take the news
	for line := range strings.Lines(string(p)) {
		tell(watch.News{Waiting: strings.TrimSpace(line)})
	}
	return len(p), nil
}

// close ends the machines.
func (w *watcher) close() {
	if w.m != nil {
		w.m.close()
		w.m = nil
	}
}

// try is one run: compile, try, tell.
func (w *watcher) try(ctx context.Context, step int, failedLast string, tell func(watch.News)) watch.Verdict {
	w.log.to(tell)
	if w.m == nil {
		w.m = bookFor(&w.log, machines())
	}
	if w.built == nil {
		waiting := "building the steps and the checks"
		if _, err := os.Stat(filepath.Join(buildDir(spec().Arch), "checks.test")); err != nil {
			waiting += " (a minute, the first time)"
		}
		tell(watch.News{Waiting: waiting})
		b, err := buildTools(spec().Arch)
		if err != nil {
			return noVerdict(err)
		}
		w.built = &b
		tell(watch.News{Waiting: "building " + w.dir})
	}
	path, err := buildProgram(spec().Arch, watched, w.dir, w.built.dir)
	if err != nil {
		return w.noProgram(err)
	}
	b := *w.built
	b.program = path
	return w.tryBuilt(ctx, b, step, failedLast, tell)
}

// tryBuilt has the facts tried.
func (w *watcher) tryBuilt(ctx context.Context, b built, step int, failedLast string, tell func(watch.News)) watch.Verdict {
	tell(watch.News{Waiting: "waiting for the test machine"})
	<-w.m.ready
	if w.m.err != nil {
		err := w.m.err
		w.close() // the next run tries again
		return noVerdict(err)
	}
	var said bytes.Buffer
	t := &tally{facts: true, live: newLive(ctx, failedLast, w.m.kind, &said)}
	t.progress = func(done, of int, now string) {
		if fact := claim(now); fact != "" {
			tell(watch.News{Now: fact, Done: done - 1, Total: of}) // one is the test itself
		}
	}
	t.live.ownHold = func(own []string) { tell(watch.News{OwnHold: true, Own: own}) }
	status, err := runTests(w.m, b, fmt.Sprintf("^TestStep%02d$", step), t)
	tell(watch.News{Claims: t.live.claims, Own: t.live.own})
	if ctx.Err() != nil {
		return watch.Verdict{Kind: watch.Stopped}
	}
	var died machineError
	if errors.As(err, &died) {
		w.close()
	}
	return t.watchVerdict(step, status, err, said.String())
}

// watchVerdict is verdict for who watches.
func (t *tally) watchVerdict(step, status int, err error, said string) watch.Verdict {
	v := watch.Verdict{Skipped: t.skipped}
	held := map[string]bool{}
	for _, name := range t.counted {
		held[name] = true
	}
	for _, f := range slices.Concat(t.failures, t.skips) {
		held[f.name] = false
	}
	for _, name := range t.counted {
		if held[name] {
			v.Held = append(v.Held, claim(name))
		}
	}
	var died machineError
	switch {
	case len(t.failures) > 0 && !t.failures[0].broken():
		v.Kind, v.Claim, v.Lines = watch.Fails, claim(t.failures[0].name), t.failures[0].lines
		says := func(start string) bool {
			return slices.ContainsFunc(v.Lines, func(line string) bool { return strings.HasPrefix(line, start) })
		}
		v.Itself, v.Left = says("because    the program itself "), says("expected   the machine as it was before")
	case errors.As(err, &died) && len(t.open) > 1:
		v.Kind, v.Claim, v.Lines = watch.Fails, t.last(), []string{"It took the test machine down: " + firstLine(err)}
	case err == nil && t.failed == 0 && status > 128 && len(t.open) > 1:
		v.Kind, v.Claim, v.Lines = watch.Fails, t.last(), []string{"It killed its judge, the tests."}
	default:
		line, err := t.verdict(step, status, err)
		if err != nil {
			v.Kind, v.Lines = watch.NoVerdict, append([]string{err.Error()}, strings.Split(strings.TrimSpace(said), "\n")...)
			return v
		}
		v.Kind, v.Lines = watch.Holds, []string{line}
	}
	return v
}

// noVerdict is for what is not the program's fault.
func noVerdict(err error) watch.Verdict {
	return watch.Verdict{Kind: watch.NoVerdict, Lines: strings.Split(err.Error(), "\n")}
}

// watched is what buildProgram calls the program that is watched, and its file.
const watched = "work"

// noProgram tells why there is nothing to try, in the compiler's words.
func (w *watcher) noProgram(err error) watch.Verdict {
	v := watch.Verdict{Kind: watch.NoProgram}
	if _, gone := os.Stat(w.dir); gone != nil {
		v.Lines = []string{w.dir + " is not there. x puts back what the step begins with."}
		return v
	}
	if errors.As(err, new(noMain)) {
		v.Lines = []string{err.Error() + "; x puts back what the step begins with"}
		return v
	}
	var o outcome
	if errors.As(err, &o) && o.status == 3 {
		return noVerdict(err)
	}
	said := strings.TrimPrefix(strings.TrimPrefix(err.Error(), watched+" does not compile:\n"), watched+"=")
	for _, line := range strings.Split(said, "\n") {
		if !strings.HasPrefix(line, "# ") { // the package, which is known
			v.Lines = append(v.Lines, line)
		}
	}
	return v
}

// diff compares the program with our step.
func (w *watcher) diff(step watch.Step) []string {
	out, _ := exec.Command("diff", "-urN", "-x", ".*", "-x", "README.md", "-x", "main_other.go",
		w.dir, "steps/"+step.Name).Output() // status 1: they differ
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "diff ") {
			lines = append(lines, stamps.ReplaceAllString(line, "$1"))
		}
	}
	return lines
}

// stamps are the times behind the names of files in a diff.
var stamps = regexp.MustCompile(`^((?:---|\+\+\+) [^\t]*)\t.*$`)

// A live run is one that make watch looks at: it ends at the first failure, or
// when it is no longer wanted.
type live struct {
	ctx      context.Context
	stop     context.CancelFunc
	first    string         // the fact to try first
	patience time.Duration  // with a program that hangs
	said     *bytes.Buffer  // takes what the harness says beside the tests
	claims   []string       // all facts, as the tests announce them
	own      []string       // those that the step adds
	ownHold  func([]string) // is called once those hold
	lock     *sync.Mutex    // for
	holding  map[string]bool
}

// held notes a fact that holds, in whichever machine.
func (l *live) held(claim string) {
	if l == nil || l.ownHold == nil || !slices.Contains(l.own, claim) {
		return
	}
	l.lock.Lock()
	l.holding[claim] = true
	all := len(l.holding) == len(l.own)
	l.lock.Unlock()
	if all {
		l.ownHold(l.own)
	}
}

// isLearners tells whether PROGRAM is work/, by whatever path.
func isLearners(program string) bool {
	theirs, _ := filepath.Abs(program)
	ours, _ := filepath.Abs(learnersDir)
	return theirs == ours
}

// newLive prepares one. An emulated machine is a tenth as fast.
func newLive(ctx context.Context, first, kind string, said *bytes.Buffer) *live {
	l := &live{first: first, patience: 1200 * time.Millisecond, said: said, lock: new(sync.Mutex), holding: map[string]bool{}}
	if kind == "vm" {
		l.patience = 3 * time.Second
	}
	l.patience = time.Duration(float64(l.patience) * min(10, max(1, crowd())))
	l.ctx, l.stop = context.WithCancel(ctx)
	return l
}

// crowd is how many processes wanted each CPU in the last minute, see
// proc_loadavg(5): then a program that does not hang may take so many times as
// long. Elsewhere than on Linux nothing tells.
func crowd() (load float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &load) // 0 without one
	return load / float64(runtime.NumCPU())
}

// share is the part of one machine.
func (l *live) share() *live {
	if l == nil {
		return nil
	}
	part := *l
	return &part
}

// prepare tells a job that it is watched, and gives it a stdin that is closed
// when it is to stop. Call ended when it has ended.
func (l *live) prepare(job *sandbox.Job) (ended func(), err error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	job.Stdin, job.Stderr = theirs, l.said
	job.Env = append(job.Env, "WATCH="+l.first, "PATIENCE="+l.patience.String())
	unhook := context.AfterFunc(l.ctx, func() { _ = ours.Close() })
	return func() {
		if unhook() {
			_ = ours.Close()
		}
		_ = theirs.Close()
	}, nil
}
