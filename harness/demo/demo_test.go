package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain is also what the test runs in its panes, and on its stage.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "demo-pane":
		if Pane(os.Args[2], os.Args[3], os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv("DEMO_STAGE") == "1":
		stage, err := NewStage(os.Args[0], "step 3")
		if err == nil {
			go func() {
				err = stage.Play(Scenes[3], func(l Line) (string, error) { return l.Shows + "\n", nil })
				stage.Close()
			}()
			_ = stage.Attach()
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A screen is a tmux of the test's, in which the demonstration runs as on an
// instructor's terminal.
type screen struct {
	t      *testing.T
	socket string
}

func (s screen) tmux(args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-S", s.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	require.NoError(s.t, err, string(out))
	return string(out)
}

// shows waits until the screen satisfies a condition.
func (s screen) shows(what string, condition func(screen string) bool) string {
	var text string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if text = s.tmux("capture-pane", "-p", "-t", "test"); condition(text) {
			return text
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen does not show %s:\n%s", what, text)
		}
	}
}

// TestTheHostIsOnTheLeft plays a scene in a real tmux, with keys as an
// instructor presses them.
func TestTheHostIsOnTheLeft(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	t.Setenv("SHELL", "/bin/sh")
	t.Setenv("LC_ALL", "C.UTF-8") // for the line between the panes
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	s := screen{t, filepath.Join(t.TempDir(), "tmux")}
	s.tmux("new-session", "-d", "-s", "test", "-x", "120", "-y", "40", "DEMO_STAGE=1 TMPDIR="+t.TempDir()+" '"+self+"'; echo stage is empty; exec sleep 60")
	defer s.tmux("kill-server")
	contains := func(words ...string) func(string) bool {
		return func(text string) bool {
			for _, w := range words {
				if !strings.Contains(text, w) {
					return false
				}
			}
			return true
		}
	}
	s.shows("the first attack", contains("the host, a throwaway machine", "in the container of 02-pid", "$ echo stolen"))
	s.tmux("send-keys", "-t", "test", " ")
	s.shows("the host's command", contains("$ cat /made-inside"))
	s.tmux("send-keys", "-t", "test", " ")
	text := s.shows("what it prints", contains("stolen  ", "$ umount"))
	var left, right string
	for _, line := range strings.Split(text, "\n") {
		l, r, _ := strings.Cut(line, "│")
		left, right = left+l+"\n", right+r+"\n"
	}
	require.Contains(t, left, "$ cat /made-inside")
	require.NotContains(t, left, "$ echo stolen")
	require.Contains(t, right, "$ echo stolen")
	require.NotContains(t, right, "$ cat /made-inside")
	for range len(Scenes[3].Lines) - 2 {
		s.tmux("send-keys", "-t", "test", " ")
	}
	s.shows("the end", contains("in the container of 03-mount", "/proc/1", "The end"))
	s.tmux("send-keys", "-t", "test", "x")
	s.shows("that it is over", contains("stage is empty"))
}

// TestWithoutTmuxItIsSaid looks for tmux where there is none.
func TestWithoutTmuxItIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := NewStage("", "")
	require.EqualError(t, err, "tmux is not installed: sudo apt-get install tmux")
}
