//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// execIn runs another process in a running container, with the container's
// own limits and protections, and returns its exit status.
func execIn(root, id string, o *options, command []string) (status int, err error) {
	s, err := loadState(root, id)
	if err != nil {
		return 0, err
	}
	if s.Status != specs.StateRunning && s.Status != specs.StateCreated {
		return 0, fmt.Errorf("cannot exec in a container that is %s", s.Status)
	}
	spec, err := s.spec()
	if err != nil {
		return 0, err
	}
	if err := o.setProcess(spec, command); err != nil {
		return 0, err
	}
	filter, flags, err := compileSeccomp(spec.Linux.Seccomp)
	if err != nil {
		return 0, err
	}
	console, err := dialConsole(spec.Process, o.consoleSocket)
	if err != nil {
		return 0, err
	}
	c, err := s.join(preserved(o.preserveFDs), console)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, err)
	}
	defer c.kill()
	if err := adjust(c.process.Pid, spec); err != nil {
		return 0, err
	}
	err = c.configure(initConfig{Spec: spec, Exec: true, Seccomp: filter, SeccompFlags: flags,
		Preserve: o.preserveFDs, ID: id})
	if err != nil {
		return 0, err
	}
	if err := writePid(o.pidFile, c.process.Pid); err != nil {
		return 0, err
	}
	if o.detach {
		err := c.release("detach")
		c.process.Release()
		return 0, err
	}
	c.notify()
	return c.wait(c.start)
}

// setProcess makes the process of spec that which is to be executed.
func (o *options) setProcess(spec *specs.Spec, command []string) error {
	p := spec.Process
	if o.process != "" {
		data, err := os.ReadFile(o.process)
		if err != nil {
			return fmt.Errorf("read process: %w", err)
		}
		spec.Process = &specs.Process{}
		if err := json.Unmarshal(data, spec.Process); err != nil {
			return fmt.Errorf("read process %s: %w", o.process, err)
		}
		return validateProcess(spec.Process)
	}
	p.Args, p.Terminal = command, o.tty
	p.Env = append(p.Env, o.env...)
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	if o.user != "" {
		uid, gid, _ := strings.Cut(o.user, ":")
		u, err := strconv.ParseUint(uid, 10, 32)
		g := uint64(p.User.GID)
		if err == nil && gid != "" {
			g, err = strconv.ParseUint(gid, 10, 32)
		}
		if err != nil {
			return fmt.Errorf("user %q: want UID or UID:GID, as numbers", o.user)
		}
		// Another user's groups are not his.
		p.User.UID, p.User.GID, p.User.AdditionalGids = uint32(u), uint32(g), nil
	}
	return validateProcess(p)
}

// join starts init in the namespaces and the cgroup of the container.
func (s *state) join(preserve []*os.File, console *os.File) (*container, error) {
	namespaces, err := namespacesOf(s.Pid)
	if err != nil {
		return nil, err
	}
	defer closeAll(namespaces)
	// By now the number could be that of a later process.
	if started, err := startTime(s.Pid); err != nil || started != s.StartTime {
		return nil, errNotRunning
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	exe, err := sealedExecutable()
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	files := slices.Concat([]*os.File{os.Stdin, os.Stdout, os.Stderr}, preserve, []*os.File{theirs})
	args := []string{os.Args[0], "init", strconv.Itoa(len(files) - 1)}
	if console != nil {
		files = append(files, console)
	}
	p, err := spawn(&spawnAttr{Join: namespaces, Exe: exe, Pdeathsig: unix.SIGKILL,
		Args: args, Env: []string{"GOMAXPROCS=2", "GOGC=off"}, Files: files})
	if err != nil {
		return nil, err
	}
	if err := s.Cgroup.add(p.Pid); err != nil { // before it can fork
		p.abandon()
		return nil, err
	}
	if err := p.start(); errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w (this program needs a loader: build it with CGO_ENABLED=0)", err)
	} else if err != nil {
		return nil, err
	}
	return &container{process: p.Process, channel: newChannel(ours), started: make(chan error, 1)}, nil
}
