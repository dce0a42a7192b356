//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"containers-from-scratch/harness/demo"
)

// converse reads lines for shells, one on the host and one in each container
// that is spoken of, and says what they print: the two panes of make demo.
func converse([]string) error {
	shells := map[string]*conversation{}
	defer func() {
		for _, s := range shells {
			_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
			_ = s.cmd.Wait()
		}
	}()
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q demo.Question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a demo.Answer
		s, err := shells[q.In], error(nil)
		if s == nil {
			if s, err = newConversation(q.In); err == nil {
				shells[q.In] = s
			}
		}
		if err == nil {
			a.Output, err = s.ask(q.Run)
		}
		if err != nil {
			a.Failed = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// A conversation is one shell that is told a line at a time.
type conversation struct {
	cmd  *exec.Cmd
	to   io.Writer
	from *bufio.Reader
}

// newConversation starts a shell on the host, or as the command of a program.
func newConversation(in string) (*conversation, error) {
	s := &conversation{cmd: exec.Command("sh")}
	if in != demo.Host {
		s.cmd = exec.Command(in, "run", "sh")
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	to, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout // as on a terminal
	s.to, s.from = to, bufio.NewReader(from)
	return s, s.cmd.Start()
}

// ask runs one line. A mark that no output holds says that it has ended.
func (s *conversation) ask(line string) (string, error) {
	const end = '\036'
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	if _, err := fmt.Fprintf(s.to, "%s\nprintf '\\036'\n", line); err != nil {
		return "", fmt.Errorf("tell the shell: %w", err)
	}
	said, err := s.from.ReadString(end)
	if err != nil {
		return said, fmt.Errorf("the shell ended: %s", strings.TrimSpace(said))
	}
	return strings.TrimSuffix(said, string(rune(end))), nil
}
