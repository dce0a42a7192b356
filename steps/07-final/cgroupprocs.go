//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// walkCgroups calls visit for the cgroups below directory name of at, the
// lowest first, and last for it. A container may nest them deeper than a path
// can be long: so each is opened from the one above. What vanishes meanwhile is
// no error.
func walkCgroups(at int, name string, visit func(at int, name string, dir *os.File) error) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := walkCgroups(fd, e.Name(), visit); err != nil {
				return err
			}
		}
	}
	return visit(at, name, dir)
}

// processesBelow returns the processes in a cgroup and those below it. Number 0
// is one that this PID namespace does not show.
func processesBelow(dir string) (pids []int, err error) {
	err = walkCgroups(unix.AT_FDCWD, dir, func(_ int, _ string, dir *os.File) error {
		fd, err := unix.Openat(int(dir.Fd()), "cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // it is being removed, thus empty
		}
		procs := os.NewFile(uintptr(fd), dir.Name()+"/cgroup.procs")
		defer procs.Close()
		text, err := io.ReadAll(procs)
		if errors.Is(err, unix.EOPNOTSUPP) { // a threaded one: those above it tell
			return nil
		}
		for line := range strings.Lines(string(text)) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return err
	})
	return pids, err
}

// joinBelow puts a process into a cgroup below dir that has some: where the
// container, systemd for one, has put its own. It returns why not, if there is
// none.
func joinBelow(dir string, pid int, why error) error {
	return walkCgroups(unix.AT_FDCWD, dir, func(_ int, _ string, d *os.File) error {
		name := fmt.Sprintf("/proc/self/fd/%d/cgroup.procs", d.Fd())
		if why != nil && readCgroup(name) != "" && writeCgroup(name, strconv.Itoa(pid)) == nil {
			why = nil
		}
		if d.Name() == dir {
			return why
		}
		return nil
	})
}

// processes returns the container's, also those in cgroups that it made itself.
func (c cgroup) processes() ([]int, error) {
	pids, err := processesBelow(c.directories()[0])
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup: %w", err)
	}
	return pids, nil
}

// signal sends sig to every process. They stand still meanwhile: else one could
// fork unseen. SIGKILL is also for a paused container.
func (c cgroup) signal(sig unix.Signal) error {
	if pids, err := c.processes(); err != nil || len(pids) == 0 {
		return err
	}
	paused, err := c.frozen()
	if err != nil {
		return err
	}
	if sig == unix.SIGKILL && writeCgroup(c.Dirs[""]+"/cgroup.kill", "1") == nil { // since 5.14
		return c.thaw()
	}
	if !paused {
		if err := c.freeze(true); err != nil {
			return err
		}
	}
	pids, err := c.processes()
	for _, pid := range pids {
		if pid == 0 { // to kill(2) it would be this process's own group
			err = errors.New("signal cgroup: a process in it is not in this PID namespace")
		} else if e := unix.Kill(pid, sig); e != nil && e != unix.ESRCH {
			err = fmt.Errorf("signal process %d: %w", pid, e)
		}
	}
	if !paused || sig == unix.SIGKILL {
		err = errors.Join(err, c.thaw())
	}
	return err
}

// freezer returns the file that stops the processes, and what to write.
func (c cgroup) freezer() (file, freeze, thaw string) {
	if dir := c.Dirs["freezer"]; dir != "" {
		return dir + "/freezer.state", "FROZEN", "THAWED"
	}
	return c.Dirs[""] + "/cgroup.freeze", "1", "0"
}

// frozen tells whether the processes are stopped, or about to be.
func (c cgroup) frozen() (bool, error) {
	file, _, thawed := c.freezer()
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // removed; or there is nothing that could freeze
	}
	if err != nil {
		return false, fmt.Errorf("read whether the cgroup is frozen: %w", err)
	}
	return strings.TrimSpace(string(text)) != thawed, nil
}

// thaw lets the processes go on.
func (c cgroup) thaw() error { return c.freeze(false) }

// freeze stops all processes, or lets them go on. It returns when they have
// stopped; if that does not come about, they go on.
func (c cgroup) freeze(frozen bool) error {
	file, freeze, thaw := c.freezer()
	if !frozen {
		return writeCgroup(file, thaw)
	}
	err := writeCgroup(file, freeze)
	deadline := time.Now().Add(10 * time.Second)
	if c.Dirs["freezer"] == "" && err == nil {
		err = awaitEvent(c.Dirs[""], "frozen 1", deadline)
	}
	// v1 has no event, and needs to be asked: that reading counts anew.
	for c.Dirs["freezer"] != "" && err == nil && readCgroup(file) != freeze {
		if unix.Poll(nil, 1); time.Now().After(deadline) {
			err = errors.New("some go on: " + readCgroup(file))
		}
	}
	if err != nil {
		writeCgroup(file, thaw)
		return fmt.Errorf("freeze cgroup: %w", err)
	}
	return nil
}

// awaitEvent waits until cgroup.events of v2 says so. Each change of that file
// is an exceptional condition to poll(2).
func awaitEvent(dir, event string, deadline time.Time) error {
	fd, err := unix.Open(dir+"/cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir + "/cgroup.events", Err: err}
	}
	defer unix.Close(fd)
	for text := make([]byte, 256); ; { // "populated 1", "frozen 0", each a line
		n, err := unix.Pread(fd, text, 0)
		if err != nil || slices.Contains(strings.Split(string(text[:n]), "\n"), event) {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("no event %q in %s", event, dir)
		}
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
	}
}

// awaitEmpty waits until the processes in a cgroup have ended: on v2 an event
// tells, on v1 their descriptors. From there to their last switch, when they
// leave the cgroup, nobody tells, and it takes less than the pause.
func awaitEmpty(dir string, deadline time.Time) {
	if _, err := os.Stat(dir + "/cgroup.events"); err == nil {
		awaitEvent(dir, "populated 0", deadline)
	} else {
		pids, _ := processesBelow(dir)
		for _, pid := range pids {
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				left := max(0, time.Until(deadline).Milliseconds())
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left))
				unix.Close(fd)
			}
		}
	}
	unix.Poll(nil, 1)
}
