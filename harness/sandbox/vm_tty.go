//go:build linux || darwin

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// takeTerminal gives the terminal to the job: bytes pass as they are, so that
// Ctrl-C becomes a signal in the VM and not here, and changes of size follow.
// restore gives it back; it is also called when a signal ends this program,
// because a terminal left raw shows nothing of what its user types.
func (m *vmMachine) takeTerminal(tty *os.File) (restore func(), size vmSize, err error) {
	if tty == nil {
		return nil, size, errors.New("a job with a terminal needs one as stdin")
	}
	fd := int(tty.Fd())
	old, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err != nil {
		return nil, size, fmt.Errorf("read the terminal's settings: stdin is no terminal: %w", err)
	}
	size = terminalSize(fd)

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	restore = sync.OnceFunc(func() {
		signal.Stop(signals)
		close(signals)
		_ = unix.IoctlSetTermios(fd, ioctlSetTermios, old)
	})
	go func() {
		for s := range signals {
			if s == unix.SIGWINCH {
				size := terminalSize(fd)
				_ = m.say(toGuest{Size: &size}) // Run notices a VM that is gone
				continue
			}
			restore()
			m.kill(fmt.Sprintf("interrupted by signal %q", s))
			_ = unix.Kill(os.Getpid(), s.(unix.Signal)) // and now what the signal is for
			return
		}
	}()

	raw := *old // as cfmakeraw(3) does
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, ioctlSetTermios, &raw); err != nil {
		restore()
		return nil, size, fmt.Errorf("make the terminal raw: %w", err)
	}
	return restore, size, nil
}

// terminalSize asks for the size, see ioctl_tty(2); 24 lines of 80 if it has none.
func terminalSize(fd int) vmSize {
	w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || w.Row == 0 || w.Col == 0 {
		return vmSize{Rows: 24, Cols: 80}
	}
	return vmSize{Rows: w.Row, Cols: w.Col}
}
