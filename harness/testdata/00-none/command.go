//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// commandError is a failure of the command, not of its isolation. The
// statuses are the shell's: 127 not found, 126 found but not executable.
type commandError struct {
	error
	status int
}

// execute replaces this program by command, see execve(2). It returns only to
// say why not.
func execute(command []string) error {
	path, err := exec.LookPath(command[0])
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return commandError{err, 127}
	}
	if err != nil {
		return commandError{err, 126}
	}
	err = syscall.Exec(path, command, os.Environ())
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (the interpreter or loader that it names)", err)
	}
	return commandError{fmt.Errorf("exec %s: %w", path, err), 126}
}

// exit ends the program with status or, when err is not nil, says why on
// stderr and ends it with 125, the program's own failure, or the command's.
func exit(status int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		status = 125
	}
	if c, ok := errors.AsType[commandError](err); ok {
		status = c.status
	}
	os.Exit(status)
}

// hint tells what to paste when err is the kernel's refusal to an ordinary
// user: namespaces are for CAP_SYS_ADMIN to create, see namespaces(7).
func hint(err error) string {
	if !errors.Is(err, os.ErrPermission) {
		return ""
	}
	if os.Geteuid() == 0 {
		return " (this root lacks CAP_SYS_ADMIN: an unprivileged container?)"
	}
	sudo := []string{"sudo", "env", "ROOTFS=" + os.Getenv("ROOTFS")}
	if os.Getenv("ROOTFS") == "" {
		sudo = sudo[:1]
	}
	words := slices.Concat(sudo, os.Args)
	if b, ok := debug.ReadBuildInfo(); ok && strings.Contains(os.Args[0], "/go-build") {
		words = slices.Concat([]string{"go", "run", "-exec", strings.Join(sudo, " "),
			"." + strings.TrimPrefix(b.Path, b.Main.Path)}, os.Args[1:])
	}
	for i, word := range words {
		if word == "" || strings.ContainsAny(word, " \t\n'\"$&|;<>()*?[]#~`\\!{}") {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return " (needs root: " + strings.Join(words, " ") + ")"
}
