package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"containers-from-scratch/harness/sandbox"
)

// A tally follows the output of `go test -v` and counts what ends there.
type tally struct {
	passed, failed, skipped int

	failures []failure
	skips    []failure           // name and reason
	counted  []string            // tests without subtests, in the order of their ends
	others   []string            // tests that another machine tries
	open     []string            // tests that have started and not ended
	output   map[string][]string // what each test said
	parents  map[string]bool     // tests that have subtests
	places   map[string]int      // the order in which they started
	current  string
	started  int
	facts    bool // only subtests count: they are the facts
	sandbox  string
	v1       bool                           // the machine has limits by version 1 of cgroups
	total    int                            // facts that are to come, as the tests announce
	progress func(done, of int, now string) // called when a test starts
	live     *live                          // for make watch, nil for none
	raw      io.Writer                      // takes every line, nil for none
}

// A failure is a test that failed, with what it said.
type failure struct {
	name  string
	lines []string
	place int // in the order in which tests start
}

// event is a line of the testing package's own. Behind a tab it is what a test
// quotes: the transcript of a lesson, say, that differs.
var event = regexp.MustCompile(`^ *(=== RUN|=== CONT|=== NAME|--- PASS:|--- FAIL:|--- SKIP:)\s+(\S+)`)

// read takes the output to its end.
func (t *tally) read(r io.Reader) {
	t.output, t.parents, t.places = map[string][]string{}, map[string]bool{}, map[string]int{}
	for lines := bufio.NewReader(r); ; { // no Scanner: a line may have any length
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		if t.raw != nil {
			fmt.Fprintln(t.raw, line)
		}
		m := event.FindStringSubmatch(line)
		switch {
		case m == nil:
			if n, ok := strings.CutPrefix(line, "facts "); ok {
				t.total, _ = strconv.Atoi(n)
				if t.progress != nil && t.live == nil && !onTerminal() && os.Getenv("RUN") == "" {
					fmt.Fprintf(os.Stderr, "trying %s facts\n", n)
				}
			} else if claim, ok := strings.CutPrefix(line, "fact "); ok {
				if t.live != nil {
					t.live.claims = append(t.live.claims, claim)
				}
			} else if claim, ok := strings.CutPrefix(line, "own "); ok {
				if t.live != nil {
					t.live.claims, t.live.own = append(t.live.claims, claim), append(t.live.own, claim)
				}
			} else if kind, ok := strings.CutPrefix(line, "sandbox "); ok {
				t.sandbox = kind
			} else if line == "cgroups v1" {
				t.v1 = true
			} else {
				t.output[t.current] = append(t.output[t.current], line)
			}
		case strings.HasPrefix(m[1], "==="):
			t.current = m[2]
			if m[1] == "=== RUN" {
				t.open = append(t.open, m[2])
				for i, c := range m[2] {
					if c == '/' { // of the test's own name, or of its parent's
						t.parents[m[2][:i]] = true
					}
				}
				t.started++
				t.places[m[2]] = t.started
				if t.progress != nil {
					t.progress(t.started, t.total, m[2])
				}
			}
		default:
			t.end(m[1], m[2])
		}
	}
}

// end counts a test that has ended. One with subtests is not counted, unless
// it has a failure of its own: its subtests are.
func (t *tally) end(how, name string) {
	for i, open := range t.open {
		if open == name {
			t.open = append(t.open[:i], t.open[i+1:]...)
			break
		}
	}
	said := message(t.output[name])
	if how == "--- SKIP:" && len(said) == 1 && said[0] == "elsewhere" { // tryHere's word
		t.others = append(t.others, name)
		return
	}
	ended := failure{name, said, t.places[name]}
	switch {
	case t.facts && !strings.Contains(name, "/") && len(said) == 0: // it only holds the facts
		return
	case t.parents[name] && (how != "--- FAIL:" || len(said) == 0):
		return
	case how == "--- PASS:":
		t.passed++
		t.live.held(claim(name))
	case how == "--- FAIL:":
		t.failed++
		t.failures = append(t.failures, ended)
	default:
		t.skipped++
		t.skips = append(t.skips, ended)
	}
	if !t.parents[name] {
		t.counted = append(t.counted, name)
	}
}

var position = regexp.MustCompile(`^\s+\w+\.go:\d+: ?`)

// message is what a test said, without the position in the test's source.
func message(lines []string) []string {
	var said []string
	for _, line := range lines {
		line = strings.TrimSpace(position.ReplaceAllString(line, ""))
		if line != "" {
			said = append(said, line)
		}
	}
	return said
}

// shortList is how many more failures are named after the first.
const shortList = 5

// show prints failures: all in full, or the first one and the names of the next.
// What could not be tried says nothing of the program, and comes last.
func (t *tally) show(w io.Writer, all bool) {
	failures := slices.DeleteFunc(slices.Clone(t.failures), failure.broken)
	rest := slices.DeleteFunc(slices.Clone(t.failures), func(f failure) bool { return !f.broken() })
	if len(failures) == 0 {
		failures, rest = t.failures, nil
	}
	for i, f := range failures {
		if i == 1 && !all {
			fmt.Fprintf(w, "\nand %d more, each in full with V=1:\n", len(failures)-1)
		}
		if i > shortList && !all {
			fmt.Fprintln(w, "    …")
			break
		}
		if i > 0 && !all {
			fmt.Fprintf(w, "    %s\n", claim(f.name))
			continue
		}
		fmt.Fprintf(w, "--- FAIL: %s\n", f.name)
		for _, line := range f.lines {
			fmt.Fprintf(w, "    %s\n", line)
		}
	}
	if len(rest) > 0 {
		reason := strings.TrimPrefix(strings.TrimPrefix(rest[0].lines[0], "harness: "), untried)
		if what, since, ok := strings.Cut(reason, ", since the fact"); ok { // without the list of what is wrong with it
			what, _, _ = strings.Cut(what, ": ")
			reason = what + ", since the fact" + since
		}
		fmt.Fprintf(w, "\n%s not be tried: %s\n", howMany(len(rest), "fact could", "facts could"), reason)
	}
}

// showSkips prints what was skipped, and why.
func (t *tally) showSkips(w io.Writer) {
	for _, s := range t.skips {
		fmt.Fprintf(w, "--- SKIP: %s: %s\n", s.name, strings.Join(s.lines, " "))
	}
}

// claim turns TestStep03/it_sees_no_process back into the sentence.
func claim(name string) string {
	_, fact, _ := strings.Cut(name, "/")
	return strings.ReplaceAll(fact, "_", " ")
}

// untried begins what is said of a fact that was not tried, after some that hung.
const untried = "not tried: "

// broken tells whether a failure says nothing of the program: it is the harness's
// own, or was not tried.
func (f failure) broken() bool {
	return len(f.lines) > 0 && (strings.HasPrefix(f.lines[0], "harness:") || strings.HasPrefix(f.lines[0], untried))
}

// runTests runs the tests that match pattern in the sandbox, and adds what came
// of them to t. Several machines share them.
func runTests(m *booking, b built, pattern string, t *tally) (status int, err error) {
	shares := make([]share, m.count())
	var group sync.WaitGroup
	for i := range shares {
		shares[i].tally = tally{facts: t.facts, raw: t.raw, live: t.live.share()}
		if i == 0 { // all go through the same list, at the same pace
			shares[i].progress = t.progress
		}
		group.Go(func() { shares[i].run(m, b, pattern, i, len(shares)) })
	}
	group.Wait()
	if t.live != nil {
		t.live.claims, t.live.own = shares[0].live.claims, shares[0].live.own
	}
	return t.add(shares)
}

// runFinal runs the tests that step 07 has of its own, which try its parts, dealt
// out to the machines, and adds what came of them to t. They are for a machine's
// root: an ordinary user's sandbox skips them.
func runFinal(m *booking, b built, t *tally) (status int, err error) {
	if m.kind == "user" {
		t.skipped++
		t.skips = append(t.skips, failure{"TestsOfStep07sOwn", []string{"they are for root"}, 0})
		return 0, nil
	}
	names, err := ownTests("steps/07-final")
	if err != nil {
		return 0, broke(err)
	}
	shares := make([]share, m.count())
	var group sync.WaitGroup
	for i := range shares {
		var dealt []string
		for j := i; j < len(names); j += len(shares) {
			dealt = append(dealt, names[j])
		}
		shares[i].raw = t.raw
		group.Go(func() { shares[i].runOwn(m, b, dealt, i) })
	}
	group.Wait()
	sandbox := t.sandbox
	status, err = t.add(shares)
	t.sandbox = sandbox // which these tests do not tell
	return status, err
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// ownTests are the names of the tests in a package's directory.
func ownTests(dir string) (names []string, err error) {
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range testFunction.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no test in %s", dir)
	}
	return names, nil
}

// runOwn runs those of step 07's own tests that have these names in machine i.
// What its parts say is for the tests' eyes, and may hold what moves a cursor: it
// is shown quoted, and only of tests that do not come to their end.
func (s *share) runOwn(m *booking, b built, names []string, i int) {
	job := b.job()
	job.Files["/box/final.test"] = filepath.Join(b.dir, "final.test")
	job.Dir = "/box/docs/steps/07-final"
	job.Args = []string{"/box/final.test", "-test.v", "-test.timeout=10m", "-test.run=^(" + strings.Join(names, "|") + ")$"}
	job.Timeout = 11 * time.Minute
	var said bytes.Buffer
	s.follow(m, i, job, &said)
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.places[name] > 0 })
	if len(s.open)+len(missing) == 0 {
		return
	}
	did := failure{strings.Join(missing, " "), []string{fmt.Sprintf("not tried, or not to the end: status %d", s.status)}, 0}
	if len(s.open) > 0 {
		did.name = s.open[0]
	}
	for line := range strings.Lines(said.String()) {
		did.lines = append(did.lines, strings.Trim(strconv.Quote(strings.TrimSpace(line)), `"`))
	}
	s.failed++
	s.failures = append(s.failures, did)
}

// A share is what one machine is to do of the tests, and what came of it.
type share struct {
	tally
	status int
	err    error
}

// run does share i of n.
func (s *share) run(m *booking, b built, pattern string, i, n int) {
	job := b.job()
	job.Args = []string{"/box/checks.test", "-test.v", "-test.timeout=20m", "-test.run=" + pattern}
	job.Env = append(job.Env, fmt.Sprintf("MACHINE=%d/%d", i+1, n))
	job.Timeout = 25 * time.Minute // the tests' own comes first, and names the test
	if s.live != nil {
		ended, err := s.live.prepare(&job)
		if err != nil {
			s.err = broke(err)
			return
		}
		defer ended()
	}
	s.follow(m, i, job, os.Stderr)
	if s.live != nil && (s.failed > 0 || s.err != nil || s.status != 0) {
		s.live.stop() // the others, too: one failure is enough
	}
}

// follow runs a job of tests in machine i and reads what it says.
func (s *share) follow(m *booking, i int, job sandbox.Job, stderr io.Writer) {
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() { s.read(read); close(done) }()
	job.Stdout, job.Stderr = write, stderr
	s.status, s.err = m.runIn(i, job)
	write.Close()
	<-done
}

// harm grades how a share ended: well, with failures, before its end, in the
// middle of a test, or with its machine.
func (s share) harm() int {
	switch {
	case s.err != nil:
		return 4
	case len(s.open) > 0:
		return 3
	case s.status > 1:
		return 2
	}
	return s.status
}

// add counts all shares as if one machine had done them, and returns how the
// worst of them ended. Each test must have been tried in one machine, neither
// more nor fewer.
func (t *tally) add(shares []share) (status int, err error) {
	worst := slices.MaxFunc(shares, func(a, b share) int { return a.harm() - b.harm() })
	status, err, t.open, t.sandbox, t.v1 = worst.status, worst.err, worst.open, worst.sandbox, worst.v1
	t.total = worst.total // each tells all
	var failures, skips []failure
	tried := map[string]bool{}
	for _, s := range shares {
		t.passed += s.passed
		t.failed += s.failed
		t.skipped += s.skipped
		failures, skips = append(failures, s.failures...), append(skips, s.skips...)
		t.counted = append(t.counted, s.counted...)
		for _, name := range s.counted {
			if tried[name] {
				err = cmp.Or(err, broke(fmt.Errorf("%s was tried twice: its first act must be tryHere", name)))
			}
			tried[name] = true
		}
	}
	for _, s := range shares {
		for _, name := range s.others {
			if worst.harm() < 2 && !tried[name] && t.live == nil { // else a machine may not have come so far
				err = cmp.Or(err, broke(fmt.Errorf("%s was tried in no machine", name)))
			}
		}
	}
	byPlace := func(a, b failure) int { return a.place - b.place }
	slices.SortStableFunc(failures, byPlace)
	slices.SortStableFunc(skips, byPlace)
	t.failures, t.skips = append(t.failures, failures...), append(t.skips, skips...)
	return status, err
}

// testStep tries the facts of one step, of our program or of PROGRAM.
func testStep(args []string) error {
	if len(args) != 1 {
		return usage("usage: make test-step N, with N one of %s", stepNumbers())
	}
	n, err := knownStep(args[0])
	if err != nil {
		return err
	}
	m := book(machines())
	defer m.close()
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	t := &tally{progress: progress, facts: true}
	pattern := fmt.Sprintf("^TestStep%02d$", n)
	if text := os.Getenv("RUN"); text != "" {
		pattern += "/" + regexp.QuoteMeta(strings.ReplaceAll(text, " ", "_"))
	}
	status, err := runTests(m, b, pattern, t)
	clearProgress()
	t.show(os.Stdout, os.Getenv("V") == "1")
	if os.Getenv("V") == "1" {
		t.showSkips(os.Stdout)
	}
	line, err := t.verdict(n, status, err)
	if err == nil {
		fmt.Println(line)
	}
	if err == nil && os.Getenv("MUST_RUN") == "1" && os.Getenv("RUN") == "" {
		err = t.checkSkips(fmt.Sprintf("TestStep%02d/", n))
	}
	return err
}

// machines is how many may share the tests at most. A few facts are not worth a
// second one, and the raw output of several would be a tangle.
func machines() int {
	if os.Getenv("RUN") != "" || os.Getenv("V") == "1" {
		return 1
	}
	return 4
}

// stepNumbers are the steps that there are.
func stepNumbers() string {
	steps, _ := filepath.Glob("steps/0*")
	var numbers []string
	for _, dir := range steps {
		numbers = append(numbers, strings.TrimLeft(strings.SplitN(filepath.Base(dir), "-", 2)[0], "0"))
	}
	return strings.Join(numbers, ", ")
}

// howMany counts in words that agree with the number.
func howMany(n int, one, more string) string {
	if n == 1 {
		more = one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// last is the fact that was being tried when the tests ended before their time.
func (t *tally) last() string { return claim(t.open[len(t.open)-1]) }

// judged is whose program it is: a learner may be told of ours that it holds.
func judged(n int) string {
	if program := os.Getenv("PROGRAM"); program != "" {
		return program
	}
	ours, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*", n))
	return strings.Join(ours, " ")
}

// elsewhere counts, in words that go on with a line, the facts that were skipped.
func (t *tally) elsewhere() string {
	if t.skipped == 0 {
		return ""
	}
	return fmt.Sprintf(", %d could not be tried here (V=1 says why)", t.skipped)
}

// noContract is what to say of a program that may not be made for these facts.
func (t *tally) noContract() string {
	if t.passed == 0 && os.Getenv("RUN") == "" && os.Getenv("PROGRAM") != "" {
		return ", so it may not keep harness/CONTRACT.md: PROGRAM run CMD"
	}
	return ""
}

// verdict says in one line that a step's facts hold, or returns whose fault it
// is that they do not.
func (t *tally) verdict(n, status int, err error) (line string, _ error) {
	var died machineError
	switch count := t.passed + t.failed + t.skipped; {
	case errors.As(err, &died) && len(t.open) > 0:
		first, console, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintln(os.Stderr, console)
		return "", wrong(fmt.Errorf("it took the test machine down in %q: %s", t.last(), first))
	case err != nil:
		return "", err
	case t.failed == 0 && status > 128 && len(t.open) > 0:
		return "", wrong(fmt.Errorf("it killed its judge, the tests, in %q", t.last()))
	case t.failed == 0 && status != 0:
		return "", broke(fmt.Errorf("the tests ended with status %d and no failure", status))
	case count == 0:
		return "", usage("no fact of step %02d has %q in its name", n, os.Getenv("RUN"))
	case t.failed == 0 && t.passed == 0:
		return "", cannot(fmt.Errorf("step %02d cannot be tried here: %s", n, strings.Join(t.skips[0].lines, " ")))
	case t.failed == 0:
		next, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*", n+1))
		line = judged(n) + ": " + fmt.Sprintf(howMany(t.passed, "fact of step %02d holds", "facts of step %02d hold"), n)
		line += t.elsewhere()
		if text := os.Getenv("RUN"); text != "" {
			return fmt.Sprintf("%s (of %d: RUN=%s)", line, t.total, text), nil
		}
		if n >= 4 && t.v1 && t.sandbox != "user" { // there are cgroups from step 04 on
			line += ". Not tried here: cgroup v2, which most machines have (SANDBOX=vm CGROUP=v2)"
		}
		if len(next) == 1 {
			line += ". Next: " + next[0]
		}
		return line, nil
	default:
		failed := len(slices.DeleteFunc(slices.Clone(t.failures), failure.broken))
		if failed > 0 {
			return "", wrong(fmt.Errorf("%s: %d of %d facts of step %02d fail%s%s", judged(n), failed, count, n, t.elsewhere(), t.noContract()))
		}
		return "", broke(fmt.Errorf("%s: %s", howMany(t.failed, "fact could not be tried", "facts could not be tried"), t.failures[0].lines[0]))
	}
}

// testAll runs the tests that touch no machine here and the others in the
// sandbox, and counts both.
func testAll([]string) error {
	m := book(machines())
	defer m.close()
	b, err := build(spec().Arch)
	if err == nil {
		err = b.buildFinal(spec().Arch)
	}
	if err != nil {
		return err
	}
	if err := b.buildLessons(); err != nil {
		return err
	}
	t := &tally{progress: progress}
	if os.Getenv("V") == "1" {
		t.raw = os.Stdout
	}
	fmt.Fprintln(os.Stderr, "unit tests: go test ./harness/...")
	cmd := exec.Command("go", "test", "-v", "-count=1", "./harness/...") // not a learner's work/
	out, err := cmd.StdoutPipe()
	if err != nil {
		return broke(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return broke(err)
	}
	t.read(out)
	unit := cmd.Wait()
	status, err := runTests(m, b, "", t)
	if err == nil {
		var final int
		final, err = runFinal(m, b, t)
		status = max(status, final)
	}
	clearProgress()
	t.show(os.Stdout, true)
	t.showSkips(os.Stdout)
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	switch {
	case err != nil:
		return err
	case t.failed == 0 && (status != 0 || unit != nil):
		return broke(errors.New("tests that do not compile, or end without a verdict: see above"))
	case t.failed > 0:
		return wrong(errors.New(howMany(t.failed, "test fails", "tests fail")))
	case os.Getenv("MUST_RUN") == "1":
		return t.checkSkips("")
	}
	return nil
}

// checkSkips compares the tests that were skipped with those that skips.txt
// lists for the sandbox, of all whose name starts with prefix: neither more nor
// fewer. A line that lists several, as TestStep04/*, must have one at least.
func (t *tally) checkSkips(prefix string) error {
	list, err := os.ReadFile("harness/checks/skips.txt")
	if err != nil {
		return broke(err)
	}
	var want, missing, unlisted []string
	sandboxes := []string{t.sandbox, t.sandbox + "/" + cmp.Or(spec().Arch, runtime.GOARCH)}
	for line := range strings.Lines(string(list)) {
		if fields := strings.SplitN(line, " | ", 3); slices.Contains(sandboxes, fields[0]) && strings.HasPrefix(fields[1], prefix) {
			want = append(want, fields[1])
		}
	}
	matches := func(pattern, name string) bool { ok, _ := path.Match(pattern, name); return ok }
	for _, pattern := range want {
		if !slices.ContainsFunc(t.skips, func(s failure) bool { return matches(pattern, s.name) }) {
			missing = append(missing, pattern)
		}
	}
	for _, s := range t.skips {
		if !slices.ContainsFunc(want, func(pattern string) bool { return matches(pattern, s.name) }) {
			unlisted = append(unlisted, s.name)
		}
	}
	if len(missing)+len(unlisted) > 0 {
		return wrong(fmt.Errorf("MUST_RUN=1, and in %s were skipped %q, which skips.txt does not list, and not %q, which it lists", t.sandbox, unlisted, missing))
	}
	return nil
}

// progress shows on a terminal how far a run is; elsewhere lines would pile up.
func progress(done, of int, now string) {
	if !onTerminal() {
		return
	}
	clearWhenInterrupted()
	count := fmt.Sprint(done)
	if of > 0 {
		count = fmt.Sprintf("%d/%d", min(done, of), of)
	}
	line := fmt.Sprintf("%s %s", count, claim(now))
	fmt.Fprintf(os.Stderr, "\r\x1b[K%.78s", line)
}

// clearProgress removes the line that progress left.
func clearProgress() {
	if onTerminal() {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// clearWhenInterrupted lets a Ctrl-C end this process as ever, but for the line,
// which the next prompt would be glued to.
var clearWhenInterrupted = sync.OnceFunc(func() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		clearProgress()
		os.Exit(130)
	}()
})

// onTerminal tells whether stderr is one.
func onTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
