package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A tally follows the output of `go test -v` and counts what ends there.
type tally struct {
	passed, failed, skipped int

	failures []failure
	skips    []failure           // name and reason
	open     []string            // tests that have started and not ended
	output   map[string][]string // what each test said
	parents  map[string]bool     // tests that have subtests
	current  string
	started  int
	facts    bool // only subtests count: they are the facts
	sandbox  string
	total    int                            // facts that are to come, as the tests announce
	progress func(done, of int, now string) // called when a test starts
	raw      io.Writer                      // takes every line, nil for none
}

// A failure is a test that failed, with what it said.
type failure struct {
	name  string
	lines []string
}

var event = regexp.MustCompile(`^\s*(=== RUN|=== CONT|=== NAME|--- PASS:|--- FAIL:|--- SKIP:)\s+(\S+)`)

// read takes the output to its end.
func (t *tally) read(r io.Reader) {
	t.output, t.parents = map[string][]string{}, map[string]bool{}
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
				if t.progress != nil && !onTerminal() {
					fmt.Fprintf(os.Stderr, "trying %s facts\n", n)
				}
			} else if kind, ok := strings.CutPrefix(line, "sandbox "); ok {
				t.sandbox = kind
			} else {
				t.output[t.current] = append(t.output[t.current], line)
			}
		case strings.HasPrefix(m[1], "==="):
			t.current = m[2]
			if m[1] == "=== RUN" {
				t.open = append(t.open, m[2])
				if i := strings.LastIndexByte(m[2], '/'); i > 0 {
					t.parents[m[2][:i]] = true
				}
				t.started++
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
	switch {
	case t.facts && !strings.Contains(name, "/") && len(said) == 0: // it only holds the facts
	case t.parents[name] && (how != "--- FAIL:" || len(said) == 0):
	case how == "--- PASS:":
		t.passed++
	case how == "--- FAIL:":
		t.failed++
		t.failures = append(t.failures, failure{name, said})
	default:
		t.skipped++
		t.skips = append(t.skips, failure{name, said})
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

// show prints failures: all in full, or the first one and the names of the
// others.
func (t *tally) show(w io.Writer, all bool) {
	for i, f := range t.failures {
		if i == 1 && !all {
			fmt.Fprintf(w, "\nand %d more, each in full with V=1:\n", len(t.failures)-1)
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
}

// claim turns TestStep03/it_sees_no_process back into the sentence.
func claim(name string) string {
	_, fact, _ := strings.Cut(name, "/")
	return strings.ReplaceAll(fact, "_", " ")
}

// broken tells whether a failure is the harness's own.
func (f failure) broken() bool {
	return len(f.lines) > 0 && strings.HasPrefix(f.lines[0], "harness:")
}

// runTests runs the tests that match pattern in the sandbox.
func runTests(m *booking, b built, pattern string, t *tally) (status int, err error) {
	job := b.job()
	job.Args = []string{"/box/checks.test", "-test.v", "-test.timeout=20m", "-test.run=" + pattern}
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() { t.read(read); close(done) }()
	job.Stdout, job.Stderr = write, os.Stderr
	job.Timeout = 25 * time.Minute // the tests' own comes first, and names the test
	status, err = m.run(job)
	write.Close()
	<-done
	return status, err
}

// testStep tries the facts of one step, of our program or of PROGRAM.
func testStep(args []string) error {
	if len(args) != 1 {
		return usage("usage: make test-step N, with N one of %s", stepNumbers())
	}
	number, _, _ := strings.Cut(args[0], "-") // "3", "03" or "03-mount"
	n, err := strconv.Atoi(number)
	steps, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*", n))
	if err != nil || len(steps) != 1 {
		return usage("there is no step %s: N is one of %s", args[0], stepNumbers())
	}
	m := book()
	defer m.close()
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	t := &tally{progress: progress, facts: true}
	if os.Getenv("V") == "1" {
		t.raw = os.Stdout
	}
	pattern := fmt.Sprintf("^TestStep%02d$", n)
	if text := os.Getenv("RUN"); text != "" {
		pattern += "/" + regexp.QuoteMeta(strings.ReplaceAll(text, " ", "_"))
	}
	status, err := runTests(m, b, pattern, t)
	clearProgress()
	t.show(os.Stdout, os.Getenv("V") == "1")
	err = t.verdict(n, status, err)
	if err == nil && os.Getenv("MUST_RUN") == "1" && os.Getenv("RUN") == "" {
		err = t.checkSkips(fmt.Sprintf("TestStep%02d/", n))
	}
	return err
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

// verdict says in one line how a step's test ended, and whose fault it is.
func (t *tally) verdict(n, status int, err error) error {
	var died machineError
	switch count := t.passed + t.failed + t.skipped; {
	case errors.As(err, &died) && len(t.open) > 0:
		first, console, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintln(os.Stderr, console)
		return wrong(fmt.Errorf("it took the test machine down in %q: %s", t.last(), first))
	case err != nil:
		return err
	case t.failed == 0 && status > 128 && len(t.open) > 0:
		return wrong(fmt.Errorf("it killed its judge, the tests, in %q", t.last()))
	case t.failed == 0 && status != 0:
		return broke(fmt.Errorf("the tests ended with status %d and no failure", status))
	case count == 0:
		return usage("no fact of step %02d has %q in its name", n, os.Getenv("RUN"))
	case t.failed == 0:
		next, _ := filepath.Glob(fmt.Sprintf("steps/%02d-*", n+1))
		line := fmt.Sprintf("step %02d: %s", n, howMany(t.passed, "fact holds", "facts hold"))
		if t.skipped > 0 {
			line += fmt.Sprintf(", %d could not be tried here", t.skipped)
		}
		if len(next) == 1 {
			line += ". Next: " + next[0]
		}
		fmt.Println(line)
		return nil
	default:
		for _, f := range t.failures {
			if !f.broken() {
				return wrong(fmt.Errorf("%d of %d facts of step %02d fail", t.failed, count, n))
			}
		}
		return broke(fmt.Errorf("%s: %s", howMany(t.failed, "fact could not be tried", "facts could not be tried"), t.failures[0].lines[0]))
	}
}

// testAll runs the tests that touch no machine here and the others in the
// sandbox, and counts both.
func testAll([]string) error {
	m := book()
	defer m.close()
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	t := &tally{progress: progress}
	if os.Getenv("V") == "1" {
		t.raw = os.Stdout
	}
	fmt.Fprintln(os.Stderr, "unit tests: go test ./...")
	cmd := exec.Command("go", "test", "-v", "-count=1", "./...")
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
	clearProgress()
	t.show(os.Stdout, true)
	for _, s := range t.skips {
		fmt.Printf("--- SKIP: %s: %s\n", s.name, strings.Join(s.lines, " "))
	}
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
	for line := range strings.Lines(string(list)) {
		if fields := strings.SplitN(line, " | ", 3); fields[0] == t.sandbox && strings.HasPrefix(fields[1], prefix) {
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

// onTerminal tells whether stderr is one.
func onTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
