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
	Join []namespaceFD
	New  uintptr // CLONE_NEW flags; what they create belongs to the user namespace

	UIDMappings   []specs.LinuxIDMapping // of a new user namespace
	GIDMappings   []specs.LinuxIDMapping
	DenySetgroups bool   // without it, GIDMappings need CAP_SETGID
	TimeOffsets   string // of a new time namespace, see time_namespaces(7)

	Exe       *os.File // must be sealed: from inside, /proc/PID/exe leads to it
	Args, Env []string
	Files     []*os.File  // descriptors 0, 1, 2 … of the process, which has no others
	Pdeathsig unix.Signal // sent when the thread that calls spawn ends; 0 is none
}

// spawned is a child that waits in its namespaces for start.
type spawned struct {
	*os.Process
	socket *os.File // takes its reports, and a byte to let it go on
	attr   *spawnAttr
	join   []namespaceFD // in this order
}

// spawn forks a child that will execute attr.Exe in the namespaces of attr, as
// root where it joins or creates a user namespace. It is a child of this
// process also in a PID namespace, and waits for start: until then a cgroup may
// get it.
func spawn(attr *spawnAttr) (*spawned, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("create socket pair: %w", err)
	}
	p := &spawned{socket: os.NewFile(uintptr(ends[0]), "socket"), attr: attr, join: slices.Clone(attr.Join)}
	// Root joins the user namespace last: it need not own the others. An
	// ordinary user joins it first, since only in there he may join them.
	user := 1
	if os.Geteuid() != 0 {
		user = -1
	}
	slices.SortStableFunc(p.join, func(a, b namespaceFD) int {
		return user * (int(a.Kind&unix.CLONE_NEWUSER) - int(b.Kind&unix.CLONE_NEWUSER))
	})
	theirs := os.NewFile(uintptr(ends[1]), "socket")
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
		return nil, fmt.Errorf("start %s: %w", attr.Exe.Name(), err)
	}
	return p, nil
}

// fork makes ready all that the child uses, and makes the child.
func (p *spawned) fork(socket *os.File) (pid int, err error) {
	n := uintptr(len(p.attr.Files))
	c := &child{files: n, exe: n, namespaces: n + 2, flags: p.attr.New, deathSignal: uintptr(p.attr.Pdeathsig)}
	files := append(append([]*os.File{}, p.attr.Files...), p.attr.Exe, socket)
	kinds := c.flags
	for _, ns := range p.join {
		files = append(files, ns.File)
		c.kinds = append(c.kinds, ns.Kind)
		kinds |= ns.Kind
	}
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
	c.socket = c.sources[n+1]
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	forked, errno := c.fork()
	if errno != 0 {
		return 0, fmt.Errorf("fork: %w", errno)
	}
	return int(forked), nil
}

// prepare does for the forked process what only this one can, until it, or the
// one that it forks in turn, waits for start.
func (p *spawned) prepare(pid int) error {
	for {
		r, err := p.read()
		switch {
		case err != nil:
		case r.call == unix.SYS_CLONE: // in the parent of the one to be started
			if p.Process, err = os.FindProcess(pid); r.object != 0 {
				reap(pid)
				p.Process, err = os.FindProcess(int(r.object))
			}
			return err
		case r.object&unix.CLONE_NEWUSER != 0:
			err = p.writeMappings(pid)
		case p.attr.TimeOffsets != "":
			err = writeProc(pid, "timens_offsets", p.attr.TimeOffsets)
		}
		if err == nil {
			_, err = p.socket.Write([]byte{1})
		}
		if err != nil {
			p.socket.Close() // which ends it
			reap(pid)
			return err
		}
	}
}

// reap waits for a forked process that is not to be started.
func reap(pid int) {
	for err := error(unix.EINTR); err == unix.EINTR; {
		_, err = unix.Wait4(pid, nil, 0, nil)
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
	return fmt.Errorf("start %s: %w", p.attr.Exe.Name(), err)
}

// abandon ends a process that is not to be started after all.
func (p *spawned) abandon() {
	p.socket.Close()
	p.Wait()
}

// read waits for the next report of the child. A failure comes as an error, and
// that it executes, or is dead, as io.EOF.
func (p *spawned) read() (r report, err error) {
	n, err := p.socket.Read((*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:])
	if err == nil && n != int(unsafe.Sizeof(r)) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil || r.errno == 0 {
		return r, err
	}
	act := "become root of the user namespace"
	switch r.call {
	case unix.SYS_DUP3, unix.SYS_CLOSE_RANGE:
		act = fmt.Sprint("pass or close descriptor ", r.object)
	case unix.SYS_SETNS:
		act = fmt.Sprint("join namespace ", p.join[int(r.object)-len(p.attr.Files)-2].File.Name())
	case unix.SYS_UNSHARE:
		act = fmt.Sprintf("create namespaces %#x", r.object)
	case unix.SYS_CLONE:
		act = "fork in the namespaces"
	case unix.SYS_PRCTL:
		act = fmt.Sprint("set process attribute ", r.object)
	case unix.SYS_EXECVEAT:
		act = "execute"
	}
	return r, fmt.Errorf("%s: %w", act, syscall.Errno(r.errno))
}

// writeMappings writes the ID mappings of the new user namespace of process
// pid.
func (p *spawned) writeMappings(pid int) error {
	if p.attr.DenySetgroups {
		if err := writeProc(pid, "setgroups", "deny"); err != nil {
			return err
		}
	}
	if err := writeProc(pid, "uid_map", formatMappings(p.attr.UIDMappings)); err != nil {
		return err
	}
	return writeProc(pid, "gid_map", formatMappings(p.attr.GIDMappings))
}

// formatMappings writes mappings as user_namespaces(7) wants them: "0 100000
// 65536".
func formatMappings(mappings []specs.LinuxIDMapping) string {
	var lines strings.Builder
	for _, m := range mappings {
		fmt.Fprintln(&lines, m.ContainerID, m.HostID, m.Size)
	}
	return lines.String()
}

// writeProc writes a file of process pid, which the kernel wants in one piece.
func writeProc(pid int, name, text string) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, name), []byte(text), 0)
}
