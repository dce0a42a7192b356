//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// create makes the container of a bundle, all but the command: see operation
// create of the runtime-spec's runtime.md. Whatever fails, nothing is left.
func create(root, id string, o *options) (err error) {
	s, c, err := prepare(root, id, o)
	if err != nil {
		return err
	}
	s.lock.Close()
	return c.release("detach")
}

// prepare is create, until only start is missing: it returns init, waiting.
func prepare(root, id string, o *options) (s *state, c *container, err error) {
	if o.noPivot {
		return nil, nil, errors.New("--no-pivot is not supported: the old root would stay in reach")
	}
	bundle, err := filepath.Abs(o.bundle)
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return nil, nil, err
	}
	spec, raw, err := loadSpec(bundle)
	if err != nil {
		return nil, nil, err
	}
	dropLabels(spec)
	filter, flags, err := compileSeccomp(spec.Linux)
	if err != nil {
		return nil, nil, err
	}
	preserve, err := preserved(o.preserveFDs)
	if err != nil {
		return nil, nil, err
	}
	console, err := dialConsole(spec.Process, o.consoleSocket)
	if err != nil {
		return nil, nil, err
	}
	group, err := findCgroup(spec.Linux.CgroupsPath, id)
	if err != nil {
		return nil, nil, err
	}
	if s, err = newState(root, id); err != nil {
		return nil, nil, err
	}
	s.Bundle, s.Annotations, s.Rootfs, s.Cgroup = bundle, spec.Annotations, spec.Root.Path, group
	s.NoKeyring = o.noKeyring
	defer func() {
		if err != nil {
			if c != nil {
				c.kill()
			}
			err = errors.Join(err, s.destroy(spec))
			s, c = nil, nil
		}
	}()
	if err = os.WriteFile(filepath.Join(s.dir, configFile), raw, 0o600); err != nil {
		return s, c, err
	}
	if err = s.save(); err != nil { // what is made from here on can be found again
		return s, c, err
	}
	listener, err := s.listen()
	if err != nil {
		return s, c, err
	}
	defer listener.Close()
	own := []*os.File{cmp.Or(console, listener), listener} // where there is no console, some file keeps its place
	if c, err = reexec(spec, preserve, own, nil, nil); err != nil {
		return s, c, explain(fmt.Errorf("create namespaces: %w", err))
	}
	if err = group.create(spec.Linux.Resources); err != nil {
		s.Cgroup = cgroup{} // another container's
		return s, c, err
	}
	s.Owned = true // and not before: it could be another's
	if err = s.save(); err == nil {
		err = group.add(c.process.Pid)
	}
	if err != nil {
		return s, c, err
	}
	if err = adjust(c.process.Pid, spec); err != nil {
		return s, c, err
	}
	s.Pid = c.process.Pid
	if s.StartTime, err = startTime(s.Pid); err != nil {
		return s, c, err
	}
	config := initConfig{Spec: spec, Cgroup: group, Seccomp: filter, SeccompFlags: flags,
		Keyring: !o.noKeyring, Preserve: o.preserveFDs, ID: id, State: s.public(specs.StateCreated)}
	below := mountID(s.Rootfs)
	tasks, err := group.tasks()
	if err != nil {
		return s, c, err
	}
	err = c.configure(config, tasks, func() error {
		h := given(spec.Hooks)
		if err := runHooks("prestart", h.Prestart, *config.State); err != nil { // deprecated; Docker's network is one
			return err
		}
		return runHooks("createRuntime", h.CreateRuntime, *config.State)
	})
	if now := mountID(s.Rootfs); now != below { // there is no mount namespace that ends with the container
		s.Mount = now
	}
	if err != nil {
		return s, c, err
	}
	s.Status = specs.StateCreated
	if err = s.save(); err != nil {
		return s, c, err
	}
	return s, c, writePid(o.pidFile, s.Pid)
}

// mountID returns the number of the mount that dir is on, or 0, see statx(2).
func mountID(dir string) uint64 {
	var s unix.Statx_t
	unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID, &s)
	return s.Mnt_id
}

// adjust does for process pid what it could not do itself in its user
// namespace.
func adjust(pid int, spec *specs.Spec) error {
	if err := setOOMScoreAdj(pid, spec.Process.OOMScoreAdj); err != nil {
		return err
	}
	if !hasNamespace(spec, specs.UserNamespace) {
		return nil
	}
	return raiseRlimits(pid, spec.Process.Rlimits)
}

// public is the part of the state that others get to see.
func (s *state) public(status specs.ContainerState) *specs.State {
	p := s.State
	p.Status = status
	return &p
}

// listen makes the socket on which init waits for start.
func (s *state) listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, s.startAddress()), unix.Listen(fd, 1))
	}
	if err != nil {
		return nil, fmt.Errorf("create start socket: %w", err)
	}
	return os.NewFile(uintptr(fd), startFile), nil
}

// startAddress is that of the socket. Its path would be too long for unix(7)
// where the engine's directories are deep: so it goes by a descriptor.
func (s *state) startAddress() unix.Sockaddr {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", s.lock.Fd(), startFile)}
}

// preserved are the n descriptors after the standard ones: the caller's, which
// execve(2) left open. What this program has opened itself is not among them.
func preserved(n int) (files []*os.File, err error) {
	for fd := 3; fd < 3+n; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			return nil, fmt.Errorf("preserve descriptor %d: the caller has none", fd)
		}
		files = append(files, os.NewFile(uintptr(fd), "preserved"))
	}
	return files, closeDescriptors(3) // none of the caller's others gets to init
}

// writePid writes a process number to file, without a newline, as engines read
// it.
func writePid(file string, pid int) error {
	if file == "" {
		return nil
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

// awaitStart tells the runtime that the container is created, and waits until
// it or, later, start says that the command may run.
func (c *initHalf) awaitStart() error {
	if err := c.channel.send("created"); err != nil {
		return err
	}
	var m message
	if err := c.channel.in.Decode(&m); err != nil {
		return fmt.Errorf("wait for start: %w", err)
	}
	if m.Event == "start" {
		return nil
	}
	// The runtime ends now and the container does not.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear parent death signal: %w", err)
	}
	if c.Exec { // execve(2) closes the channel
		return nil
	}
	listener := int(c.channel.file.Fd()) + 2 // of the files behind it, see prepare
	c.channel.file.Close()
	var fd int
	err := error(unix.EINTR)
	for err == unix.EINTR { // Go's own signals
		fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("wait for start: %w", err)
	}
	c.channel = newChannel(os.NewFile(uintptr(fd), "channel"))
	return nil
}
