//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// container is what the runtime holds of a container that it starts: its init
// process and the channel that ties the two halves together.
type container struct {
	process *os.Process // init, and later the command
	channel *channel
	signals chan os.Signal
	started chan error // what became of init: nil when it is the command
}

// Both halves stay on their first thread, since the parent death signal is a
// matter of threads: the kernel sends it when the one that started init ends,
// and forgets it when another one than init's first calls execve(2). What
// restrict does is a matter of threads, too.
func init() { runtime.LockOSThread() } // Go calls it before main

// reexec starts this program again, as init, in the namespaces that spec asks
// for. There it waits for configure. It gets the standard streams, and more of
// which run CMD has nothing.
func reexec(spec *specs.Spec, more inheritance) (*container, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	exe, err := sealedExecutable()
	if err != nil {
		return nil, explain(err)
	}
	files := slices.Concat([]*os.File{os.Stdin, os.Stdout, cmp.Or(more.stderr, os.Stderr)}, more.preserved, []*os.File{theirs}, more.own)
	args := []string{os.Args[0], "init", strconv.Itoa(3 + len(more.preserved))}
	process, err := startIn(spec, exe, args, files, more)
	if err != nil {
		ours.Close()
		return nil, explain(fmt.Errorf("start init in its namespaces: %w", err))
	}
	return &container{process: process, channel: newChannel(ours), started: make(chan error, 1)}, nil
}

// configure does for init what only this half can, tells it what to do, and
// waits until only the command is missing. First init joins the cgroup, by its
// tasks.
func (c *container) configure(config initConfig, tasks []*os.File, hooks func() error) (err error) {
	spec := config.Spec
	if err := adjust(c.process.Pid, spec); err != nil {
		return err
	}
	dropLabels(spec)
	if config.Seccomp, config.SeccompFlags, err = compileSeccomp(spec.Linux); err != nil {
		return err
	}
	config.Processes, spec.Linux.Resources = given(given(spec.Linux.Resources).Pids).Limit, nil // to read them takes time
	err = c.channel.sendConfig(config, tasks)
	if err == nil && config.Hooks {
		err = hooks()
	}
	if err == nil {
		err = c.channel.receive("created")
	}
	return explainDeath(err, c.process)
}

// notify lets signals wait for wait, instead of ending this program.
func notify() chan os.Signal {
	signals := make(chan os.Signal, 16)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(sig) { // as nohup(1) has SIGHUP, and sh's & SIGINT
			signal.Notify(signals, sig)
		}
	}
	return signals
}

// kill ends a container that was not released, and all in its PID namespace.
// After wait it does nothing.
func (c *container) kill() {
	if c.process.Kill() == nil {
		c.process.Wait()
	}
}

// wait calls release, passes signals on to the command, and returns its exit
// status: 128+n when signal n ended it.
func (c *container) wait(release func() error) (status int, err error) {
	// An interactive shell makes its own process group the terminal's and, in a
	// PID namespace, cannot give it back: run's group has no number there. So
	// run takes the terminal when the group that had it is gone.
	defer func() {
		if owner, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && unix.Kill(-owner, 0) == unix.ESRCH {
			signal.Ignore(unix.SIGTTOU) // stops who takes it from behind
			unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
		}
	}()

	exited := make(chan *os.ProcessState)
	go func() {
		c.started <- release()
		state, _ := c.process.Wait()
		exited <- state
	}()
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
				c.process.Kill()
			} else if sig != unix.SIGINT || c.channel == nil {
				// From a terminal both get SIGINT. Who sends it to runAsRoot
				// only, sends it to nobody else; of two, run passes on none.
				c.process.Signal(sig)
			}
		case state := <-exited:
			if err := <-c.started; err != nil && killedBy == 0 {
				return 0, err
			}
			end := state.Sys().(syscall.WaitStatus)
			if end.Exited() {
				return end.ExitStatus(), nil
			}
			return 128 + int(cmp.Or(killedBy, end.Signal())), nil
		}
	}
}

// release says the last word to init: "start", or "detach" to live on when this
// program ends, and wait for start. It returns when init lets go of the
// channel.
func (c *container) release(event string) error {
	c.channel.send(event) // fails when init is dead: its status says why
	if err := c.channel.receive("end"); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// handles tells whether the command catches, ignores or blocks sig, as in
// "SigCgt: 0000000000014002" of proc_pid_status(5).
func (c *container) handles(sig syscall.Signal) bool {
	// As long as init holds the channel it is not yet the command, and the
	// handlers are those of Go.
	if c.channel != nil {
		channel := []unix.PollFd{{Fd: int32(c.channel.file.Fd())}}
		if unix.Poll(channel, 0); channel[0].Revents&unix.POLLHUP == 0 {
			return false
		}
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Pid))
	_, masks, _ := strings.Cut(string(status), "SigBlk:")
	var blocked, ignored, caught uint64
	fmt.Sscanf(masks, "%x\nSigIgn: %x\nSigCgt: %x", &blocked, &ignored, &caught)
	return (blocked|ignored|caught)>>(sig-1)&1 == 1
}
