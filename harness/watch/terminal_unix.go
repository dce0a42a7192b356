//go:build linux || darwin

package watch

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// terminalSignals are those about the terminal.
var terminalSignals = []os.Signal{unix.SIGWINCH, unix.SIGCONT}

func isContinue(s os.Signal) bool { return s == unix.SIGCONT }
func isResize(s os.Signal) bool   { return s == unix.SIGWINCH }

// A terminal takes single keys and shows control sequences.
type terminal struct {
	in, out *os.File
	before  unix.Termios
}

// openTerminal returns nil where there is none, or one that can do nothing.
func openTerminal(in, out *os.File) (*terminal, error) {
	if os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return nil, nil
	}
	if _, err := unix.IoctlGetTermios(int(out.Fd()), ioctlGetTermios); err != nil {
		return nil, nil
	}
	before, err := unix.IoctlGetTermios(int(in.Fd()), ioctlGetTermios)
	if err != nil {
		return nil, nil
	}
	t := &terminal{in: in, out: out, before: *before}
	return t, t.cbreak()
}

// cbreak hands over each key when it is pressed, and shows none. Ctrl-C and
// Ctrl-Z stay signals, see termios(3).
func (t *terminal) cbreak() error {
	mode := t.before
	mode.Lflag &^= unix.ECHO | unix.ICANON
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	// In the background, that would stop us; the shell sends SIGCONT when we
	// have the terminal again.
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	if err := unix.IoctlSetTermios(int(t.in.Fd()), ioctlSetTermios, &mode); err != nil {
		return fmt.Errorf("take keys from the terminal: %w", err)
	}
	return nil
}

// restore makes it what it was.
func (t *terminal) restore() { _ = unix.IoctlSetTermios(int(t.in.Fd()), ioctlSetTermios, &t.before) }

// keys are those pressed, until the terminal is gone. What comes in one piece
// with an escape is an arrow or the like, and none of ours.
func (t *terminal) keys() <-chan byte {
	keys := make(chan byte)
	go func() {
		defer close(keys)
		buffer := make([]byte, 64)
		for {
			n, err := t.in.Read(buffer)
			if n == 0 || err != nil {
				return
			}
			if buffer[0] == '\x1b' {
				continue
			}
			for _, key := range buffer[:n] {
				keys <- key
			}
		}
	}()
	return keys
}

// width is how many characters fit in a line; 80 when it does not say.
func (t *terminal) width() int {
	size, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return max(20, int(size.Col))
}
