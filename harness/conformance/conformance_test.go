package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/internal/golden"
)

// said are outputs as tests of the suite give them, shortened.
var said = []Run{
	{Test: "all_ok", Stdout: "TAP version 13\nok 1 - is there\nok 2 # SKIP not set\n1..2\n"},
	{Test: "one_not_ok", Stdout: "TAP version 13\nok 1 - is there\nnot ok 2 - has its mode\n1..2\n"},
	{Test: "not_ok_inside", Stdout: "TAP version 13\n  not ok 1 - indented, of runtimetest\nok 1 - outer\n1..1\n"},
	// What runtimetest said is quoted in a diagnostic, on one line, and counts
	// by the verdict that follows it.
	{Test: "not_ok_quoted", Stdout: "TAP version 13\n  ---\n  {\n    \"stdout\": \"TAP version 13\\nnot ok 1\\n\"\n  }\n  ...\nok 1\n1..1\n"},
	{Test: "quiet_plan", Stdout: "TAP version 13\n1..0\n"},
	{Test: "quiet_nothing"},
	{Test: "quiet_error", Stdout: "TAP version 13\n  ---\n  {\n    \"error\": \"the hook did not run\"\n  }\n  ...\n1..0\n"},
	// Tests attach the error they wanted to see.
	{Test: "ok_with_error", Stdout: "TAP version 13\nok 1 - refuses\n  ---\n  {\n    \"error\": \"exit status 1\"\n  }\n  ...\n1..1\n"},
	{Test: "status", Status: 1, Stdout: "ok 1 - is there\n", Stderr: "failed to create the container\nexit status 1\n"},
	{Test: "status_only", Status: 7},
	{Test: "panic", Status: 2, Stderr: "panic: index out of range [1]\n\ngoroutine 1 [running]:\nmain.main()\n"},
	{Test: "hangs", Status: 137, Timeout: time.Minute, Stdout: "ok 1 - so far\n"},
}

func TestJudge(t *testing.T) {
	want := map[string][2]string{
		"all_ok":        {"PASS"},
		"one_not_ok":    {"FAIL", "not ok 2 - has its mode"},
		"not_ok_inside": {"FAIL", "not ok 1 - indented, of runtimetest"},
		"not_ok_quoted": {"PASS"},
		"quiet_plan":    {"QUIET"},
		"quiet_nothing": {"QUIET"},
		"quiet_error":   {"FAIL", `"error": "the hook did not run"`},
		"ok_with_error": {"PASS"},
		"status":        {"FAIL", "exit status 1"},
		"status_only":   {"FAIL", "ended with status 7"},
		"panic":         {"FAIL", "panic: index out of range [1]"},
		"hangs":         {"FAIL", "did not end within 1m0s"},
	}
	for _, r := range said {
		t.Run(r.Test, func(t *testing.T) {
			v, why := r.Judge()
			require.Equal(t, want[r.Test], [2]string{string(v), why})
		})
	}
}

// list is an expected.txt for the tests in said.
const list = `# a comment

quiet_error    always             the suite is wrong
status         v2                 nothing reads v2
status         no:hugetlb         the machine has none
all_ok         always             was so once
hangs          sometimes          a race
quiet_nothing  sometimes          a race, too
panic          sometimes          a race where it can pass
panic          v1                 cannot pass
`

func TestExpected(t *testing.T) {
	list := read(t, list)
	for _, c := range []struct {
		test         string
		m            Machine
		passes, racy bool
		reason       string
	}{
		{"one_not_ok", Machine{Cgroup: "v2"}, true, false, ""},
		{"quiet_error", Machine{Cgroup: "v2"}, false, false, "the suite is wrong"},
		{"status", Machine{Cgroup: "v2"}, false, false, "nothing reads v2"},
		{"status", Machine{Cgroup: "v1"}, true, false, ""},
		{"status", Machine{Cgroup: "hybrid", Lacks: []string{"pids", "hugetlb"}}, false, false, "the machine has none"},
		{"hangs", Machine{Cgroup: "v1"}, true, true, "a race"},
		{"panic", Machine{Cgroup: "v1"}, false, false, "cannot pass"},
		{"panic", Machine{Cgroup: "v2"}, true, true, "a race where it can pass"},
	} {
		t.Run(c.test+" "+c.m.Cgroup, func(t *testing.T) {
			passes, racy, reason := list.of(c.test, c.m)
			require.Equal(t, c.passes, passes)
			require.Equal(t, c.racy, racy)
			require.Equal(t, c.reason, reason)
		})
	}
}

func TestExpectedRefuses(t *testing.T) {
	for line, says := range map[string]string{
		"gone always a reason": `line 1: the suite has no test "gone"`,
		"all_ok always":        `line 1: "all_ok always" is not TEST WHEN REASON`,
		"all_ok v3 a reason":   `line 1: "v3" is no condition`,
		"all_ok no: a reason":  `line 1: "no:" is no condition`,
	} {
		_, err := ReadExpected(strings.NewReader(line), names())
		require.EqualError(t, err, says)
	}
}

// TestReport compares reports of what said holds with a golden file.
func TestReport(t *testing.T) {
	var got bytes.Buffer
	for _, m := range []Machine{{Cgroup: "v1"}, {Cgroup: "v2", Lacks: []string{"CAP_SYS_RESOURCE"}}} {
		for _, every := range []bool{false, true} {
			fmt.Fprintf(&got, "%s, every %v\n", m.Cgroup, every)
			score := Report(&got, said, m, read(t, list), every)
			fmt.Fprintf(&got, "%v, %d worse\n", score, score.Worse)
			require.Equal(t, len(said), score.Tests())
		}
	}
	golden.Compare(t, "testdata/report.golden", got.String())
}

// TestExpectedFile reads the committed list; the suite's tests stand in its
// go.mod.
func TestExpectedFile(t *testing.T) {
	mod, err := os.ReadFile("suite/go.mod")
	require.NoError(t, err)
	var tests []string
	for line := range strings.Lines(string(mod)) {
		if dir, test := filepath.Split(strings.TrimSpace(line)); strings.HasSuffix(dir, "/validation/") {
			tests = append(tests, test)
		}
	}
	require.Len(t, tests, 58)
	file, err := os.Open("expected.txt")
	require.NoError(t, err)
	defer file.Close()
	_, err = ReadExpected(file, tests)
	require.NoError(t, err)
}

// names are the tests in said.
func names() (list []string) {
	for _, r := range said {
		list = append(list, r.Test)
	}
	return list
}

// read reads a list for the tests in said.
func read(t *testing.T, text string) Expectations {
	t.Helper()
	list, err := ReadExpected(strings.NewReader(text), names())
	require.NoError(t, err)
	return list
}
