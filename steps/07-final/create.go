//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"unicode/utf8"

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
func prepare(root, id string, o *options) (*state, *container, error) {
	bundle, err := filepath.Abs(o.bundle)
	text := refusal{!utf8.ValidString(bundle), fmt.Sprintf("bundle %q is no UTF-8, which its state has to be", bundle)}
	if err := cmp.Or(err, checkID(id), refuse(text)); err != nil { // before they are a part of any path, or of JSON
		return nil, nil, err
	}
	spec, raw, err := loadSpec(bundle)
	if err != nil {
		return nil, nil, err
	}
	preserve, console, err := o.openFiles(spec.Process)
	if err != nil {
		return nil, nil, err
	}
	group, err := findCgroup(spec.Linux.CgroupsPath, id)
	if err != nil {
		return nil, nil, err
	}
	s, err := newState(root, id)
	if err != nil {
		return nil, nil, err
	}
	s.Bundle, s.Annotations, s.Rootfs, s.Cgroup, s.NoKeyring = bundle, spec.Annotations, spec.Root.Path, group, o.noKeyring
	if !hasNamespace(spec, specs.MountNamespace) { // that ends with the container: destroy unmounts what it finds above
		s.Below = mountID(s.Rootfs)
	}
	var c *container
	err = inOrder(
		func() error { return os.WriteFile(filepath.Join(s.dir, configFile), raw, 0o600) },
		s.save, // what is made from here on can be found again
		func() error { return s.createCgroup(spec.Linux.Resources) },
		func() (err error) { c, err = s.startInit(spec, preserve, console); return err },
		func() error { return s.prepareInit(spec, c, o) },
	)
	if err != nil {
		if c != nil {
			err = explainDeath(err, c.process)
			c.kill()
		}
		return nil, nil, errors.Join(err, s.destroy(spec))
	}
	return s, c, nil
}

// createCgroup makes the cgroup, and remembers that.
func (s *state) createCgroup(r *specs.LinuxResources) error {
	if err := s.Cgroup.create(r); err != nil {
		s.Cgroup = cgroup{} // another container's
		return err
	}
	s.Owned = true // and not before: it could be another's
	return s.save()
}

// startInit starts init, with the socket on which it is to wait for start.
func (s *state) startInit(spec *specs.Spec, preserve []*os.File, console *os.File) (*container, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	listener := os.NewFile(uintptr(fd), startFile)
	if err == nil {
		defer listener.Close()
		err = cmp.Or(unix.Bind(fd, s.startAddress()), unix.Listen(fd, 1))
	}
	if err != nil {
		return nil, fmt.Errorf("create start socket: %w", err)
	}
	return reexec(spec, inheritance{preserved: preserve, own: []*os.File{console, listener}, cgroup: s.Cgroup})
}

// prepareInit lets init make the rest.
func (s *state) prepareInit(spec *specs.Spec, c *container, o *options) (err error) {
	tasks, err := s.Cgroup.join(c.process.Pid)
	if err != nil {
		return err
	}
	s.Pid = c.process.Pid
	if s.StartTime, err = startTime(s.Pid); err != nil {
		return err
	}
	err = c.configure(initConfig{Spec: spec, Cgroup: s.Cgroup, Keyring: !o.noKeyring, Preserve: o.preserveFDs,
		ID: s.ID, Hooks: spec.Hooks != nil, State: s.public(specs.StateCreated)}, tasks, func() error { return s.runtimeHooks(spec, c) })
	if err != nil {
		return err
	}
	s.Status, s.Mount = specs.StateCreated, mountID(s.Rootfs)
	return inOrder(s.save, func() error { return writePid(o.pidFile, s.Pid) })
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
func (s *state) public(status specs.ContainerState) specs.State {
	p := s.State
	p.Status = status
	return p
}

// startAddress is that of the socket. Its path would be too long for unix(7)
// where the engine's directories are deep: so it goes by a descriptor.
func (s *state) startAddress() unix.Sockaddr {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", s.lock.Fd(), startFile)}
}

// openFiles opens what a process gets from the caller of this program: the
// descriptors from 3 on that execve(2) left open, and the console socket. None
// of the caller's others gets to init. Where there is no console, standard
// input keeps its place.
func (o *options) openFiles(p *specs.Process) (preserve []*os.File, console *os.File, err error) {
	for fd := 3; fd < 3+o.preserveFDs; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			return nil, nil, fmt.Errorf("preserve descriptor %d: the caller has none", fd)
		}
		preserve = append(preserve, os.NewFile(uintptr(fd), "preserved"))
	}
	if err := closeDescriptors(3); err != nil {
		return nil, nil, err
	}
	console, err = dialConsole(p, o.consoleSocket)
	return preserve, cmp.Or(console, os.Stdin), err
}

// preserveDescriptors lets execve(2) leave the command those of the caller.
func (c *initHalf) preserveDescriptors() error {
	for fd := 3; fd < 3+c.Preserve; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("preserve descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// writePid writes a process number to file, without a newline, as engines read
// it.
func writePid(file string, pid int) error {
	if file == "" {
		return nil
	}
	return wrap(os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644), "write pid file")
}

// detach lets the container outlive the runtime, and waits for start. Another
// process in it needs no start.
func (c *initHalf) detach() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear parent death signal: %w", err)
	}
	if c.Exec { // execve(2) closes the channel
		return nil
	}
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, unix.SIGQUIT) // for which Go prints a stack trace
	go func() { <-quit; os.Exit(128 + int(unix.SIGQUIT)) }()
	listener := int(c.channel.file.Fd()) + 2 // of the files behind it, see startInit
	c.channel.file.Close()
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("wait for start: %w", err)
	}
	c.channel = newChannel(os.NewFile(uintptr(fd), "channel"))
	return nil
}
