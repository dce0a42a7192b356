//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// container is what run holds of a container: its init process and all that
// ties the two halves together.
type container struct {
	process *exec.Cmd // init, and later the command
	release *os.File  // write end of the release pipe
	signals chan os.Signal
}

// Both halves stay on their first thread, since the parent death signal is a
// matter of threads: the kernel sends it when the one that started init ends,
// and forgets it when another one than init's first calls execve(2).
func init() { runtime.LockOSThread() } // Go calls it before main

// reexec starts this program again, with verb, in the namespaces of attr. There
// it waits until run has prepared everything and calls wait.
func reexec(verb string, command []string, attr *syscall.SysProcAttr) (*container, error) {
	// When run is killed, init and with it the container die. (Unless the
	// command is a set-user-ID file: for those execve(2) forgets the signal,
	// see PR_SET_PDEATHSIG(2const).)
	attr.Pdeathsig = syscall.SIGKILL
	released, release, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer released.Close()
	c := &container{release: release, signals: make(chan os.Signal, 16)}
	// Until here they end us as they end any program; but at SIGQUIT Go prints
	// its stacks and exits with 2, see os/signal.
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(sig) { // as nohup(1) has SIGHUP, and sh's & SIGINT
			signal.Notify(c.signals, sig)
		}
	}
	c.process = exec.Command("/proc/self/exe", append([]string{verb}, command...)...)
	c.process.Args[0] = os.Args[0]
	c.process.Stdin, c.process.Stdout, c.process.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.process.ExtraFiles = []*os.File{released} // file descriptor 3 of init
	c.process.SysProcAttr = attr
	return c, c.process.Start()
}

// awaitRelease keeps init from going on before run is done: one byte on the
// release pipe starts the command, end-of-file means that run is dead.
func awaitRelease() error {
	if n, err := syscall.Read(3, make([]byte, 1)); n != 1 {
		return fmt.Errorf("wait for release: %w", cmp.Or(err, io.EOF))
	}
	syscall.CloseOnExec(3) // wait sees it close when init becomes the command
	return nil
}

// wait releases init, passes signals on to it, and returns the command's exit
// status: 128+n when signal n ended it.
func (c *container) wait() (status int) {
	// An interactive shell makes its own process group the terminal's and, in a
	// PID namespace, cannot give it back: run's group has no number there. So
	// run takes the terminal when the group that had it is gone.
	defer func() {
		if owner, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && unix.Kill(-owner, 0) == unix.ESRCH {
			signal.Ignore(unix.SIGTTOU) // stops who takes it from behind
			unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
		}
	}()

	c.release.Write([]byte{1}) // fails when init is dead: its status says why
	exited := make(chan error)
	go func() { exited <- c.process.Wait() }()
	var killedBy syscall.Signal
	for {
		select {
		case s := <-c.signals:
			sig := s.(syscall.Signal)
			if !c.handles(sig) {
				// The kernel drops a signal for which PID 1 has no handler,
				// see pid_namespaces(7): let it end the container. (SIGTSTP
				// too: on Ctrl-Z run stops, a command without handler goes on.)
				killedBy = sig
				c.process.Process.Kill()
			} else if sig != unix.SIGINT { // which the terminal sends to both
				c.process.Process.Signal(sig)
			}
		case <-exited:
			end := c.process.ProcessState.Sys().(syscall.WaitStatus)
			if end.Exited() {
				return end.ExitStatus()
			}
			return 128 + int(cmp.Or(killedBy, end.Signal()))
		}
	}
}

// handles tells whether the command catches, ignores or blocks sig, as in
// "SigCgt: 0000000000014002" of proc_pid_status(5).
func (c *container) handles(sig syscall.Signal) bool {
	// As long as init holds the release pipe it is not yet the command, and
	// the handlers are those of Go.
	if _, err := c.release.Write([]byte{1}); err == nil {
		return false
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Process.Pid))
	_, masks, _ := strings.Cut(string(status), "SigBlk:")
	var blocked, ignored, caught uint64
	fmt.Sscanf(masks, "%x\nSigIgn: %x\nSigCgt: %x", &blocked, &ignored, &caught)
	return (blocked|ignored|caught)>>(sig-1)&1 == 1
}
