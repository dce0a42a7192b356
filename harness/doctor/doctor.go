// Package doctor says what this machine is, which sandboxes work on it, and
// what mends each one that does not: the page a whole class reads before a
// workshop. It asks for no password, downloads nothing and changes nothing.
package doctor

import (
	"io"
	"sync"

	"containers-from-scratch/harness/sandbox"
)

// A Finding is what the check of one sandbox found.
type Finding struct {
	Place string // as in SANDBOX=
	sandbox.Finding
}

// Main examines this machine and writes the report. It returns 0 when at
// least one sandbox works, and 2, "this machine cannot test it", when none
// does. Everything is asked at once, so that the slowest answer is the wait.
func Main(spec sandbox.Spec, out io.Writer) int {
	var m Machine
	places := sandbox.Places()
	findings := make([]Finding, len(places))
	var all sync.WaitGroup
	all.Go(func() { m = Gather() })
	for i, p := range places {
		all.Go(func() { findings[i] = Finding{p.Name(), p.Check(spec)} })
	}
	all.Wait()
	if _, err := io.WriteString(out, m.Report(findings)); err != nil {
		return 3
	}
	if usable(findings) == "" {
		return 2
	}
	return 0
}

// usable names the first sandbox that works, the one that SANDBOX=auto takes;
// "" is none.
func usable(findings []Finding) string {
	for _, f := range findings {
		if f.OK {
			return f.Place
		}
	}
	return ""
}
