//go:build linux

package sandbox

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A guestReport is one line of JSON that process 1 of the container writes:
// one when the machine is ready, one when a job's files are in place, one
// when the job is over. On stdin it reads the archive of the files, then,
// once the engine's exec has returned, one byte.
type guestReport struct {
	Err    string // what the machine could not do; it ends after saying so
	Ran    bool   // the program was started and has ended
	Status int    // with Ran: its exit status, 128+n for signal n
}

// A guestJob is what a job's first process in the container is told. The
// engine's own -e and -w are not used: they add variables of the engine's.
type guestJob struct {
	Args []string
	Dir  string
	Env  []string
	TTY  bool
}

// A containerMachine is one running container.
type containerMachine struct {
	variant
	container string // its name
	init      *exec.Cmd
	in        io.WriteCloser // closing it ends the container
	out       *bufio.Reader
	stderr    lastLine
	removed   atomic.Bool // by force, so its exit status says nothing
}

// startContainer starts process 1 and waits until it has tried, from inside,
// what jobs will need.
func startContainer(v variant, spec Spec) (*containerMachine, error) {
	image, err := v.ensureImage()
	if err != nil {
		return nil, err
	}
	self, err := filepath.Abs(spec.Self)
	if err != nil {
		return nil, err
	}
	m := &containerMachine{variant: v, container: "harness-" + strings.ToLower(rand.Text()[:12])}
	m.init = exec.Command(v.engine, v.runArgs(m.container, self, image)...)
	m.init.Stderr = &m.stderr
	if m.in, err = m.init.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.init.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.out = bufio.NewReader(out)
	if err := m.init.Start(); err != nil {
		return nil, err
	}
	// The first start after a boot may have to wait for a busy engine.
	late := time.AfterFunc(60*time.Second, func() { m.init.Process.Kill() })
	defer late.Stop()
	if _, err := m.report(); err != nil {
		m.remove()
		_ = m.init.Wait() // it says less than the report and stderr
		if errors.Is(err, io.EOF) {
			err = m.stderr.explain(err)
		}
		return nil, err
	}
	return m, nil
}

// Run carries the job's files in, has the engine run the program, and asks
// process 1 for its status and for /out. The engine's own exit status is not
// trusted: its 125, 126 and 127 may as well be the program's.
func (m *containerMachine) Run(job Job) (int, error) {
	if err := job.refuseBinds("container"); err != nil {
		return 0, err
	}
	limit := job.Timeout
	if limit == 0 {
		limit = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// Whatever waits, ends when the container does.
	stop := context.AfterFunc(ctx, m.remove)
	status, err := m.run(ctx, job)
	if late := !stop(); late {
		return 0, fmt.Errorf("run %s: no end after %s", job.Args[0], limit)
	}
	if err != nil {
		return 0, fmt.Errorf("run %s in a container: %w", job.Args[0], err)
	}
	return status, nil
}

// run is Run without the deadline.
func (m *containerMachine) run(ctx context.Context, job Job) (int, error) {
	sendErr := packTar(m.in, job.Files)
	if _, err := m.report(); err != nil {
		return 0, err // the machine's own reason comes before our broken pipe
	}
	if sendErr != nil {
		return 0, fmt.Errorf("copy files: %w", sendErr)
	}
	execErr, err := m.exec(ctx, job)
	if err != nil {
		return 0, err
	}
	if _, err := m.in.Write([]byte{'\n'}); err != nil {
		return 0, err
	}
	report, err := m.report()
	if err != nil {
		return 0, err
	}
	if err := m.receive(job.Out); err != nil {
		return 0, fmt.Errorf("receive /out: %w", err)
	}
	if !report.Ran {
		return 0, fmt.Errorf("%s exec did not start it: %v", m.engine, execErr)
	}
	return report.Status, nil
}

// exec has the engine run the job. execErr is what the engine's exit says,
// good only for a message; err means it could not be called at all.
func (m *containerMachine) exec(ctx context.Context, job Job) (execErr, err error) {
	encoded, err := json.Marshal(guestJob{job.Args, job.Dir, job.Env, job.TTY})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, m.engine,
		m.execArgs(m.container, string(encoded), job.Stdin != nil, job.TTY)...)
	cmd.Stdout, cmd.Stderr = job.Stdout, job.Stderr
	if job.Stdin != nil { // a nil *os.File in an io.Reader is not nil
		cmd.Stdin = job.Stdin
	}
	cmd.WaitDelay = time.Second
	var last lastLine
	switch {
	case job.TTY: // the engine wants the terminal itself
	case job.Stderr == nil:
		cmd.Stderr = &last
	default:
		cmd.Stderr = io.MultiWriter(job.Stderr, &last)
	}
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return last.explain(err), nil
	}
	return nil, err
}

// receive unpacks what the job left in /out. The archive is read to its end
// even when nobody wants it: the next report stands behind it.
func (m *containerMachine) receive(dir string) error {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "harness-out-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return unpackTar(m.out, dir, false)
}

// report reads the next line of process 1.
func (m *containerMachine) report() (r guestReport, err error) {
	line, err := m.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("the container ended: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("read the container's report %q: %w", line, err)
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

// Close ends process 1 by closing its stdin, and waits until the engine has
// taken the container away.
func (m *containerMachine) Close() error {
	m.in.Close()
	late := time.AfterFunc(10*time.Second, m.remove)
	defer late.Stop()
	if err := m.init.Wait(); err != nil && !m.removed.Load() {
		m.remove()
		return fmt.Errorf("end the container: %w", m.stderr.explain(err))
	}
	return nil
}

// remove takes the container away by force. That there is none (it did not
// start, or --rm was first) is not a failure, so the answer is not read.
func (m *containerMachine) remove() {
	m.removed.Store(true)
	m.in.Close()
	_, _ = output(m.command("rm", "-f", m.container))
}

// lastLine keeps the last line written to it that is not empty, where
// programs put the reason of their failure.
type lastLine struct {
	mu   sync.Mutex
	text string
}

// Write keeps at most the last 4,000 bytes.
func (l *lastLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	if extra := len(l.text) - 4000; extra > 0 {
		l.text = l.text[extra:]
	}
	return len(p), nil
}

// explain returns the line, if there is one, for err, which is then only
// "exit status 1".
func (l *lastLine) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(l.text)
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = strings.TrimSpace(text[i+1:])
	}
	if err == nil || text == "" {
		return err
	}
	return errors.New(strings.TrimPrefix(text, "Error: "))
}
