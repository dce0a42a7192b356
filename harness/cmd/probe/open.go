//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What stays open after step 06: see the lesson's section of that name.

// watches takes all inotify instances that its user may have, see inotify(7),
// prints how many it got, and keeps them until stdin ends.
func watches([]string) error {
	for n := 0; ; n++ {
		if _, err := unix.InotifyInit1(unix.IN_CLOEXEC); errors.Is(err, unix.EMFILE) {
			fmt.Println("took", n)
			_, err = io.Copy(io.Discard, os.Stdin)
			return err
		} else if err != nil {
			return fmt.Errorf("make inotify instance %d: %w", n+1, err)
		}
	}
}

// kernelLog says whether the kernel's log has a line with TEXT, see syslog(2).
func kernelLog(args []string) error {
	const readAll = 3
	log := make([]byte, 1<<20)
	n, err := unix.Klogctl(readAll, log)
	if err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	fmt.Println(bytes.Contains(log[:n], []byte(args[0])))
	return nil
}

// types puts TEXT and the key Enter into the input of the terminal on stdin, as
// if its user had typed them, see TIOCSTI in ioctl_tty(2).
func types(args []string) error {
	for _, key := range []byte(args[0] + "\n") {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&key))); errno != 0 {
			return fmt.Errorf("type %q: %w", key, errno)
		}
	}
	return nil
}
