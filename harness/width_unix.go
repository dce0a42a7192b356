//go:build linux || darwin

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// columnsOfTerminal is how wide stdout is, 120 where it is no terminal.
func columnsOfTerminal() int {
	if w, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && w.Col > 0 {
		return int(w.Col)
	}
	return 120
}

// isTerminal tells whether f is one, which /dev/null, a device too, is not.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
