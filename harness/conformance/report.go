package conformance

import (
	"fmt"
	"io"
)

// A Score is how many tests came to which verdict.
type Score struct {
	Pass, Quiet, Fail int
	Worse             int // of Fail, those that were expected to pass
}

// Tests is how many there were.
func (s Score) Tests() int { return s.Pass + s.Quiet + s.Fail }

// String is the score as the notes have it: 38 PASS + 4 QUIET = 42 of 58.
func (s Score) String() string {
	return fmt.Sprintf("%d PASS + %d QUIET = %d of %d", s.Pass, s.Quiet, s.Pass+s.Quiet, s.Tests())
}

// Report writes a line for each run that is not as expected, or for every one,
// and returns the score. The caller writes that.
func Report(w io.Writer, runs []Run, m Machine, expected Expectations, every bool) (score Score) {
	row := func(word string, r Run, text string) {
		fmt.Fprintf(w, "  %-7s %-30s %s\n", word, r.Test, text)
	}
	for _, r := range runs {
		verdict, why := r.Judge()
		passes, racy, reason := expected.of(r.Test, m)
		switch verdict {
		case Pass:
			score.Pass++
		case Quiet:
			score.Quiet++
		case Fail:
			score.Fail++
		}
		switch {
		case verdict.Passed() && !passes:
			row("better", r, fmt.Sprintf("%s, though expected.txt says: %s", verdict, reason))
		case !verdict.Passed() && passes && !racy:
			score.Worse++
			row("worse", r, "FAIL: "+why)
		case !verdict.Passed() && every:
			row("known", r, "FAIL: "+reason)
		case every:
			row("", r, fmt.Sprintf("%s in %.1fs", verdict, r.Seconds))
		}
	}
	return score
}
