//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// never is the status of fail when the program did not make that many calls.
const never = 99

// A notice is struct seccomp_notif, an answer struct seccomp_notif_resp, see
// seccomp_unotify(2).
type notice struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}
type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// fail runs a program of which the Nth use of one system call fails with EPERM,
// counted over all its processes. Its status is the program's.
func fail(args []string) error {
	nr, ok := denials[args[0]]
	if !ok {
		return fmt.Errorf("fail %s: not in the list", args[0])
	}
	nth, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is this thread's, and its children's
	listener, err := install([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		return err
	}
	unix.CloseOnExec(listener)
	var failed atomic.Bool
	counts := func(notice) bool { return true }
	if args[0] == "cgroup" {
		counts = toCgroup
	}
	go answerCalls(listener, nth, counts, &failed)

	cmd := exec.Command(args[2], args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if !failed.Load() {
		os.Exit(never)
	}
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		os.Exit(exited.ExitCode())
	}
	return err
}

// answerCalls lets every call go on but the nth that counts, and sets failed there.
func answerCalls(listener, nth int, counts func(notice) bool, failed *atomic.Bool) {
	for n := 1; ; n++ {
		var call notice
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno == unix.EINTR || errno == unix.ENOENT {
			n-- // a signal came, or the caller has died
			continue
		} else if errno != 0 {
			return // nobody is left who could call
		}
		reply := answer{id: call.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		counted := counts(call)
		if !counted {
			n--
		} else if n == nth {
			settle(call.pid)
			reply = answer{id: call.id, errno: -int32(unix.EPERM)}
			failed.Store(true)
		}
		// A signal, as Go sends itself, interrupts the call that waits for this:
		// the kernel makes it anew, and it is no other call.
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply))); errno == unix.ENOENT && counted {
			failed.Store(failed.Load() && n != nth)
			n--
		}
	}
}

// toCgroup tells of a write(2) whether it is to a file of a cgroup.
func toCgroup(call notice) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(fmt.Sprintf("/proc/%d/fd/%d", call.pid, call.args[0]), &fs)
	return err == nil && (fs.Type == unix.CGROUP2_SUPER_MAGIC || fs.Type == unix.CGROUP_SUPER_MAGIC)
}

// settle waits, as long as the caller waits for its answer, until what it has
// started sleeps too: who does not wait for the caller then runs on to its
// end. It gives up after a while, as that may be never.
func settle(caller uint32) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", caller))
	_, tgid, _ := strings.Cut(string(status), "Tgid:\t")
	parent, _, _ := strings.Cut(tgid, "\n")
	asleep := 0
	for deadline := time.Now().Add(2 * time.Second); asleep < 3 && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
		asleep++
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			stat, _ := os.ReadFile(path) // 17 (a name) S 1 …
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if len(fields) > 1 && fields[1] == parent && (fields[0] == "R" || fields[0] == "D") {
				asleep = 0
			}
		}
	}
}

// install puts a seccomp filter on this thread.
func install(filter []unix.SockFilter, flags uintptr) (fd int, err error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("set no_new_privs: %w", err)
	}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, fmt.Errorf("install seccomp filter: %w", errno)
	}
	return int(r), nil
}

// unshareless becomes a program that gets no new namespace, though it may do
// all else.
func unshareless(args []string) error {
	return withoutNamespaces(unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWPID|unix.CLONE_NEWIPC|
		unix.CLONE_NEWNET|unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP, args)
}

// cgroupless becomes a program that gets any new namespace but one.
func cgroupless(args []string) error { return withoutNamespaces(unix.CLONE_NEWCGROUP, args) }

// withoutNamespaces becomes a program for which unshare(2) and clone(2) with one
// of flags fail with EPERM. clone3(2), whose flags a filter cannot read, is not
// there, as on old kernels.
func withoutNamespaces(flags uint32, args []string) error {
	const firstArgument = 16 // in struct seccomp_data; the lower half, on a little-endian machine
	runtime.LockOSThread()
	if _, err := install([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jt: 5, Jf: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_UNSHARE, Jt: 1, Jf: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jt: 0, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: firstArgument},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: flags, Jt: 0, Jf: 2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, 0); err != nil {
		return err
	}
	return become(args)
}

// as becomes a program that runs as another user, in no group but his own and
// the one that is named.
func as(args []string) error {
	user, group, member := strings.Cut(args[0], ":")
	id, err := strconv.Atoi(user)
	if err != nil {
		return err
	}
	var groups []int
	if member {
		gid, err := strconv.Atoi(group)
		if err != nil {
			return err
		}
		groups = append(groups, gid)
	}
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
		return fmt.Errorf("become user %d: %w", id, err)
	}
	return become(args[1:])
}

// block becomes a program that blocks SIGTERM: execve(2) keeps the mask.
func block(args []string) error {
	runtime.LockOSThread()
	var set unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGTERM - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return fmt.Errorf("block SIGTERM: %w", err)
	}
	return become(args)
}
