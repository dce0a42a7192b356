package watch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The loop is tested on a real terminal: this test binary starts itself there,
// with a course whose verdicts stand in the learner's file.

const childDir = "WATCH_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		last, err := Main(fakeCourse(dir), os.Stdin, os.Stdout)
		fmt.Printf("ended: %v %v\n", last != nil && last.Kind == Holds, err)
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
	t    *testing.T
	dir  string
	ptmx *os.File
	cmd  *exec.Cmd

	lock  sync.Mutex
	said  string
	read  int           // how much of it expect has passed
	ended chan struct{} // closed when nobody has the terminal any more
}

// startSession starts the loop on a terminal of so many columns.
func startSession(t *testing.T, columns uint16, program string, env ...string) *session {
	s := &session{t: t, dir: filepath.Join(t.TempDir(), "work"), ended: make(chan struct{})}
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	s.save(program)
	var err error
	s.ptmx, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine gives no terminal: ", err)
	}
	t.Cleanup(func() { _ = s.ptmx.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(s.ptmx.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(s.ptmx.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	s.resize(columns)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer tty.Close()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm", childDir + "=" + s.dir}, env...)...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	go func() {
		defer close(s.ended)
		buffer := make([]byte, 4096)
		for {
			n, err := s.ptmx.Read(buffer)
			s.lock.Lock()
			s.said += string(buffer[:n])
			s.lock.Unlock()
			if err != nil { // EIO: nobody has the other end
				return
			}
		}
	}()
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
	require.NoError(s.t, unix.IoctlSetWinsize(int(s.ptmx.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
}

// expect waits until the screen shows text, after what was expected before.
func (s *session) expect(text string) {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		s.lock.Lock()
		at := strings.Index(s.said[s.read:], text)
		if at >= 0 {
			s.read += at + len(text)
		}
		said := s.said[s.read:]
		s.lock.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.Fail(s.t, "not shown: "+text, "%q", said)
		}
	}
}

// all is what was ever shown, without what moves the cursor and clears.
func (s *session) all() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return regexp.MustCompile(`\x1b\[[0-9]*[HJK]`).ReplaceAllString(s.said, "\n")
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
	s.press("xy")
	s.expect(".backup/")
	s.expect("the beginning of 2")
	s.press("q")
	s.expect("ended: false <nil>")
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
	s.expect("make watch 2")
	s.expect("ended: true <nil>")
	<-s.ended
	require.NotContains(t, s.all(), "\x1b")
}
