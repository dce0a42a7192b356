//go:build linux

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pty opens a new terminal and prints the name of its other end, see pts(4).
func pty([]string) error {
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer ptmx.Close()
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("number of the new terminal: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	if _, err := os.Stat(name); err != nil {
		return err
	}
	fmt.Println(name)
	return nil
}

// size prints "rows columns" of the terminal on stdin, see ioctl_tty(2).
func size([]string) error {
	w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return fmt.Errorf("size of the terminal on stdin: %w", err)
	}
	fmt.Println(w.Row, w.Col)
	return nil
}
