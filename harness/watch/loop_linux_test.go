package watch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"containers-from-scratch/harness/internal/pty"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The loop is tested on a real terminal: this test binary starts itself there,
// with a course whose verdicts stand in the learner's file.

const childDir = "WATCH_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		once, err := Main(fakeCourse(dir), os.Stdin, os.Stdout)
		verdict := "none"
		if once != nil {
			verdict = fmt.Sprint(once.Kind == Holds)
		}
		fmt.Printf("ended: %s %v\n", verdict, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeCourse has two steps. A program says itself what is to come of it:
// "fails CLAIM", "hangs", "holds"; without a program there is none.
func fakeCourse(dir string) Course {
	return Course{
		Dir: dir,
		Step: func(n int) *Step {
			if n < 1 || n > 2 {
				return nil
			}
			return &[]Step{first, second}[n-1]
		},
		Hints: func(claim string) []string { return []string{"nudge " + claim, "where " + claim, "how " + claim} },
		Again: func(command string) string { return command + " SANDBOX=host" },
		Files: func(step int) (map[string]string, error) {
			return map[string]string{"main.go": fmt.Sprint("fails the beginning of ", step)}, nil
		},
		Diff: func(Step) []string { return []string{"-yours", "+ours"} },
		Try: func(ctx context.Context, step int, failedLast string, tell func(News)) Verdict {
			text, err := os.ReadFile(dir + "/main.go")
			word, claim, _ := strings.Cut(string(text), " ")
			tell(News{Claims: []string{"one", "two"}})
			switch {
			case err != nil:
				return Verdict{Kind: NoProgram, Lines: []string{"there is no main.go"}}
			case word == "holds":
				return Verdict{Kind: Holds, Held: []string{"one", "two"}}
			case word == "hangs":
				tell(News{Now: "a fact that takes long", Total: 2})
				<-ctx.Done()
				return Verdict{Kind: Stopped}
			}
			return Verdict{Kind: Fails, Claim: claim, Lines: []string{"because    failed last: " + failedLast}}
		},
	}
}

// A session is the loop on a terminal.
type session struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	ptmx  *os.File
	said  pty.Screen
	ended <-chan struct{} // closed when nobody has the terminal any more
}

// startSession starts the loop on a terminal of so many columns.
func startSession(t *testing.T, columns uint16, program string, env ...string) *session {
	s := &session{t: t, dir: filepath.Join(t.TempDir(), "work")}
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	s.save(program)
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm", childDir + "=" + s.dir}, env...)...)
	var err error
	s.ptmx, s.ended, err = pty.Start(s.cmd, 24, columns, &s.said)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.ptmx.Close() })
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	return s
}

func (s *session) save(text string) {
	require.NoError(s.t, os.WriteFile(s.dir+"/main.go", []byte(text), 0o644))
}

func (s *session) press(keys string) {
	_, err := s.ptmx.WriteString(keys)
	require.NoError(s.t, err)
}

func (s *session) resize(columns uint16) {
	require.NoError(s.t, pty.Resize(s.ptmx, 24, columns))
}

// expect waits until the screen shows text, after what was expected before.
func (s *session) expect(text string) {
	s.t.Helper()
	rest, shown := s.said.Await(text, 10*time.Second)
	require.True(s.t, shown, "not shown: %s\n%q", text, rest)
}

// all is what was ever shown, without what moves the cursor and clears.
func (s *session) all() string {
	return regexp.MustCompile(`\x1b\[[0-9]*[HJK]`).ReplaceAllString(s.said.String(), "\n")
}

// mode is the terminal's.
func (s *session) mode() uint32 {
	mode, err := unix.IoctlGetTermios(int(s.ptmx.Fd()), unix.TCGETS)
	require.NoError(s.t, err)
	return mode.Lflag
}

const keysOf = "q quit"

func TestALessonFromTheBeginningToTheNext(t *testing.T) {
	s := startSession(t, 80, "fails one")
	s.expect("FAILS")
	s.expect("one")
	s.expect("failed last:\r\n")
	s.expect(keysOf)
	require.Zero(t, s.mode()&(unix.ECHO|unix.ICANON))
	s.press("h")
	s.expect("nudge one")
	s.press("h")
	s.expect("where one")
	s.press("l")
	s.expect("FAILS")
	s.press("n")
	s.expect("does not hold yet")
	s.press("\x1b[A") // an arrow
	s.save("fails two")
	s.expect("failed last: one")
	s.expect(keysOf)
	require.NoError(t, os.Remove(s.dir+"/main.go"))
	s.expect("there is no main.go")
	require.NoError(t, os.RemoveAll(s.dir))
	s.press("r")
	s.expect("there is no main.go")
	s.expect(keysOf)
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	s.save("hangs")
	s.expect("a fact that takes long")
	s.save("holds")
	s.expect("+ours")
	s.expect("step 01 holds")
	s.expect("n next")
	require.Equal(t, 1, Load(s.dir).Step, "it goes on unasked")
	s.press("n")
	s.expect("step 02-pid")
	s.expect("step 02 holds")
	s.expect("the last step to write")
	require.Equal(t, 2, Load(s.dir).Step)
	s.press("xn")
	s.expect("Nothing is changed")
	readme := filepath.Join(s.dir, "README.md")
	require.NoError(t, os.WriteFile(readme, nil, 0o644))
	s.press("xy")
	s.expect("x leaves it alone")
	require.FileExists(t, readme)
	require.NoError(t, os.Remove(readme))
	s.press("xy")
	s.expect(".backup/")
	s.expect("the beginning of 2")
	s.press("q")
	s.expect("ended: none <nil>")
	<-s.ended
}

func TestItGoesOnWhereItWas(t *testing.T) {
	s := startSession(t, 80, "fails two")
	s.expect("FAILS")
	s.press("h")
	s.expect("nudge two")
	s.press("q")
	<-s.ended
	require.Equal(t, Progress{Step: 1, Failed: "two", Hints: map[string]int{"two": 1}}, Load(s.dir))
}

// TestSignalsEndIt: the terminal is as it was, also after Ctrl-C in the middle of
// a run.
func TestSignalsEndIt(t *testing.T) {
	for name, end := range map[string]func(*session){
		"Ctrl-C": func(s *session) { s.press("\x03") },
		"TERM":   func(s *session) { _ = s.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startSession(t, 80, "hangs")
			before := s.mode() | unix.ECHO | unix.ICANON
			s.expect("a fact that takes long")
			end(s)
			s.expect("ended:")
			require.Equal(t, before, s.mode())
			<-s.ended
		})
	}
}

func TestNarrowAndWithoutColour(t *testing.T) {
	s := startSession(t, 60, "fails a claim that is quite a bit longer than the sixty columns there are", "NO_COLOR=1")
	s.expect(keysOf)
	s.press("hl")
	s.expect("nudge")
	s.expect("The facts of step 01")
	s.save("hangs")
	s.expect("a fact that takes long")
	s.press("q")
	s.expect("ended:")
	<-s.ended
	require.NotRegexp(t, `\x1b\[[0-9;]*m`, s.all())
	for _, line := range regexp.MustCompile(`[\r\n]+`).Split(s.all(), -1) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 60, line)
	}
}

func TestASizeThatChanges(t *testing.T) {
	s := startSession(t, 100, "fails one two three four five six seven eight nine ten eleven twelve thirteen fourteen")
	s.expect("thirteen fourteen\r\n")
	s.expect(keysOf)
	s.resize(40)
	s.expect("h hint  l list  r run  x reset  q quit"[:38])
	s.press("r")
	s.expect("seven\r\n       eight")
	s.press("q")
	<-s.ended
}

// TestWithoutATerminalItRunsOnce: in a pipe, and on a terminal that can do
// nothing.
func TestWithoutATerminalItRunsOnce(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("fails one"), 0o644))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TERM=xterm", childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "FAILS  one")
	require.Contains(t, string(out), "ended: false <nil>")
	require.NotContains(t, string(out), "\x1b")

	s := startSession(t, 80, "holds", "TERM=dumb")
	s.expect("make watch 2 SANDBOX=host")
	s.expect("ended: true <nil>")
	<-s.ended
	require.NotContains(t, s.all(), "\x1b")
}
