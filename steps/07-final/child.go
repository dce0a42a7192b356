//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// report is what the child writes to its end of the socket: a system call, what
// it was about, and how it failed. Without errno it asks for the parent's part.
type report struct{ call, object, errno uintptr }

// child is what the forked process uses. Nothing of it is allocated or freed
// after the fork.
type child struct {
	sources     []uintptr // descriptors, by the number that they get: those that
	exe, socket uintptr   // stay open in execve(2), these two, the namespaces
	kinds       []uintptr // of the namespaces
	tasks       uintptr   // the first of the files that joinCgroup would write to
	flags       uintptr   // of the namespaces to create
	asRoot      bool      // of a user namespace
	forks       bool      // again: what has a new PID or time namespace are children
	deathSignal uintptr
	argv, envv  []*byte
	clone       [11]uint64 // struct clone_args: flags at 0, the signal at 4, the cgroup at 10
	all, before uint64     // signals
	scratch     uint64
	empty       [1]byte // a path
	nought      byte
}

// fork makes the child, which never returns from here. Go's signal handlers,
// as for its own SIGURG, must not run in it: until it has lost them, by
// CLONE_CLEAR_SIGHAND, signals are blocked. What is ignored stays so, as in
// nohup(1).
//
//go:norace
//go:nosplit
func (c *child) fork() (pid uintptr, errno syscall.Errno) {
	c.all = ^uint64(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.all)), uintptr(unsafe.Pointer(&c.before)), 8, 0, 0)
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.before)), 0, 8, 0, 0)
	if pid == 0 && errno == 0 {
		c.enter()
		c.execute()
	}
	return pid, errno
}

// enter brings the child into all its namespaces.
//
//go:norace
//go:nosplit
func (c *child) enter() {
	c.protect()
	for i, source := range c.sources {
		flags := uintptr(unix.O_CLOEXEC)
		if uintptr(i) < c.exe {
			flags = 0
		}
		c.try(unix.SYS_DUP3, source, uintptr(i), flags)
	}
	c.socket = c.exe + 1
	// What else the host has open is no business of the inside, not even before
	// execve(2). And a socket kept open here would hide from another spawn that
	// its child is gone.
	c.try(unix.SYS_CLOSE_RANGE, uintptr(len(c.sources)), ^uintptr(0), 0)
	for i, kind := range c.kinds {
		c.try(unix.SYS_SETNS, c.exe+2+uintptr(i), kind, 0)
	}
	if c.flags&unix.CLONE_NEWUSER != 0 {
		c.try(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0)
		c.report(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0)
		c.await()
	}
	if c.asRoot {
		c.becomeRoot()
	}
	if flags := c.flags &^ unix.CLONE_NEWUSER; flags != 0 {
		c.try(unix.SYS_UNSHARE, flags, 0, 0)
	}
	if c.flags&unix.CLONE_NEWTIME != 0 {
		c.report(unix.SYS_UNSHARE, unix.CLONE_NEWTIME, 0)
		c.await()
	}
	var pid uintptr
	if c.forks {
		// CLONE_PARENT makes it a sister, which the runtime can wait for, and
		// after it an engine that is the subreaper.
		pid = c.try(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0)
		if pid == 0 {
			return
		}
	}
	c.report(unix.SYS_CLONE, pid, 0)
	if c.forks {
		c.exit()
	}
}

// execute waits for start and becomes the program.
//
//go:norace
//go:nosplit
func (c *child) execute() {
	// After the change of user, which forgets it. When the parent died before,
	// await ends the child.
	c.try(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, c.deathSignal, 0)
	c.await()
	for fd := c.tasks; fd < uintptr(len(c.sources)); fd++ {
		c.try(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&c.nought)), 1)
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, c.exe, uintptr(unsafe.Pointer(&c.empty)),
		uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envv[0])), unix.AT_EMPTY_PATH, 0)
	c.fail(unix.SYS_EXECVEAT, 0, errno)
}

// protect keeps the processes of a namespace that is joined from our memory and
// from /proc/PID/fd, as long as we are still the runtime: CVE-2016-9962. It
// ends with execve(2), unless root of the user namespace may not read the
// executable: then the kernel protects the process on, see
// PR_SET_DUMPABLE(2const).
//
//go:norace
//go:nosplit
func (c *child) protect() {
	if len(c.kinds) > 0 {
		c.try(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0)
	}
}

// becomeRoot takes the ids 0 of the user namespace; until then ours are those
// of the outside. Where setgroups(2) is denied, the groups of who started the
// runtime stay: see user_namespaces(7).
//
//go:norace
//go:nosplit
func (c *child) becomeRoot() {
	if _, _, errno := syscall.RawSyscall6(unix.SYS_SETGROUPS, 0, 0, 0, 0, 0, 0); errno != 0 && errno != unix.EPERM {
		c.fail(unix.SYS_SETGROUPS, 0, errno)
	}
	c.try(unix.SYS_SETRESGID, 0, 0, 0)
	c.try(unix.SYS_SETRESUID, 0, 0, 0)
	c.protect() // a change of ids makes it what fs.suid_dumpable says
}

// try makes a system call that must not fail, and returns its result.
//
//go:norace
//go:nosplit
func (c *child) try(call, a1, a2, a3 uintptr) uintptr {
	result, _, errno := syscall.RawSyscall6(call, a1, a2, a3, 0, 0, 0)
	if errno != 0 {
		c.fail(call, a1, errno)
	}
	return result
}

// fail reports what failed, and ends the child.
//
//go:norace
//go:nosplit
func (c *child) fail(call, object uintptr, errno syscall.Errno) {
	c.report(call, object, errno)
	c.exit()
}

// report tells the parent.
//
//go:norace
//go:nosplit
func (c *child) report(call, object uintptr, errno syscall.Errno) {
	r := report{call, object, uintptr(errno)}
	syscall.RawSyscall6(unix.SYS_WRITE, c.socket, uintptr(unsafe.Pointer(&r)), unsafe.Sizeof(r), 0, 0, 0)
}

// await waits for a byte from the parent, and ends with it.
//
//go:norace
//go:nosplit
func (c *child) await() {
	if n, _, _ := syscall.RawSyscall6(unix.SYS_READ, c.socket, uintptr(unsafe.Pointer(&c.scratch)), 1, 0, 0, 0); n != 1 {
		c.exit()
	}
}

// exit ends the child.
//
//go:norace
//go:nosplit
func (c *child) exit() {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0)
	}
}
