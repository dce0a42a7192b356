//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A state is what the runtime remembers of a container between two calls: a
// file in a directory of its own, which only the runtime's user may enter. It
// is what the runtime-spec calls the state, and what is needed to clean up:
// that is written down before it is made.
type state struct {
	specs.State
	StartTime uint64    `json:"startTime"` // of the process, to know it from a later one of that number
	Cgroup    cgroup    `json:"cgroup"`
	Owned     bool      `json:"owned"`     // we made the cgroup, and who is in it is ours
	NoKeyring bool      `json:"noKeyring"` // exec, too, keeps the caller's
	Created   time.Time `json:"created"`
	Rootfs    string    `json:"rootfs"`
	Owner     int       `json:"owner"` // user id of who created it
	Below     uint64    `json:"below"` // the mount under that of the rootfs, where the mounts are the host's, or 0
	Mount     uint64    `json:"mount"` // that of the rootfs, or 0: create was killed before it knew

	dir  string   // the container's directory
	lock *os.File // of it, held by who changes something
}

const (
	// stateRoot is below /run: states mean nothing after a restart.
	stateRoot = "/run/containers-from-scratch"

	stateFile  = "state.json"
	configFile = "config.json" // as it was at create: later changes of the bundle have no effect
	deleted    = "~"           // after the directory's name, when it is about to go; no id has it
	startFile  = "start.sock"  // where init waits for start; there until then
)

var (
	errMissing    = errors.New("container does not exist")
	errNotRunning = errors.New("container not running")
)

// checkID refuses an id that is no plain file name, for it becomes one.
func checkID(id string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-."
	if id == "" || len(id) > 1024 || id == "." || id == ".." || strings.Trim(id, letters) != "" {
		return fmt.Errorf("invalid container id %q: letters, digits and _+-. only", id)
	}
	return nil
}

// newState makes the directory of a new container and locks it. Of those who
// try it at once, one succeeds.
func newState(root, id string) (*state, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	s := &state{dir: filepath.Join(root, id), Owner: os.Getuid(), Created: time.Now().UTC(),
		State: specs.State{Version: specs.Version, ID: id, Status: specs.StateCreating}}
	if err := os.Mkdir(s.dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("container with id %s exists", id)
	} else if err != nil {
		return nil, fmt.Errorf("create state of container %s: %w", id, err)
	}
	var err error
	s.lock, err = acquire(s.dir)
	return s, err
}

// loadState reads the state of a container, and finds out its status.
func loadState(root, id string) (*state, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	s := &state{dir: filepath.Join(root, id)}
	_, err := readJSON(filepath.Join(s.dir, stateFile), s)
	if errors.Is(err, os.ErrNotExist) && unix.Access(s.dir, unix.F_OK) != nil {
		return nil, fmt.Errorf("%s: %w", id, errMissing)
	}
	if err != nil { // but it can be deleted
		s.ID, s.Status = id, "broken"
		return s, fmt.Errorf("read state of container %s: %w", id, err)
	}
	s.refresh()
	return s, nil
}

// lockState is loadState for those who change something: one at a time. The
// caller closes the lock.
func lockState(root, id string) (*state, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	lock, err := acquire(filepath.Join(root, id))
	if err != nil {
		return nil, err
	}
	s, err := loadState(root, id)
	if s == nil { // deleted while we waited
		lock.Close()
		return nil, err
	}
	s.lock = lock
	return s, err
}

// acquire waits for the lock of a container's directory. It goes with this
// process. A directory that was removed meanwhile is nobody's; a new one of
// that name is another container's.
func acquire(dir string) (*os.File, error) {
	for {
		lock, err := os.Open(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", filepath.Base(dir), errMissing)
		}
		var locked, there unix.Stat_t
		if err == nil {
			err = errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_EX), unix.Fstat(int(lock.Fd()), &locked))
		}
		if err != nil {
			return nil, fmt.Errorf("lock state: %w", err)
		}
		if unix.Stat(dir, &there) == nil && there.Ino == locked.Ino {
			return lock, nil
		}
		lock.Close()
	}
}

// save writes the state, whole or not at all.
func (s *state) save() error {
	data, err := json.Marshal(s, anyBytes)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, ".new"), data, 0o600)
	}
	if err == nil {
		err = os.Rename(filepath.Join(s.dir, ".new"), filepath.Join(s.dir, stateFile))
	}
	return wrap(err, "save state of container %s", s.ID)
}

// refresh finds the status out: the runtime does not stay to write it down.
func (s *state) refresh() {
	switch {
	case s.Status == specs.StateCreating:
	case !s.alive():
		s.Status, s.Pid = specs.StateStopped, 0
	case unix.Access(filepath.Join(s.dir, startFile), unix.F_OK) == nil:
		s.Status = specs.StateCreated
	case s.Cgroup.frozen():
		s.Status = "paused"
	default:
		s.Status = specs.StateRunning
	}
}

// alive tells whether the container's process, no later one of its number, is
// there.
func (s *state) alive() bool {
	started, err := startTime(s.Pid)
	return err == nil && started == s.StartTime
}

// spec returns the container's configuration.
func (s *state) spec() (*specs.Spec, error) {
	spec, _, err := readSpec(filepath.Join(s.dir, configFile))
	return spec, err
}

// startTime returns when a process started, in clock ticks since boot, from
// "4321 (sleep) S 1 …", see proc_pid_stat(5). One that has ended and is not
// yet reaped is gone.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, unix.ESRCH
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// signal sends sig to the container's process, by a descriptor which no later
// process of the same number can be mistaken for, see pidfd_open(2).
func (s *state) signal(sig unix.Signal) error {
	pidfd, err := unix.PidfdOpen(s.Pid, 0)
	defer unix.Close(pidfd)
	if !s.alive() {
		return errNotRunning
	}
	if err == nil {
		err = unix.PidfdSendSignal(pidfd, sig, nil, 0)
	}
	if err == unix.ESRCH {
		return errNotRunning
	}
	return wrap(err, "send signal %d to container %s", sig, s.ID)
}
