//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// denials are the system calls that deny, fail and refuse know.
var denials = map[string]uint32{
	"cgroup":        unix.SYS_WRITE, // of fail: only to a file of a cgroup
	"clone":         unix.SYS_CLONE,
	"connect":       unix.SYS_CONNECT,
	"flock":         unix.SYS_FLOCK,
	"openat":        unix.SYS_OPENAT,
	"pipe2":         unix.SYS_PIPE2,
	"pidfd":         unix.SYS_PIDFD_SEND_SIGNAL,
	"unlinkat":      unix.SYS_UNLINKAT,
	"write":         unix.SYS_WRITE,
	"mount":         unix.SYS_MOUNT,
	"pivot_root":    unix.SYS_PIVOT_ROOT,
	"sethostname":   unix.SYS_SETHOSTNAME,
	"umount2":       unix.SYS_UMOUNT2,
	"mount_setattr": unix.SYS_MOUNT_SETATTR,
	"unshare":       unix.SYS_UNSHARE,
	"socket":        unix.SYS_SOCKET,
	"chdir":         unix.SYS_CHDIR,
	"fchownat":      unix.SYS_FCHOWNAT,
	"mkdirat":       unix.SYS_MKDIRAT,
	"sendto":        unix.SYS_SENDTO,
	"setgid":        unix.SYS_SETGID,
	"setgroups":     unix.SYS_SETGROUPS,
	"setuid":        unix.SYS_SETUID,
	"symlinkat":     unix.SYS_SYMLINKAT,
}

// deny becomes a program for which one system call always fails with EPERM:
// a fault that no machine has by itself. See seccomp(2).
func deny(args []string) error {
	nr, ok := denials[args[0]]
	if !ok {
		return fmt.Errorf("deny %s: not in the list", args[0])
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},                 // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: 0, Jf: 1}, // is it nr?
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread() // the filter and execve(2) must be the same thread's
	if _, err := install(filter, 0); err != nil {
		return err
	}
	return become(args[1:])
}

// unsent becomes a program that SIGSYS ends when it, or what it starts, sends
// SIGNAL to anybody. Whether two signals of a kind arrive as two is chance: while
// the first is pending the second is lost, see signal(7). That one is sent is not.
func unsent(args []string) error {
	sig, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("unsent %s: not a signal's number", args[0])
	}
	var filter []unix.SockFilter
	for nr, arg := range map[uint32]uint32{ // where the call has the signal
		unix.SYS_KILL: 1, unix.SYS_TKILL: 1, unix.SYS_TGKILL: 2, unix.SYS_PIDFD_SEND_SIGNAL: 1,
		unix.SYS_RT_SIGQUEUEINFO: 1, unix.SYS_RT_TGSIGQUEUEINFO: 2,
	} {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 3},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*arg}, // seccomp_data's args
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(sig), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	runtime.LockOSThread() // the filter and execve(2) must be the same thread's
	if _, err := install(filter, 0); err != nil {
		return err
	}
	return become(args[1:])
}

// capabilities are those that without knows.
var capabilities = map[string]uintptr{"sys_admin": unix.CAP_SYS_ADMIN}

// without becomes a program that lacks one capability: what is not in the
// bounding set is lost in execve(2), also for root. See capabilities(7).
func without(args []string) error {
	capability, ok := capabilities[args[0]]
	if !ok {
		return fmt.Errorf("without %s: not in the list", args[0])
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
		return fmt.Errorf("drop %s from the bounding set: %w", args[0], err)
	}
	return become(args[1:])
}

// become replaces probe by a program, found in PATH.
func become(words []string) error {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", path, unix.Exec(path, words, os.Environ()))
}
