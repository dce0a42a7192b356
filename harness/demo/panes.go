package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Stage is two panes of tmux. Each pane is a process (Pane) that shows what
// it is sent, and sends on which key was pressed in it.
type Stage struct {
	socket string // of tmux: its server is ours alone
	dir    string
	panes  map[bool]net.Conn // true is the host's
	keys   chan string
}

// tmux calls the server of the stage.
func (s *Stage) tmux(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-S", s.socket, "-f", "/dev/null"}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TMUX") { // else it refuses to run inside another
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "SHELL=/bin/sh") // it runs the panes' commands, whatever the user's is
	return cmd
}

// Available says what is missing for a Stage.
func Available() error {
	if _, err := exec.LookPath("tmux"); err != nil {
		return errors.New("tmux is not installed: sudo apt-get install tmux")
	}
	return nil
}

// NewStage opens the panes; self is an executable that calls Pane with the
// arguments after "demo-pane".
func NewStage(self, title string) (*Stage, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		return nil, err
	}
	s := &Stage{socket: filepath.Join(dir, "tmux"), dir: dir, panes: map[bool]net.Conn{}, keys: make(chan string)}
	listener, err := net.Listen("unix", filepath.Join(dir, "panes"))
	if err != nil {
		s.Close()
		return nil, err
	}
	defer listener.Close()
	pane := func(side string) string {
		return fmt.Sprintf("stty -echo -icanon; exec '%s' demo-pane '%s' %s", self, listener.Addr(), side)
	}
	for _, args := range [][]string{
		{"new-session", "-d", "-s", "demo", "-x", "120", "-y", "36", pane("host")},
		{"split-window", "-h", "-t", "demo", pane("container")},
		{"set", "-g", "pane-border-status", "top"},
		{"set", "-g", "pane-border-format", " #{pane_title} "},
		{"set", "-g", "status-left-length", "100"},
		{"set", "-g", "status-left", " " + title + "   blank: next   q: the end "},
		{"set", "-g", "status-right", ""},
		{"set", "-g", "window-status-format", ""},
		{"set", "-g", "window-status-current-format", ""},
		{"select-pane", "-t", "demo:0.1", "-T", "the container"},
		{"select-pane", "-t", "demo:0.0", "-T", "the host, a throwaway machine"},
	} {
		if out, err := s.tmux(args...).CombinedOutput(); err != nil {
			s.Close()
			return nil, fmt.Errorf("tmux %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	for range 2 {
		conn, err := listener.Accept()
		if err != nil {
			s.Close()
			return nil, err
		}
		from := bufio.NewReader(conn)
		side, err := from.ReadString('\n')
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("hear from a pane: %w", err)
		}
		s.panes[side == "host\n"] = conn
		go s.listen(from)
	}
	return s, nil
}

// listen takes keys from a pane; its end is the end of the demonstration.
func (s *Stage) listen(from io.ByteReader) {
	for {
		b, err := from.ReadByte()
		if err != nil || b == 'q' {
			s.keys <- "q"
			return
		}
		s.keys <- string(b)
	}
}

// Attach shows the stage on this terminal, until it is closed.
func (s *Stage) Attach() error {
	cmd := s.tmux("attach")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// Close ends tmux and the panes.
func (s *Stage) Close() {
	// With its last session the server ends, and the terminal is given back in
	// good order. It may be gone already.
	_ = s.tmux("kill-session", "-t", "demo").Run()
	for _, c := range s.panes {
		c.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// say writes into a pane; a pane that was closed ends the demonstration.
func (s *Stage) say(host bool, format string, args ...any) error {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")
	_, err := io.WriteString(s.panes[host], text)
	return err
}

// Play goes through a scene: a key shows the next command, another one runs
// it. It ends with the scene, or with "q".
func (s *Stage) Play(scene Scene, ask func(Line) (string, error)) error {
	in := ""
	for _, l := range scene.Lines {
		host := l.In == Host
		if !host && l.In != in {
			in = l.In
			if err := s.tmux("select-pane", "-t", "demo:0.1", "-T", "in the container of "+in).Run(); err != nil {
				return nil // it was closed
			}
		}
		if l.Say != "" {
			if err := s.say(host, "\n\x1b[3m# %s\x1b[0m\n", l.Say); err != nil {
				return nil
			}
		}
		if err := s.say(host, "\x1b[1m$ %s\x1b[0m", l.Run); err != nil {
			return nil
		}
		if <-s.keys == "q" {
			return nil
		}
		output, err := ask(l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Run, err)
		}
		if err := s.say(host, "\n%s", output); err != nil {
			return nil
		}
	}
	if s.say(true, "\n\x1b[3m# The end; any key leaves.\x1b[0m\n") == nil {
		<-s.keys
	}
	return nil
}

// Pane is what runs in a pane: it shows what comes from the stage and sends
// each key there.
func Pane(address, side string, keys io.Reader, screen io.Writer) error {
	conn, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, side+"\n"); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(conn, keys) }()
	_, err = io.Copy(screen, conn)
	return err
}
