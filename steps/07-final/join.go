//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Go cannot join every namespace: setns(2) refuses user, mount and time to a
// process with threads, and a Go program has threads before main. But a fork
// has one thread only. So spawn forks, and until execve(2) the child makes raw
// system calls: no allocation, no goroutine, no lock, no stack that grows.
//
// The hooks that package syscall calls around its own fork are not needed. They
// block signals, as is done here, make a growing stack crash, which go:nosplit
// rules out, and care for a child that runs in its parent's memory (CLONE_VM):
// this one has a copy. Nor is syscall.ForkLock, since the child first closes
// every descriptor but its own.

// namespaceFD is a namespace to join: its CLONE_NEW flag, and an open
// /proc/PID/ns file or a bind mount of one.
type namespaceFD struct {
	Kind uintptr
	File *os.File
}

// spawnAttr says what spawn starts, and in which namespaces.
type spawnAttr struct {
	Join []namespaceFD // in this order
	New  uintptr       // CLONE_NEW flags; what they create belongs to the user namespace

	UIDMappings []specs.LinuxIDMapping // of a new user namespace
	GIDMappings []specs.LinuxIDMapping
	TimeOffsets string // of a new time namespace, see time_namespaces(7)

	Exe       *os.File // must be sealed: from inside, /proc/PID/exe leads to it
	Args, Env []string
	Cgroup    *os.File    // of v2, to fork into, or nil
	Tasks     []*os.File  // of the cgroup to join, see joinCgroup
	Files     []*os.File  // descriptors 0, 1, 2 … of the process, which has no others
	Pdeathsig unix.Signal // sent when the thread that calls spawn ends; 0 is none
}

// spawned is a child that waits in its namespaces for start.
type spawned struct {
	*os.Process
	socket *os.File // takes its reports, and a byte to let it go on
	attr   *spawnAttr
}

// spawn forks a child that will execute attr.Exe in the namespaces of attr, as
// root where it joins or creates a user namespace. It is a child of this
// process also in a PID namespace, and waits for start: until then a cgroup may
// get it.
func spawn(attr *spawnAttr) (*spawned, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	p := &spawned{socket: ours, attr: attr}
	pid, err := 0, restoreOpenFiles() // package syscall would do it in the child
	if err == nil {
		pid, err = p.fork(theirs)
	}
	theirs.Close() // else the end of theirs is not seen
	if err == nil {
		err = p.prepare(pid)
	}
	if err != nil {
		p.socket.Close()
		return nil, err
	}
	return p, nil
}

// fork makes ready all that the child uses, and makes the child.
func (p *spawned) fork(socket *os.File) (pid int, err error) {
	c := &child{exe: uintptr(len(p.attr.Files)), flags: p.attr.New, deathSignal: uintptr(p.attr.Pdeathsig),
		clone: [11]uint64{0: unix.CLONE_CLEAR_SIGHAND, 4: uint64(unix.SIGCHLD)}}
	files, kinds := slices.Concat(p.attr.Files, []*os.File{p.attr.Exe, socket}), c.flags
	for _, ns := range p.attr.Join {
		files, c.kinds, kinds = append(files, ns.File), append(c.kinds, ns.Kind), kinds|ns.Kind
	}
	c.tasks, c.nought = uintptr(len(files)), '0'
	files = append(files, p.attr.Tasks...)
	c.asRoot = kinds&unix.CLONE_NEWUSER != 0
	c.forks = kinds&unix.CLONE_NEWPID != 0 || c.flags&unix.CLONE_NEWTIME != 0
	if c.argv, err = syscall.SlicePtrFromStrings(p.attr.Args); err == nil {
		c.envv, err = syscall.SlicePtrFromStrings(p.attr.Env)
	}
	if err != nil {
		return 0, fmt.Errorf("arguments and environment: %w", err)
	}
	for _, file := range files {
		// Above all numbers that the child gives, so that none replaces
		// another.
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, len(files))
		if err != nil {
			return 0, fmt.Errorf("duplicate %s: %w", file.Name(), err)
		}
		defer unix.Close(fd)
		c.sources = append(c.sources, uintptr(fd))
	}
	c.socket = c.sources[c.exe+1]
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if p.attr.Cgroup != nil {
		c.clone[0], c.clone[10] = c.clone[0]|unix.CLONE_INTO_CGROUP, uint64(p.attr.Cgroup.Fd())
	}
	forked, errno := c.fork()
	if p.attr.Cgroup != nil && errno != 0 { // then add does it, or says why not
		c.clone[0], c.clone[10] = c.clone[0]&^unix.CLONE_INTO_CGROUP, 0
		forked, errno = c.fork()
	}
	if errno != 0 {
		return 0, fmt.Errorf("fork: %w", errno)
	}
	return int(forked), nil
}

// prepare does for the forked process what only this one can, until it, or the
// one that it forks in turn, waits for start.
func (p *spawned) prepare(pid int) (err error) {
	if p.Process, err = os.FindProcess(pid); err != nil {
		return err
	}
	for {
		r, err := p.read()
		switch {
		case err != nil:
		case r.call == unix.SYS_CLONE && r.object == 0: // it forks no other
			return nil
		case r.call == unix.SYS_CLONE:
			p.Wait()
			p.Process, err = os.FindProcess(int(r.object))
			return err
		case r.object&unix.CLONE_NEWUSER != 0:
			err = p.writeMappings()
		case p.attr.TimeOffsets != "":
			err = p.write("timens_offsets", p.attr.TimeOffsets)
		}
		if err == nil {
			_, err = p.socket.Write([]byte{1})
		}
		if err != nil {
			p.abandon()
			return err
		}
	}
}

// start lets the process execute, and returns when it has.
func (p *spawned) start() error {
	defer p.socket.Close()
	_, err := p.socket.Write([]byte{1})
	if err == nil {
		_, err = p.read()
	}
	if err == io.EOF {
		return nil
	}
	p.Wait()
	return err
}

// abandon ends a process that is not to be started after all.
func (p *spawned) abandon() {
	p.socket.Close()
	p.Wait()
}

// read waits for the next report of the child. A failure comes as an error, and
// that it executes, or is dead, as io.EOF.
func (p *spawned) read() (r report, err error) {
	_, err = io.ReadFull(p.socket, (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:])
	if err != nil || r.errno == 0 {
		return r, err
	}
	act := fmt.Sprintf("make system call %d of %d", r.call, r.object)
	switch r.call {
	case unix.SYS_SETNS:
		act = "join namespace " + p.attr.Join[int(r.object)-len(p.attr.Files)-2].File.Name()
	case unix.SYS_CLONE:
		act = "fork"
	case unix.SYS_UNSHARE:
		act = fmt.Sprintf("create namespaces %#x", r.object)
	case unix.SYS_SETGROUPS, unix.SYS_SETRESGID, unix.SYS_SETRESUID:
		act = "become root of the user namespace"
	case unix.SYS_WRITE:
		act = "join cgroup"
	case unix.SYS_EXECVEAT:
		act = "execute"
	}
	return r, fmt.Errorf("%s: %w", act, syscall.Errno(r.errno))
}

// writeMappings writes the ID mappings of the new user namespace, as in "0
// 100000 65536": see user_namespaces(7).
func (p *spawned) writeMappings() error {
	for file, ids := range map[string][]specs.LinuxIDMapping{"uid_map": p.attr.UIDMappings, "gid_map": p.attr.GIDMappings} {
		var lines strings.Builder
		for _, m := range ids {
			fmt.Fprintln(&lines, m.ContainerID, m.HostID, m.Size)
		}
		if err := p.write(file, lines.String()); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of the process in proc(5), which the kernel wants in one
// piece.
func (p *spawned) write(name, text string) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/%s", p.Pid, name), []byte(text), 0)
}
