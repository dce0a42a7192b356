package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goTestOutput = `sandbox host
facts 3
=== RUN   TestStep03
=== RUN   TestStep03/it_holds
=== RUN   TestStep03/it_fails
    checks_test.go:9: 
        I ran      03-mount run true
        expected   1
=== RUN   TestStep03/it_is_skipped
    checks_test.go:9: no reason
--- FAIL: TestStep03 (0.01s)
    --- PASS: TestStep03/it_holds (0.00s)
    --- FAIL: TestStep03/it_fails (0.00s)
    --- SKIP: TestStep03/it_is_skipped (0.00s)
FAIL
`

func TestTallyCountsWhatEnds(t *testing.T) {
	var counted tally
	counted.read(strings.NewReader(goTestOutput))
	require.Equal(t, []int{1, 1, 1, 3}, []int{counted.passed, counted.failed, counted.skipped, counted.total})
	require.Equal(t, "host", counted.sandbox)
	var out strings.Builder
	counted.show(&out, false)
	require.Equal(t, "--- FAIL: TestStep03/it_fails\n    I ran      03-mount run true\n    expected   1\n", out.String())
}

// TestAQuotedVerdictIsNoVerdict: a test that compares what make test-step prints
// shows it when it differs.
func TestAQuotedVerdictIsNoVerdict(t *testing.T) {
	var counted tally
	counted.read(strings.NewReader("=== RUN   TestBreakIt\n        \t            \t--- FAIL: TestStep05/it_holds\n--- FAIL: TestBreakIt (0.00s)\n"))
	require.Equal(t, 1, counted.failed)
	require.Equal(t, []string{"--- FAIL: TestStep05/it_holds"}, counted.failures[0].lines)
}

// TestWhatIsShownOfManyFailures pins that a verdict fits on a screen, and that
// what could not be tried is not held against the program.
func TestWhatIsShownOfManyFailures(t *testing.T) {
	many := tally{}
	for i := range 9 {
		many.failures = append(many.failures, failure{name: fmt.Sprintf("TestStep03/fact_%d", i), lines: []string{"saw        nothing"}})
	}
	spoilt := `harness: the test machine cannot be put right: + mount a | - mount b, since the fact "fact 0"`
	many.failures[2].lines, many.failures[3].lines = []string{spoilt}, []string{spoilt}
	const few = "--- FAIL: TestStep03/fact_0\n    saw        nothing\n\nand 6 more, each in full with V=1:\n" +
		"    fact 1\n    fact 4\n    fact 5\n    fact 6\n    fact 7\n    …\n\n" +
		"2 facts could not be tried: the test machine cannot be put right, since the fact \"fact 0\"\n"
	var out strings.Builder
	many.show(&out, false)
	require.Equal(t, few, out.String())
	out.Reset()
	many.show(&out, true)
	require.Equal(t, 7, strings.Count(out.String(), "saw        nothing"))
}

// TestVerdicts pins whose fault each ending is: 1 the program's, 2 the
// machine's, 3 the harness's.
func TestVerdicts(t *testing.T) {
	t.Chdir("..")
	started := "=== RUN   TestStep03\n=== RUN   TestStep03/it_holds\n"
	passed := started + "--- PASS: TestStep03 (0s)\n    --- PASS: TestStep03/it_holds (0s)\nPASS\n"
	broken := started + "    a_test.go:1: harness: no room\n--- FAIL: TestStep03 (0s)\n    --- FAIL: TestStep03/it_holds (0s)\n"
	for _, c := range []struct {
		output string
		status int
		err    error
		want   int
		line   string
	}{
		{passed, 0, nil, 0, ""},
		{goTestOutput, 1, nil, 1, "steps/03-mount: 1 of 3 facts of step 03 fail, 1 could not be tried here (V=1 says why)"},
		{started, 0, machineError{errors.New("panic\nconsole")}, 1, `it took the test machine down in "it holds": panic`},
		{started, 137, nil, 1, `it killed its judge, the tests, in "it holds"`},
		{"=== RUN   TestStep03\n--- PASS: TestStep03 (0s)\n", 0, nil, 2, `no fact of step 03 has "" in its name`},
		{"", 0, cannot(errors.New("no place")), 2, "no place"},
		{passed, 1, nil, 3, "the tests ended with status 1 and no failure"},
		{broken, 1, nil, 3, "1 fact could not be tried: harness: no room"},
	} {
		counted := tally{facts: true}
		counted.read(strings.NewReader(c.output))
		_, err := counted.verdict(3, c.status, c.err)
		if c.want == 0 {
			require.NoError(t, err)
			continue
		}
		var o outcome
		require.ErrorAs(t, err, &o)
		require.Equal(t, c.want, o.status)
		require.Equal(t, c.line, o.Error())
	}
}

// TestAVerdictNamesTheOtherVersionOfCgroups where limits were tried by v1 alone.
func TestAVerdictNamesTheOtherVersionOfCgroups(t *testing.T) {
	t.Chdir("..")
	for output, told := range map[string]bool{"sandbox host\n": false, "sandbox host\ncgroups v1\n": true, "sandbox user\ncgroups v1\n": false} {
		counted := tally{facts: true}
		counted.read(strings.NewReader(output + "=== RUN   TestStep04\n=== RUN   TestStep04/it_holds\n    --- PASS: TestStep04/it_holds (0s)\n"))
		var all tally
		_, err := all.add([]share{{tally: counted}, {}})
		require.NoError(t, err)
		for n, want := range map[int]bool{3: false, 4: told} {
			line, err := all.verdict(n, 0, nil)
			require.NoError(t, err)
			require.Equal(t, want, strings.Contains(line, "CGROUP=v2"), line)
		}
	}
}

// TestUnlistedSkipsAreWrong compares with the committed list.
func TestUnlistedSkipsAreWrong(t *testing.T) {
	t.Chdir("..")
	listed, err := os.ReadFile("harness/checks/skips.txt")
	require.NoError(t, err)
	user := tally{sandbox: "user"}
	for line := range strings.Lines(string(listed)) {
		if fields := strings.SplitN(line, " | ", 3); fields[0] == "user" {
			user.skips = append(user.skips, failure{name: strings.ReplaceAll(fields[1], "*", "a_fact")})
		}
	}
	require.NotEmpty(t, user.skips)
	require.NoError(t, user.checkSkips(""))
	require.Error(t, (&tally{sandbox: "user"}).checkSkips(""), "a listed skip that did not happen")
	require.Error(t, (&tally{sandbox: "vm", skips: user.skips}).checkSkips(""), "an unlisted skip")

	arm := tally{sandbox: "vm", skips: []failure{{name: "TestSeccompClosesOtherABIs"}}}
	t.Setenv("ARCH", "amd64")
	require.Error(t, arm.checkSkips(""), "it is listed for arm64")
	t.Setenv("ARCH", "arm64")
	require.NoError(t, arm.checkSkips(""))
}

// TestSharesAddUp deals one run's tests out to two machines.
func TestSharesAddUp(t *testing.T) {
	began := "=== RUN   TestStep03\n=== RUN   TestStep03/one\n=== RUN   TestStep03/two\n=== RUN   TestStep03/three\n"
	elsewhere := func(name string) string {
		return "=== NAME  TestStep03/" + name + "\n    a_test.go:1: elsewhere\n"
	}
	ended := func(one, two, three string) string {
		return "--- FAIL: TestStep03 (0s)\n    --- " + one + ": TestStep03/one (0s)\n    --- " + two + ": TestStep03/two (0s)\n    --- " + three + ": TestStep03/three (0s)\n"
	}
	first := began + elsewhere("two") + ended("FAIL", "SKIP", "FAIL")
	second := began + elsewhere("one") + elsewhere("three") + ended("SKIP", "FAIL", "SKIP")
	add := func(outputs ...string) (tally, error) {
		sum, shares := tally{facts: true}, make([]share, len(outputs))
		for i, output := range outputs {
			shares[i].facts = true
			shares[i].read(strings.NewReader(output))
		}
		_, err := sum.add(shares)
		return sum, err
	}

	sum, err := add(first, second)
	require.NoError(t, err)
	require.Equal(t, []int{0, 3, 0}, []int{sum.passed, sum.failed, sum.skipped})
	var names []string
	for _, f := range sum.failures {
		names = append(names, claim(f.name))
	}
	require.Equal(t, []string{"one", "two", "three"}, names, "the order of one machine")

	_, err = add(first, first)
	require.EqualError(t, err, "TestStep03/one was tried twice: its first act must be tryHere")
	_, err = add(second)
	require.EqualError(t, err, "TestStep03/one was tried in no machine")
	sum, err = add(first, began)
	require.NoError(t, err)
	require.Equal(t, "three", sum.last(), "what the machine that came to no end was at")
}

// TestADemoNeedsATerminal: it says so before it boots a machine, also where
// stdin is a device.
func TestADemoNeedsATerminal(t *testing.T) {
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	os.Stdin = null
	require.ErrorContains(t, playDemo([]string{"4"}), "needs a terminal")
}
