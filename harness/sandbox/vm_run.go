//go:build linux || darwin

package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// defaultTimeout is what Job.Timeout is when nobody says.
const defaultTimeout = 10 * time.Minute

// Run runs job in the VM, see Machine. After an error the VM is gone: what a
// panic or a timeout leaves behind is not worth another job.
func (m *vmMachine) Run(job Job) (status int, err error) {
	if err := job.refuseBinds("vm"); err != nil {
		return 0, err
	}
	m.running.Lock()
	defer m.running.Unlock()

	request := vmJob{
		Args: job.Args, Env: job.Env, Dir: job.Dir,
		Paths: slices.Sorted(maps.Keys(job.Files)),
		Stdin: job.Stdin != nil, Out: job.Out != "",
	}
	for path, file := range job.Files { // before anything moves: this is the caller's mistake, not the machine's
		if !filepath.IsAbs(path) || filepath.Clean(path) == "/" {
			return 0, fmt.Errorf("copy into the VM: %q is no place for a file", path)
		}
		if _, err := os.Stat(file); err != nil {
			return 0, fmt.Errorf("copy into the VM: %w", err)
		}
	}
	if job.TTY {
		restore, size, err := m.takeTerminal(job.Stdin)
		if err != nil {
			return 0, err
		}
		defer restore()
		request.TTY = &size
	}
	if job.Timeout == 0 {
		job.Timeout = defaultTimeout
	}
	timer := time.AfterFunc(job.Timeout, func() { m.kill(fmt.Sprintf("the job did not end within %v", job.Timeout)) })
	defer timer.Stop()

	if err := m.say(toGuest{Job: &request}); err != nil {
		return 0, m.failure("")
	}
	streams := m.copyStreams(job)
	var end fromGuest
	err = m.sendFiles(job.Files)
	if err == nil {
		err = m.heard.Decode(&end)
	}
	if err != nil || end.Status == nil {
		err = m.failure(end.Error)
		_ = streams.stop() // after failure, which closes what they wait for
		return 0, err
	}
	if err = streams.stop(); err == nil && job.Out != "" {
		err = m.receiveOut(job.Out)
	}
	if err != nil {
		m.kill(err.Error())
		return 0, m.failure("")
	}
	return *end.Status, nil
}

// say sends one message; sizes of the terminal come in between.
func (m *vmMachine) say(message toGuest) error {
	m.sending.Lock()
	defer m.sending.Unlock()
	return m.toGuest.Encode(message)
}

// sendFiles sends the tar that every job begins with. When a file cannot be
// read the VM is killed, because half a tar cannot be taken back.
func (m *vmMachine) sendFiles(files map[string]string) error {
	w := bufio.NewWriterSize(m.ports["files"], 256<<10)
	err := errors.Join(packTar(w, files), w.Flush())
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		m.kill(fmt.Sprintf("copy into the VM: %v", err))
	}
	return err
}

// receiveOut unpacks the tar that ends a job.
func (m *vmMachine) receiveOut(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// tar is read in blocks that end where the archive does, and nothing
	// follows it before the next job: what the buffer holds is this tar.
	r := bufio.NewReaderSize(m.ports["files"], 256<<10)
	if err := unpackTar(r, dir, false); err != nil {
		return fmt.Errorf("copy /out of the VM to %s: %w", dir, err)
	}
	return nil
}

// vmStreams are the copiers of one job's streams.
type vmStreams struct {
	output sync.WaitGroup
	errs   [2]error
	wake   *os.File // closing it ends the copying of stdin
	stdin  chan error
}

// copyStreams copies stdout and stderr until their frames end, and stdin until
// its end or the job's.
func (m *vmMachine) copyStreams(job Job) *vmStreams {
	s := &vmStreams{stdin: make(chan error, 1)}
	for i, dst := range []io.Writer{job.Stdout, job.Stderr} {
		s.output.Go(func() { s.errs[i] = copyFrames(dst, m.ports[[]string{"out", "err"}[i]]) })
	}
	if job.Stdin == nil {
		s.stdin <- nil
		return s
	}
	r, w, err := os.Pipe()
	if err != nil {
		s.stdin <- err
		m.kill(fmt.Sprintf("copy stdin into the VM: %v", err))
		return s
	}
	s.wake = w
	go func() {
		defer r.Close()
		s.stdin <- sendStdin(&frameWriter{w: m.ports["in"]}, job.Stdin, r)
	}()
	return s
}

// stop waits until all that the job wrote is written, and ends the copying of
// stdin, of which not a byte more is read: it belongs to whoever reads next.
func (s *vmStreams) stop() error {
	s.output.Wait()
	if s.wake != nil {
		s.wake.Close()
	}
	return errors.Join(s.errs[0], s.errs[1], <-s.stdin)
}

// sendStdin copies src until its end or until wake is closed, then ends the
// frames. It asks poll(2) which of the two comes first, because a read of a
// terminal cannot be called off.
func sendStdin(frames *frameWriter, src, wake *os.File) error {
	buf := make([]byte, maxFrame)
	for {
		fds := []unix.PollFd{
			{Fd: int32(src.Fd()), Events: unix.POLLIN},
			{Fd: int32(wake.Fd()), Events: unix.POLLIN},
		}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("wait for stdin: %w", err)
		}
		if fds[1].Revents != 0 {
			break
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := frames.Write(buf[:n]); err != nil {
				return fmt.Errorf("copy stdin into the VM: %w", err)
			}
		}
		if err != nil { // io.EOF, or the input broke: either way there is no more
			break
		}
	}
	if err := frames.Close(); err != nil {
		return fmt.Errorf("copy stdin into the VM: %w", err)
	}
	return nil
}
