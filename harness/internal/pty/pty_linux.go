// Package pty gives a command a terminal of its own, as a login does, and keeps
// what it shows: pty(7), ioctl_tty(2).
package pty

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Open makes a pseudoterminal of so many rows and columns. Keys are written to
// ptmx, which reads what is shown; tty is the command's. The caller closes both.
func Open(rows, columns uint16) (ptmx, tty *os.File, err error) {
	// Not blocking, so that closing it ends a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	ptmx = os.NewFile(uintptr(fd), "/dev/ptmx")
	if tty, err = other(fd); err == nil {
		err = Resize(ptmx, rows, columns)
	}
	if err != nil {
		_ = ptmx.Close()
		return nil, nil, err
	}
	return ptmx, tty, nil
}

// other is the command's end of the pseudoterminal.
func other(fd int) (*os.File, error) {
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("ask for the terminal's number: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	return os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
}

// Resize sets the size; the kernel sends SIGWINCH where it is another one.
func Resize(ptmx *os.File, rows, columns uint16) error {
	conn, err := ptmx.SyscallConn() // Fd would make it block
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("set the terminal's size: %w", err)
	}
	return nil
}

// Start starts cmd as the first process of a session on a new terminal, and
// writes to screen what it shows. Drained is closed when nobody has the
// terminal any more, which may be after the command's end: see Open for ptmx.
func Start(cmd *exec.Cmd, rows, columns uint16, screen io.Writer) (ptmx *os.File, drained <-chan struct{}, err error) {
	ptmx, tty, err := Open(rows, columns)
	if err != nil {
		return nil, nil, err
	}
	defer tty.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		_ = ptmx.Close()
		return nil, nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(screen, ptmx) // ends with EIO
	}()
	return ptmx, ended, nil
}

// A Screen is all that a terminal has shown. Any number of goroutines may use it.
type Screen struct {
	lock sync.Mutex
	said []byte
	read int // how much of it Await has passed
}

// Write adds to it; it never fails.
func (s *Screen) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.said = append(s.said, p...)
	return len(p), nil
}

// String is all of it.
func (s *Screen) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return string(s.said)
}

// Await waits until the screen shows text after what was awaited before. If it
// does not in time, rest is what it shows there instead.
func (s *Screen) Await(text string, patience time.Duration) (rest string, shown bool) {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if rest, shown = s.pass(text); shown || time.Now().After(deadline) {
			return rest, shown
		}
	}
}

func (s *Screen) pass(text string) (rest string, shown bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	rest = string(s.said[s.read:])
	at := strings.Index(rest, text)
	if at < 0 {
		return rest, false
	}
	s.read += at + len(text)
	return rest[at+len(text):], true
}
