package conformance

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Machine is what of a sandbox decides whether a test can pass.
type Machine struct {
	Cgroup string   // "v2", "v1", "hybrid" or "none"
	Lacks  []string // controllers and capabilities that are not there: "hugetlb", "CAP_SYS_RESOURCE"
}

// An expectation is a line of expected.txt: where a test does not pass, and
// why. A test without a line passes everywhere.
type expectation struct {
	test   string
	when   string // always, sometimes, v1, v2, hybrid, or no:WHAT the machine lacks
	reason string
}

// Expectations are the lines of expected.txt.
type Expectations []expectation

// ReadExpected reads expected.txt. Every test that it names must be in tests: a
// line for a test that is gone would never be missed.
func ReadExpected(r io.Reader, tests []string) (list Expectations, err error) {
	n := 0
	for lines := bufio.NewScanner(r); lines.Scan(); {
		n++
		text := lines.Text()
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		f := strings.Fields(text)
		if len(f) < 3 {
			return nil, fmt.Errorf("line %d: %q is not TEST WHEN REASON", n, text)
		}
		e := expectation{test: f[0], when: f[1], reason: strings.Join(f[2:], " ")}
		if !slices.Contains(tests, e.test) {
			return nil, fmt.Errorf("line %d: the suite has no test %q", n, e.test)
		}
		what, lacks := strings.CutPrefix(e.when, "no:")
		if lacks && what == "" || !lacks && !slices.Contains([]string{"always", "sometimes", "v1", "v2", "hybrid"}, e.when) {
			return nil, fmt.Errorf("line %d: %q is no condition", n, e.when)
		}
		list = append(list, e)
	}
	return list, nil
}

// holds tells whether the line says something about machine m.
func (e expectation) holds(m Machine) bool {
	if what, ok := strings.CutPrefix(e.when, "no:"); ok {
		return slices.Contains(m.Lacks, what)
	}
	return e.when == "always" || e.when == "sometimes" || e.when == m.Cgroup
}

// of returns what is expected of a test on a machine: that it passes, that it
// fails, or, when racy is true, either. The reason is that of the first line
// which says so; one for which it fails always outweighs a race.
func (list Expectations) of(test string, m Machine) (passes, racy bool, reason string) {
	passes = true
	for _, e := range list {
		switch {
		case e.test != test || !e.holds(m):
		case e.when == "sometimes" && passes:
			racy, reason = true, e.reason
		case e.when != "sometimes" && passes:
			passes, racy, reason = false, false, e.reason
		}
	}
	return passes, racy, reason
}
