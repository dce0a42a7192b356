//go:build linux

package main

import (
	"cmp"
	"fmt"
	"os"

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
	if err := cmp.Or(o.setProcess(spec, command), s.listNamespaces(spec.Linux)); err != nil {
		return 0, err
	}
	spec.Hooks = nil // which are for the container's own process
	preserve, console, err := o.openFiles(spec.Process)
	if err != nil {
		return 0, err
	}
	tasks, err := s.Cgroup.tasks()
	if err != nil {
		return 0, err
	}
	// What Go prints when it gets no thread, below the limit of processes, is
	// no word to the user: explainDeath has one. init takes our stderr in
	// awaitStart.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	// It joins the cgroup before anybody inside can make it fork.
	c, err := reexec(spec, inheritance{null, preserve, []*os.File{console, os.Stderr}, s.Cgroup, tasks, func(pid int) error {
		// By now the container's number could be that of a later process.
		if !s.alive() {
			return errNotRunning
		}
		return s.Cgroup.add(pid)
	}})
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: %w", id, err)
	}
	defer c.kill()
	err = c.configure(initConfig{Spec: spec, Exec: true, Keyring: !s.NoKeyring, Preserve: o.preserveFDs, ID: id}, nil, nil)
	if err == nil {
		err = writePid(o.pidFile, c.process.Pid)
	}
	if err != nil {
		return 0, err
	}
	if o.detach {
		err := c.release("detach")
		c.process.Release()
		return 0, err
	}
	c.signals = notify()
	return c.wait(func() error { return c.release("start") })
}

// setProcess makes the process of spec that which is to be executed.
func (o *options) setProcess(spec *specs.Spec, command []string) error {
	p := spec.Process
	if o.process != "" {
		spec.Process = &specs.Process{}
		if _, err := readJSON(o.process, spec.Process); err != nil {
			return err
		}
		return validateProcess(spec.Process)
	}
	p.Args, p.Terminal = command, o.tty
	p.Env = append(p.Env, o.env...)
	p.Cwd = cmp.Or(o.cwd, p.Cwd)
	if o.user != "" {
		u := &p.User
		u.AdditionalGids = nil // another user's groups are not his
		fmt.Sscanf(o.user, "%d:%d", &u.UID, &u.GID)
		if o.user != fmt.Sprint(u.UID) && o.user != fmt.Sprintf("%d:%d", u.UID, u.GID) {
			return fmt.Errorf("user %q: want UID or UID:GID, as numbers", o.user)
		}
	}
	return validateProcess(p)
}

// listNamespaces makes the namespaces of linux those of the container's
// process, by their paths, but what is not its own.
func (s *state) listNamespaces(linux *specs.Linux) error {
	linux.Namespaces = nil
	for _, ns := range namespaces {
		path := fmt.Sprintf("/proc/%d/ns/%s", s.Pid, ns.file)
		theirs, err := os.Readlink(path)
		if err != nil && ns.flag != unix.CLONE_NEWTIME { // which is new in Linux 5.6
			return fmt.Errorf("find namespaces of container %s: %w", s.ID, err)
		}
		ours, _ := os.Readlink("/proc/self/ns/" + ns.file)
		switch {
		case theirs != ours:
			linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: ns.kind, Path: path})
		case ns.kind == specs.MountNamespace:
			return fmt.Errorf("container %s has no mount namespace: the root directory would be the host's", s.ID)
		}
	}
	return nil
}
