//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The operations on a container that was created: see the runtime-spec's
// runtime.md, Operations and Lifecycle.

// start lets the command of a created container run, and then runs its
// poststart hooks.
func start(root, id string) error {
	s, err := lockState(root, id)
	if err != nil {
		return err
	}
	defer s.lock.Close()
	if s.Status != specs.StateCreated {
		return fmt.Errorf("cannot start a container that is %s", s.Status)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, s.startAddress())
	}
	if err == unix.ECONNREFUSED { // it runs: a start before this one was killed
		return errors.Join(s.started(), fmt.Errorf("cannot start a container that is %s", specs.StateRunning))
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", id, err)
	}
	c := &container{channel: newChannel(os.NewFile(uintptr(fd), startFile))}
	if err := c.release("start"); err != nil { // init ends: then the container is stopped, and not before
		await(func() bool { return !s.alive() })
		return err
	}
	return s.started()
}

// started is what follows once init has let go. When a poststart hook fails,
// the container is destroyed: see runtime.md, Lifecycle.
func (s *state) started() error {
	if err := os.Remove(filepath.Join(s.dir, startFile)); err != nil {
		return fmt.Errorf("start container %s: %w", s.ID, err)
	}
	spec, err := s.spec()
	if err != nil {
		return err
	}
	if err := runHooks("poststart", given(spec.Hooks).Poststart, s.public(specs.StateRunning)); err != nil {
		return errors.Join(err, s.destroy(spec))
	}
	return nil
}

// run creates and starts the container of a bundle, waits for its end and
// deletes it, unless it is detached.
func run(root, id string, o *options) (status int, err error) {
	if o.detach {
		if err := create(root, id, o); err != nil {
			return 0, err
		}
		if err := start(root, id); err != nil {
			return 0, errors.Join(err, remove(root, id, true))
		}
		return 0, nil
	}
	s, c, err := prepare(root, id, o)
	if err != nil {
		return 0, err
	}
	c.signals = notify()
	status, err = c.wait(func() error {
		defer s.lock.Close()
		if err := c.release("start"); err != nil {
			return err
		}
		return s.started()
	})
	return status, errors.Join(err, remove(root, id, true))
}

// kill sends a signal to the container's process or, with all, to each that is
// in its cgroup. A container whose process is not the first of its PID
// namespace does not end with it: there SIGKILL goes to all.
func kill(root, id string, sig unix.Signal, all bool) error {
	s, err := loadState(root, id)
	if err != nil {
		return err
	}
	if s.Status == specs.StateStopped && !all {
		return errNotRunning
	}
	if sig == unix.SIGKILL && !all {
		if spec, err := s.spec(); err == nil {
			path, listed := findNamespace(spec, specs.PIDNamespace)
			all = !listed || path != ""
		}
	}
	if all {
		return s.Cgroup.signal(sig)
	}
	err = s.signal(sig)
	if err == nil && sig == unix.SIGKILL && s.Status == "paused" {
		err = s.Cgroup.freeze(false) // a frozen process dies when it thaws
	}
	return err
}

// remove deletes a container that is stopped, or with force any, and all that
// create made for it. What is not there needs no force to be gone.
func remove(root, id string, force bool) error {
	if s, err := loadState(root, id); err == nil && force {
		s.signal(unix.SIGKILL) // who holds the lock may wait for its end
	}
	s, err := lockState(root, id)
	if errors.Is(err, errMissing) && force {
		return os.RemoveAll(filepath.Join(root, id) + deleted)
	}
	if s == nil {
		return err
	}
	defer s.lock.Close()
	if err != nil && !force {
		return err
	}
	if s.Status != specs.StateStopped && !force {
		return fmt.Errorf("cannot delete a container that is %s: stop it, or use --force", s.Status)
	}
	s.signal(unix.SIGKILL) // what else is in the cgroup, destroy kills
	spec, _ := s.spec()
	return s.destroy(spec)
}

// destroy undoes what create made: processes, cgroup, mounts, state, in this
// order, so that what fails can be tried again. Then it runs the poststop hooks
// of spec, if it is known; a failure of one is a warning, see config.md,
// Poststop.
func (s *state) destroy(spec *specs.Spec) error {
	if s.Owned {
		if err := errors.Join(s.Cgroup.signal(unix.SIGKILL), s.Cgroup.remove()); err != nil {
			return fmt.Errorf("remove cgroup of container %s: %w", s.ID, err)
		}
	} else { // a runtime that was killed may have made it, and nobody is in it
		s.Cgroup.removeEmpty()
	}
	if now := mountID(s.Rootfs); s.Below != 0 && now != 0 && now != s.Below && (s.Mount == 0 || now == s.Mount) {
		if err := unix.Unmount(s.Rootfs, unix.MNT_DETACH); err != nil && err != unix.EINVAL { // all gone already
			return fmt.Errorf("unmount root filesystem of container %s: %w", s.ID, err)
		}
	}
	// At once, so that nobody sees half of it.
	if err := errors.Join(os.RemoveAll(s.dir+deleted), os.Rename(s.dir, s.dir+deleted), os.RemoveAll(s.dir+deleted)); err != nil {
		return fmt.Errorf("remove state of container %s: %w", s.ID, err)
	}
	if spec != nil {
		for _, hook := range given(spec.Hooks).Poststop {
			if err := runHook(hook, s.public(specs.StateStopped)); err != nil {
				warn(fmt.Sprintf("run poststop hook %s: %v", hook.Path, err))
			}
		}
	}
	return nil
}

// pause freezes all processes of a container, and resume lets them go on.
func pause(root, id string, frozen bool) error {
	s, err := lockState(root, id)
	if err != nil {
		return err
	}
	defer s.lock.Close()
	switch {
	case frozen && s.Status != specs.StateRunning:
		return fmt.Errorf("cannot pause a container that is %s", s.Status)
	case !frozen && s.Status != "paused":
		return fmt.Errorf("cannot resume a container that is %s", s.Status)
	}
	return s.Cgroup.freeze(frozen)
}

// update changes the limits of a container to what resources, JSON in a file or
// ("-") on standard input, say; what they leave out stays.
func update(root, id, file string) error {
	s, err := lockState(root, id)
	if err != nil {
		return err
	}
	defer s.lock.Close()
	if s.Status == specs.StateStopped {
		return errNotRunning
	}
	var resources specs.LinuxResources
	if _, err := readJSON(file, &resources); err != nil {
		return err
	}
	if resources.Pids != nil && s.Status == specs.StateCreated {
		return errors.New("update of linux.resources.pids before start is not supported: start sets that of config.json, after it update does")
	}
	spec, err := s.spec()
	if err != nil {
		return err
	}
	// Kubernetes sends all resources again.
	if resources.Devices != nil && !reflect.DeepEqual(resources.Devices, given(spec.Linux.Resources).Devices) {
		return errors.New("update of linux.resources.devices is not supported")
	}
	return s.Cgroup.update(&resources)
}
