// Package conformance runs the OCI's own validation suite for runtimes,
// github.com/opencontainers/runtime-tools, and compares what comes of it with
// what is expected.
//
// The suite is a module of its own, in the directory suite, so that none of
// what it needs is needed by anything else here: its go.mod names the version
// and each test, and `go build tool` there makes an executable of each. Guest
// runs them in a sandbox; the rest is to judge what they said.
package conformance

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A Run is one test of the suite that has been run.
type Run struct {
	Test           string
	Status         int           // of the test's process, 128+n when signal n killed it
	Timeout        time.Duration `json:",omitempty"` // after which it was killed, 0: it ended
	Seconds        float64
	Stdout, Stderr string
}

// A Verdict is what a run comes to.
type Verdict string

const (
	Pass Verdict = "PASS"
	// Quiet is the success of a test that has no words for it. Eight of the suite
	// only ever complain: they print nothing or an empty plan when all is well.
	Quiet Verdict = "QUIET"
	Fail  Verdict = "FAIL"
)

// Passed tells whether the verdict counts.
func (v Verdict) Passed() bool { return v != Fail }

var (
	okLine    = regexp.MustCompile(`(?m)^ok\b.*$`)
	notOkLine = regexp.MustCompile(`(?m)^\s*not ok\b.*$`)
	// A test that gives up puts the reason into a diagnostic, and ends well.
	errorLine = regexp.MustCompile(`(?m)^\s*"error": .*$`)
)

// Judge reads the Test Anything Protocol in what the test said. For a failure
// it also returns the line that tells most about it.
func (r Run) Judge() (v Verdict, why string) {
	switch {
	case r.Timeout > 0:
		return Fail, fmt.Sprintf("did not end within %v", r.Timeout)
	case notOkLine.MatchString(r.Stdout):
		return Fail, line(notOkLine, r.Stdout)
	case r.Status != 0:
		return Fail, r.complaint()
	case okLine.MatchString(r.Stdout):
		return Pass, ""
	case errorLine.MatchString(r.Stdout):
		return Fail, line(errorLine, r.Stdout)
	}
	return Quiet, ""
}

// line is the first line that matches.
func line(re *regexp.Regexp, text string) string {
	return strings.TrimSpace(re.FindString(text))
}

// complaint is the last line on stderr, or the status where there is none. Of a
// panic it is the first, which has the reason.
func (r Run) complaint() string {
	text := strings.TrimSpace(r.Stderr)
	if i := strings.Index(text, "panic: "); i >= 0 {
		text, _, _ = strings.Cut(text[i:], "\n")
		return text
	}
	if text == "" {
		return fmt.Sprintf("ended with status %d", r.Status)
	}
	return text[strings.LastIndex(text, "\n")+1:]
}
