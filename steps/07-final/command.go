//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// commandError is a failure of the command, not of its isolation. The
// statuses are the shell's: 127 not found, 126 found but not executable.
type commandError struct {
	error
	status int
}

// Unwrap gives errors.Is the cause.
func (e commandError) Unwrap() error { return e.error }

// findCommand finds the command's file in the container, by the PATH that the
// command will have. It is done before start, so that create can fail.
func (c *initHalf) findCommand() (err error) {
	os.Clearenv()
	for _, variable := range c.Spec.Process.Env {
		name, value, _ := strings.Cut(variable, "=")
		os.Setenv(name, value)
	}
	if os.Getenv("HOME") == "" { // engines leave it to the runtime
		env := slices.DeleteFunc(c.Spec.Process.Env, func(v string) bool { return v == "HOME=" })
		c.Spec.Process.Env = append(env, "HOME="+homeOf(c.Spec.Process.User.UID))
	}
	if c.Spec.Process.Args == nil { // then start fails
		return nil
	}
	c.path, err = exec.LookPath(c.Spec.Process.Args[0])
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return commandError{err, 127}
	}
	if err != nil {
		return commandError{err, 126}
	}
	return nil
}

// homeOf returns the home of a user of the container, as in
// "root:x:0:0:root:/root:/bin/sh" of passwd(5), or "/".
func homeOf(uid uint32) string {
	file, err := os.OpenFile("/etc/passwd", os.O_RDONLY|unix.O_NONBLOCK, 0) // it may be anything
	if err != nil {
		return "/"
	}
	defer file.Close()
	for lines := bufio.NewScanner(io.LimitReader(file, 1<<20)); lines.Scan(); {
		f := strings.Split(lines.Text(), ":")
		if len(f) == 7 && f[2] == fmt.Sprint(uid) && f[5] != "" && !strings.ContainsRune(f[5], 0) {
			return f[5]
		}
	}
	return "/"
}

// execute replaces init by the command, see execve(2). It returns only to say
// why not.
func (c *initHalf) execute() error {
	p := c.Spec.Process
	err := syscall.Exec(c.path, p.Args, p.Env)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (the interpreter or loader that it names)", err)
	}
	return commandError{fmt.Errorf("exec %s: %w", c.path, err), 126}
}

// exit ends the program with status or, when err is not nil, says why on
// stderr and ends it with 125, the program's own failure, or the command's.
func exit(status int, err error) {
	if err != nil {
		status = 125
		if c, ok := errors.AsType[commandError](err); ok {
			status = c.status
		}
		logError(err)
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
