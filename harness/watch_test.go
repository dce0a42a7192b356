package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"containers-from-scratch/harness/sandbox"
	"containers-from-scratch/harness/watch"

	"github.com/stretchr/testify/require"
)

// TestWhatAStepBeginsWithCompiles: so the first failure is a fact's.
func TestWhatAStepBeginsWithCompiles(t *testing.T) {
	t.Chdir("..")
	for n := 1; lesson(n) != nil; n++ {
		files, err := beginning(n)
		require.NoError(t, err)
		dir := t.TempDir()
		args := []string{"build", "-o", filepath.Join(dir, "program")}
		for name, content := range files {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
			if name != "main_other.go" {
				args = append(args, path)
			}
		}
		require.Contains(t, files, "main.go")
		said, err := goTool("", args...)
		require.NoError(t, err, "step %d: %s", n, said)
	}
}

// TestStartKeepsWhatIsThere: make start, as make calls it, in a repository of
// its own.
func TestStartKeepsWhatIsThere(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	for _, name := range []string{"steps", "harness"} {
		require.NoError(t, os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)))
	}
	t.Chdir(dir)
	t.Setenv("PROGRAM", "")
	require.NoError(t, start(nil))
	require.Equal(t, 1, watch.Load("work").Step)
	main, err := os.ReadFile("work/main.go")
	require.NoError(t, err)
	require.Contains(t, string(main), "Step 00")
	require.NoError(t, os.WriteFile("work/main.go", []byte("mine"), 0o644))
	require.NoError(t, start([]string{"4"}))
	require.Equal(t, 4, watch.Load("work").Step)
	require.FileExists(t, "work/mount.go")
	kept, err := filepath.Glob("work/.backup/*/main.go")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	mine, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	require.Equal(t, "mine", string(mine))
	for _, wrong := range [][]string{{"9"}, {"x"}, {"1", "2"}} {
		require.ErrorAs(t, start(wrong), new(usageError))
	}
	t.Setenv("PROGRAM", "elsewhere")
	require.ErrorContains(t, start(nil), "into no PROGRAM=elsewhere")
	t.Setenv("PROGRAM", "./work")
	require.NoError(t, start([]string{"4"}))
}

// TestAgain: what is printed to be pasted names the machine that was asked for.
func TestAgain(t *testing.T) {
	for _, name := range []string{"CGROUP", "KERNEL", "ACCEL", "ARCH"} {
		t.Setenv(name, "")
	}
	t.Setenv("SANDBOX", "")
	require.Equal(t, "make watch", again("make watch"))
	t.Setenv("SANDBOX", "host")
	require.Equal(t, "make watch SANDBOX=host", again("make watch"))
}

// TestWatchVerdicts: whose fault each ending is, for who watches.
func TestWatchVerdicts(t *testing.T) {
	t.Chdir("..")
	started := "fact it holds\nfact it fails\n=== RUN   TestStep03\n=== RUN   TestStep03/it_holds\n"
	passed := started + "--- PASS: TestStep03 (0s)\n    --- PASS: TestStep03/it_holds (0s)\nPASS\n"
	for _, c := range []struct {
		output string
		status int
		err    error
		want   watch.Kind
		claim  string
		line   string
	}{
		{passed, 0, nil, watch.Holds, "", "steps/03-mount: 1 fact of step 03 holds"},
		{goTestOutput, 1, nil, watch.Fails, "it fails", "I ran      03-mount run true"},
		{started, 0, machineError{errors.New("panic\nconsole")}, watch.Fails, "it holds", "test machine down: panic"},
		{started, 137, nil, watch.Fails, "it holds", "killed its judge"},
		{started + "    a_test.go:1: harness: no room\n--- FAIL: TestStep03 (0s)\n    --- FAIL: TestStep03/it_holds (0s)\n", 1, nil, watch.NoVerdict, "", "harness: no room"},
		{passed, 1, nil, watch.NoVerdict, "", "status 1 and no failure"},
		{"", 0, cannot(errors.New("no place")), watch.NoVerdict, "", "no place"},
	} {
		counted := tally{facts: true, live: newLive(context.Background(), "", "host", new(bytes.Buffer))}
		counted.read(strings.NewReader(c.output))
		v := counted.watchVerdict(3, c.status, c.err, "what else was said")
		require.Equal(t, c.want, v.Kind, c.output)
		require.Equal(t, c.claim, v.Claim)
		require.Contains(t, v.Lines[0], c.line)
		if c.output == passed {
			require.Equal(t, []string{"it holds", "it fails"}, counted.live.claims)
			require.Equal(t, []string{"it holds"}, v.Held)
		}
	}
}

// TestAProgramThatIsNone: what the learner reads then.
func TestAProgramThatIsNone(t *testing.T) {
	dir := t.TempDir()
	said := func(err error) string {
		v := (&watcher{dir: dir}).noProgram(err)
		require.Equal(t, watch.NoProgram, v.Kind)
		return strings.Join(v.Lines, "\n")
	}
	require.NoError(t, os.WriteFile(dir+"/go.mod", []byte("module example.com/work\n\ngo 1.26.0\n"), 0o644))
	t.Chdir(dir)
	_, err := buildProgram(runtime.GOARCH, watched, ".", dir)
	require.Regexp(t, "^[.]( is no Go package: .*no Go files)", said(err))
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("package main\n\nfunc main() { x }\n"), 0o644))
	_, err = buildProgram(runtime.GOARCH, watched, ".", dir)
	require.Equal(t, "./main.go:3:15: undefined: x", said(err))
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("package main\n"), 0o644))
	_, err = buildProgram(runtime.GOARCH, watched, ".", dir)
	require.Equal(t, "no func main in .; x puts back what the step begins with", said(err))
	require.NoError(t, os.RemoveAll(dir))
	require.Contains(t, said(usage("PROGRAM=%s is not there", dir)), "x puts back")
}

// TestAProgramElsewhere: a command's name is no path, and other modules' packages
// are not built here.
func TestAProgramElsewhere(t *testing.T) {
	_, err := buildProgram(runtime.GOARCH, "PROGRAM", "sh", t.TempDir())
	require.Regexp(t, "^PROGRAM is a path: PROGRAM=/.*/sh$", err.Error())
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/go.mod", []byte("module example.com/other\n\ngo 1.26.0\n"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("package main\n\nfunc main() {}\n"), 0o644))
	_, err = buildProgram(runtime.GOARCH, "PROGRAM", dir, dir)
	require.ErrorContains(t, err, "outside this module: build it there")
}

// TestALiveJobStops: its stdin ends when it is no longer wanted, or when another
// machine has found a failure.
func TestALiveJobStops(t *testing.T) {
	l := newLive(context.Background(), "a fact", "vm", new(bytes.Buffer))
	var job sandbox.Job
	ended, err := l.share().prepare(&job)
	require.NoError(t, err)
	defer ended()
	require.GreaterOrEqual(t, l.patience, 3*time.Second) // more, where the machine is crowded
	require.Subset(t, job.Env, []string{"WATCH=a fact", "PATIENCE=" + l.patience.String()})
	cmd := exec.Command("cat")
	cmd.Stdin = job.Stdin
	require.NoError(t, cmd.Start())
	l.stop()
	require.NoError(t, cmd.Wait())
}
