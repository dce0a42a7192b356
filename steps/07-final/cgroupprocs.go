//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// add puts a process into the cgroup of v2, unless it was born there, which
// saves the 5 to 15 ms of joinCgroup: what it starts will be there too. A
// container that has handed controllers down has its own processes only in
// cgroups below, systemd for one: then it is put where there are some.
func (c cgroup) add(pid int) error {
	dir, number := c.Dirs[""], strconv.Itoa(pid)
	if dir == "" || slices.Contains(strings.Fields(readCgroup(dir+"/cgroup.procs")), number) {
		return nil
	}
	err := writeCgroup(dir+"/cgroup.procs", number)
	if errors.Is(err, unix.EBUSY) {
		walkCgroups(dir, func(below string) {
			if err != nil && readCgroup(below+"/cgroup.procs") != "" {
				err = writeCgroup(below+"/cgroup.procs", number)
			}
		})
	}
	return wrap(err, "add process %d to cgroup", pid)
}

// join is add, and then tasks, with the file of limitProcesses behind.
func (c cgroup) join(pid int) (files []*os.File, err error) {
	if err := c.add(pid); err != nil {
		return nil, err
	}
	files, err = c.tasks()
	if dir := c.Dirs["pids"]; dir != "" && err == nil {
		var file *os.File
		file, err = os.OpenFile(dir+"/pids.max", os.O_WRONLY, 0)
		files = append(files, file)
	}
	return files, err
}

// tasks opens what joinCgroup needs, of each cgroup of v1. Who opens these
// files counts, not who writes: in a user namespace init is nobody to them.
func (c cgroup) tasks() (files []*os.File, err error) {
	for _, dir := range c.directories() {
		if dir != c.Dirs[""] && err == nil {
			var file *os.File
			file, err = os.OpenFile(dir+"/tasks", os.O_WRONLY, 0)
			files = append(files, file)
		}
	}
	return files, err
}

// joinCgroup moves this thread into the cgroups of v1. What it starts will be
// there too; the others of its process end with execve(2). To move another
// process, or all threads of one, the kernel waits until nobody on the machine
// forks: 5 to 15 ms, unless somebody did so a moment ago. For a thread that
// moves itself it need not: 0.02 ms. See cgroup_procs_write_start of the
// kernel.
func (c *initHalf) joinCgroup() error {
	if last := len(c.tasks) - 1; last >= 0 && c.Cgroup.Dirs["pids"] != "" {
		c.tasks, c.pidsMax = c.tasks[:last], c.tasks[last]
	}
	for _, fd := range c.tasks {
		err := write(fd, "0")
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// limitProcesses sets the limit that create left out. On v2 the threads of init
// count, and Go ends a program that does not get another: from here on it needs
// none.
func (c *initHalf) limitProcesses() error {
	if c.Processes == nil || c.pidsMax == 0 {
		return nil
	}
	return wrap(write(c.pidsMax, strings.Replace(number(c.Processes), "-1", "max", 1)), "limit processes")
}

// readCgroup returns what a file holds, without the end of the line; nothing
// when it is not there.
func readCgroup(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSuffix(string(text), "\n")
}

// writeCgroup writes to a file that the kernel has made, at once. A limit whose
// file is not there is none that it knows: it must not become an ordinary file.
func writeCgroup(file, value string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = write(fd, value)
		unix.Close(fd)
	}
	if err != nil {
		return &os.PathError{Op: "write " + strconv.Quote(value) + " to", Path: file, Err: err}
	}
	return nil
}

// write writes a whole text. A memory limit waits for pages, and a signal ends
// that with EINTR: one for us, or Go's own SIGURG, see signal(7).
func write(fd int, text string) error {
	for {
		if _, err := unix.Write(fd, []byte(text)); err != unix.EINTR {
			return err
		}
	}
}

// walkCgroups calls visit for the cgroups below dir, the lowest first, and last
// for dir. A container may nest them deeper than a path can be long: so each is
// named by a descriptor of the one above. What vanishes meanwhile is no error.
func walkCgroups(dir string, visit func(dir string)) error {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	entries, _ := d.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			err = cmp.Or(err, walkCgroups(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), e.Name()), visit))
		}
	}
	visit(dir)
	return err
}

// processes returns the container's, also those in cgroups that it made itself.
// Number 0 is one that this PID namespace does not show.
func (c cgroup) processes() (pids []int, err error) {
	err = walkCgroups(c.directories()[0], func(dir string) {
		for pid := range strings.FieldsSeq(readCgroup(dir + "/cgroup.procs")) {
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
	})
	return pids, err
}

// signal sends sig to every process. Only SIGKILL also reaches who forks
// meanwhile.
func (c cgroup) signal(sig unix.Signal) error {
	if sig == unix.SIGKILL {
		return c.kill()
	}
	_, err := c.signalOnce(sig)
	return err
}

// signalOnce sends sig to those who are there now, and tells how many.
func (c cgroup) signalOnce(sig unix.Signal) (n int, err error) {
	pids, err := c.processes()
	for _, pid := range pids {
		if pid == 0 { // to kill(2) it would be this process's own group
			err = errors.New("signal cgroup: a process in it is not in this PID namespace")
		} else if e := unix.Kill(pid, sig); e != nil && e != unix.ESRCH {
			err = fmt.Errorf("signal process %d: %w", pid, e)
		}
	}
	return len(pids), err
}

// kill kills all, also who is paused or forks meanwhile, and returns when
// nobody is left.
func (c cgroup) kill() (err error) {
	n := 0
	gone := await(func() bool {
		writeCgroup(c.Dirs[""]+"/cgroup.kill", "1")                                // since Linux 5.14
		if n, err = c.signalOnce(unix.SIGKILL); n > 0 && c.Dirs["freezer"] != "" { // v1: who is frozen dies when he thaws
			walkCgroups(c.Dirs["freezer"], func(dir string) { writeCgroup(dir+"/freezer.state", "THAWED") })
		}
		return n == 0 || err != nil
	})
	if !gone {
		return errors.New("kill cgroup: some processes live on")
	}
	return err
}

// A freezer is how the processes are stopped: what to write, and which file
// tells that they have.
type freezer struct{ file, freeze, thaw, report, frozen string }

// freezer returns that of v1, if it is there.
func (c cgroup) freezer() freezer {
	if dir := c.Dirs["freezer"]; dir != "" {
		return freezer{dir + "/freezer.state", "FROZEN", "THAWED", dir + "/freezer.state", "FROZEN"}
	}
	return freezer{c.Dirs[""] + "/cgroup.freeze", "1", "0", c.Dirs[""] + "/cgroup.events", "frozen 1"}
}

// frozen tells whether the processes are stopped, or about to be.
func (c cgroup) frozen() bool {
	f := c.freezer()
	now := readCgroup(f.file) // nothing, where there is none
	return now != "" && now != f.thaw
}

// freeze stops all processes, or lets them go on. It returns when they have
// stopped; if that does not come about, they go on.
func (c cgroup) freeze(frozen bool) error {
	f := c.freezer()
	if !frozen {
		return writeCgroup(f.file, f.thaw)
	}
	err := writeCgroup(f.file, f.freeze)
	if err == nil && !await(func() bool { return strings.Contains(readCgroup(f.report), f.frozen) }) {
		err = errors.New("some processes go on")
	}
	if err != nil {
		writeCgroup(f.file, f.thaw)
		return fmt.Errorf("freeze cgroup: %w", err)
	}
	return nil
}

// remove removes the cgroup, and those that the container made below it. It
// waits for processes that are about to end, but not forever.
func (c cgroup) remove() (first error) {
	for _, dir := range c.directories() {
		var err error
		await(func() bool {
			if err = unix.Rmdir(dir); err == unix.EBUSY {
				walkCgroups(dir, func(dir string) { err = unix.Rmdir(dir) })
			}
			return err != unix.EBUSY
		})
		// Where all is read-only, EROFS comes before ENOENT.
		if err != nil && unix.Access(dir, unix.F_OK) != unix.ENOENT {
			first = cmp.Or(first, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return first
}

// removeEmpty removes what nobody is in, as a runtime leaves it that is killed
// right after it has made it.
func (c cgroup) removeEmpty() {
	for _, dir := range c.directories() {
		unix.Rmdir(dir)
	}
}

// await asks until done, for ten seconds at most, and tells whether it is. v1
// has no event that could be waited for, and no version has one for the last
// switch of a process, when it leaves the cgroup.
func await(done func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); !done(); unix.Poll(nil, 1) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
