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
	"slices"
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

// An act is what comes of a call that the kernel asks about: 0 lets it go on,
// any other errno is its result, and hold keeps the caller waiting. again, if it
// is not nil, is called when a signal came before the answer: the kernel makes
// such a call anew, and that is no other call.
type act func(call notice) (result unix.Errno, again func())

const hold = unix.Errno(1 << 16)

// supervise runs a program of which each use of one system call, counted over
// all its processes, goes through decide, and returns its status. started, which
// may be nil, is told its number.
func supervise(nr uint32, decide act, started func(pid int), words ...string) (status int, err error) {
	return superviseBy(uninterrupted, nr, decide, started, words...)
}

// superviseBy is supervise with the flags of the listener.
func superviseBy(flags uintptr, nr uint32, decide act, started func(pid int), words ...string) (status int, err error) {
	if err := listen(flags, decide, nr); err != nil {
		return 0, err
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return runSupervised(cmd, started)
}

// uninterrupted is a listener whose answer only SIGKILL comes before. Else a
// signal, as Go sends its own threads, makes the call anew while the first answer
// is on its way: of two that are counted then, one too many.
const uninterrupted = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

// listen lets each use of these system calls, by all that this goroutine starts
// from now on, go through decide.
func listen(flags uintptr, decide act, calls ...uint32) error {
	runtime.LockOSThread() // the filter is this thread's, and its children's
	// Go's fork keeps its processor until the child's execve(2), which may have to
	// be answered.
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for i, nr := range calls { // to the last line, or on
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(calls) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	listener, err := install(filter, flags)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.19
		listener, err = install(filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if err != nil {
		return err
	}
	unix.CloseOnExec(listener)
	go answerCalls(listener, decide)
	return nil
}

// runSupervised runs a program, and returns its status as a shell does.
func runSupervised(cmd *exec.Cmd, started func(pid int)) (status int, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if started != nil {
		started(cmd.Process.Pid)
	}
	var exited *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exited) {
		end := exited.Sys().(syscall.WaitStatus)
		if end.Signaled() {
			return 128 + int(end.Signal()), nil
		}
		return end.ExitStatus(), nil
	} else if err != nil {
		return 0, err
	}
	return 0, nil
}

// answerCalls asks decide about each call.
func answerCalls(listener int, decide act) {
	for {
		var call notice
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno == unix.EINTR || errno == unix.ENOENT {
			continue // a signal came, or the caller has died
		} else if errno != 0 {
			return // nobody is left who could call
		}
		go func() { // another caller need not wait
			reply := answer{id: call.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			result, again := decide(call)
			if result == hold {
				return
			} else if result != 0 {
				reply = answer{id: call.id, errno: -int32(result)}
			}
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply)))
			if errno == unix.ENOENT && again != nil {
				again()
			}
		}()
	}
}

// A fault is one system call that fails: its Nth use with EPERM, or as in
// "mount=EINVAL", or, when N is 0, all with ENOSYS. "sendto" are requests by
// netlink for a change, "sendto=GET" those for knowledge, which fail from the Nth
// on; "cgroup" is write(2) to a file of a cgroup.
type fault struct {
	name, word string
	nr         uint32
	nth        int
	used       atomic.Int32
}

// newFault reads NAME or NAME=WORD, as in "mount=EINVAL": the word tells uses of
// one call apart, or what the kernel is to answer.
func newFault(name string) (*fault, error) {
	f := &fault{}
	f.name, f.word, _ = strings.Cut(name, "=")
	nr, ok := denials[f.name]
	if !ok {
		return nil, fmt.Errorf("fail %s: not in the list", f.name)
	}
	f.nr = nr
	return f, nil
}

// is tells whether a call is a use of the fault's.
func (f *fault) is(call notice) bool {
	switch {
	case call.nr != int32(f.nr):
		return false
	case f.name == "sendto":
		return asksOnly(call) == (f.word == "GET")
	case f.name == "cgroup":
		return toCgroup(call)
	case f.name == "pipe2": // which this program needs to start another
		return !isThreadOf(call.pid, os.Getpid())
	}
	return true
}

// decide is the fault's act.
func (f *fault) decide(call notice) (unix.Errno, func()) {
	if !f.is(call) {
		return 0, nil
	}
	again := func() { f.used.Add(-1) }
	switch now := int(f.used.Add(1)); {
	case f.nth == 0:
		return unix.ENOSYS, again
	case now != f.nth && (now < f.nth || f.word != "GET"): // who asks may ask again
		return 0, again
	case f.word == "EINVAL":
		return unix.EINVAL, again
	}
	return unix.EPERM, again
}

// happened tells whether the program came to it.
func (f *fault) happened() bool { return int(f.used.Load()) >= max(1, f.nth) }

// fail runs a program with a fault. Its status is the program's.
func fail(args []string) error {
	f, err := newFault(args[0])
	if err != nil {
		return err
	}
	if f.nth, err = strconv.Atoi(args[1]); err != nil {
		return err
	}
	status, err := supervise(f.nr, f.decide, nil, args[2:]...)
	return end(status, err, f.happened())
}

// end ends this program with the status of the one that was supervised, or with
// never when that did not come to what was waited for.
func end(status int, err error, came bool) error {
	if err != nil {
		return err
	}
	if !came {
		status = never
	}
	os.Exit(status)
	return nil
}

// refuse runs a program once to count its uses of some system calls, and then
// again and again: of each call the last use fails, then one STRIDE before it, and
// so on, and at last all, as on a kernel without it. Of up to ten uses each fails
// once. It says "CALL is refused" when each time the program ended as its contract
// says, before the command ran; else, how it ended instead, or that the call is
// not used. One process does all: another for each run would take as long as the
// run.
func refuse(args []string) error {
	var faults []*fault
	var calls []uint32
	stride, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	names, words := strings.Split(args[1], ","), args[2:]
	for _, name := range names {
		f, err := newFault(name)
		if err != nil {
			return err
		}
		faults, calls = append(faults, f), append(calls, f.nr)
	}
	var current atomic.Pointer[fault] // nil: they are counted
	if err := listen(uninterrupted, func(call notice) (unix.Errno, func()) {
		if f := current.Load(); f != nil {
			return f.decide(call)
		}
		for _, f := range faults {
			if f.is(call) {
				f.used.Add(1)
				return 0, func() { f.used.Add(-1) }
			}
		}
		return 0, nil
	}, calls...); err != nil {
		return err
	}
	switch status, err := runSupervised(exec.Command(words[0], words[1:]...), nil); {
	case err != nil:
		return err
	case status != 0: // then it has not come to all its uses
		return fmt.Errorf("refuse: with nothing refused the program ended with status %d", status)
	}
	for i, f := range faults {
		uses := int(f.used.Load())
		if uses == 0 {
			fmt.Println(names[i], "is not used")
			continue
		}
		current.Store(f)
		stride := stride
		if uses <= 10 {
			stride = 1
		}
		for f.nth = uses; ; f.nth = max(0, f.nth-stride) {
			f.used.Store(0)
			if err := refusal(names[i], f, words); err != nil {
				return err
			}
			if f.nth == 0 {
				break
			}
		}
		fmt.Println(names[i], "is refused")
	}
	return nil
}

// refusal is one run of refuse; its error says what was not as it should be.
func refusal(name string, f *fault, words []string) error {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	status, err := runSupervised(cmd, nil)
	if err != nil {
		return err
	}
	said := 0
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "container: warning: ") {
			said++
		}
	}
	if f.happened() && (status != 125 || said != 1 || stdout.Len() > 0) {
		return fmt.Errorf("%s %d: status %d, said %q and %q", name, f.nth, status, stdout.String(), stderr.String())
	}
	return nil
}

// unwaited runs a program whose last write to a file of a cgroup fails, and tells
// whether it then removes the cgroup of a process that is not dead and waited for:
// such a cgroup stays, see rmdir in cgroups(7).
func unwaited(args []string) error {
	var uses, last atomic.Int32
	var came, early atomic.Bool
	if err := listen(uninterrupted, func(call notice) (unix.Errno, func()) {
		switch {
		case call.nr == unix.SYS_UNLINKAT && last.Load() > 0 && hasChildren(call.pid):
			early.Store(true)
		case call.nr == unix.SYS_WRITE && toCgroup(call):
			if n := uses.Add(1); n == last.Load() {
				came.Store(true)
				return unix.EPERM, func() { uses.Add(-1) }
			}
			return 0, func() { uses.Add(-1) }
		}
		return 0, nil
	}, unix.SYS_WRITE, unix.SYS_UNLINKAT); err != nil {
		return err
	}
	for range 2 { // first all its writes are counted
		last.Store(uses.Swap(0))
		if _, err := runSupervised(exec.Command(args[0], args[1:]...), nil); err != nil {
			return err
		}
	}
	if !came.Load() {
		return errors.New("unwaited: nothing was refused")
	}
	fmt.Println(map[bool]string{false: "waited", true: "it is still there"}[early.Load()])
	return nil
}

// hasChildren tells whether a thread's process has children, zombies included.
func hasChildren(tid uint32) bool {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tid))
	return slices.ContainsFunc(lists, func(list string) bool {
		children, _ := os.ReadFile(list)
		return len(children) > 0
	})
}

// closed runs a program that gets EPERM when it opens FILE by that name, once at
// least.
func closed(args []string) error {
	var came atomic.Bool
	status, err := supervise(unix.SYS_OPENAT, func(call notice) (unix.Errno, func()) {
		if textAt(call.pid, call.args[1]) != args[0] {
			return 0, nil
		}
		came.Store(true)
		return unix.EPERM, nil
	}, nil, args[1:]...)
	return end(status, err, came.Load())
}

// swapless runs a program as on a kernel that does not count swap: the files for
// that limit are not there.
func swapless(args []string) error {
	status, err := supervise(unix.SYS_OPENAT, func(call notice) (unix.Errno, func()) {
		switch filepath.Base(textAt(call.pid, call.args[1])) {
		case "memory.swap.max", "memory.memsw.limit_in_bytes":
			return unix.ENOENT, nil
		}
		return 0, nil
	}, nil, args...)
	return end(status, err, true)
}

// killed runs a program that SIGKILL ends at its Nth use of one system call, which
// is not made any more. Its children make theirs.
func killed(args []string) error {
	nr, ok := denials[args[0]]
	if !ok {
		return fmt.Errorf("killed %s: not in the list", args[0])
	}
	nth, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var number, n atomic.Int32
	status, err := supervise(nr, func(call notice) (unix.Errno, func()) {
		pid := int(number.Load())
		if pid == 0 || !isThreadOf(call.pid, pid) { // 0: this program is about to start it
			return 0, nil
		}
		if int(n.Add(1)) == nth {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return hold, nil
		}
		return 0, func() { n.Add(-1) }
	}, func(pid int) { number.Store(int32(pid)) }, args[2:]...)
	return end(status, err, int(n.Load()) >= nth || status != 0)
}

// early runs a program "PROG run CMD…" and sends it a signal while its command
// is about to start: the call of execve(2) for CMD never returns.
func early(args []string) error {
	sig, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	command := filepath.Base(args[3])
	number := make(chan int, 1)
	var came atomic.Bool
	// Where PROG is itself what is about to become CMD, the signal must reach it.
	status, err := superviseBy(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, unix.SYS_EXECVE, func(call notice) (unix.Errno, func()) {
		if filepath.Base(textAt(call.pid, call.args[0])) != command {
			return 0, nil
		}
		if came.CompareAndSwap(false, true) {
			_ = syscall.Kill(<-number, syscall.Signal(sig))
		}
		return hold, nil
	}, func(pid int) { number <- pid }, args[1:]...)
	return end(status, err, came.Load())
}

// late runs a program whose own first mkdirat(2) fails, but not before all that
// it has started waits for something. What waits for the wrong thing has by then
// run the command.
func late(args []string) error {
	number := make(chan int, 1)
	var came atomic.Bool
	status, err := supervise(unix.SYS_MKDIRAT, func(call notice) (unix.Errno, func()) {
		pid := <-number
		number <- pid
		if !isThreadOf(call.pid, pid) || !came.CompareAndSwap(false, true) {
			return 0, nil
		}
		for quiet := 0; quiet < 5; time.Sleep(10 * time.Millisecond) {
			quiet++
			if !childrenSleep(pid) {
				quiet = 0
			}
		}
		return unix.EPERM, func() { came.Store(false) }
	}, func(pid int) { number <- pid }, args...)
	return end(status, err, came.Load())
}

// interrupted runs a program in whose network namespace an interface comes and goes
// before each of its first N calls of recvfrom(2). A list that the kernel sends in
// parts then has holes, and says so, see NLM_F_DUMP_INTR in netlink(7).
func interrupted(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	name, err := unix.BytePtrFromString("comesandgoes0")
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var calls atomic.Int32
	status, err := supervise(unix.SYS_RECVFROM, func(notice) (unix.Errno, func()) {
		if int(calls.Add(1)) > n {
			return 0, nil
		}
		for _, change := range []uintptr{unix.SIOCBRADDBR, unix.SIOCBRDELBR} {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), change, uintptr(unsafe.Pointer(name))); errno != 0 {
				return errno, nil
			}
		}
		return 0, func() { calls.Add(-1) }
	}, nil, args[1:]...)
	return end(status, err, true)
}

// isThreadOf tells whether tid is a thread of process pid.
func isThreadOf(tid uint32, pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", pid, tid))
	return err == nil
}

// childrenSleep tells whether each thread of each child of pid sleeps, see
// "state" in proc_pid_stat(5).
func childrenSleep(pid int) bool {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(children)) {
			threads, _ := filepath.Glob("/proc/" + child + "/task/*/stat")
			for _, thread := range threads {
				stat, _ := os.ReadFile(thread)
				if _, state, ok := strings.Cut(string(stat), ") "); ok && !strings.HasPrefix(state, "S") && !strings.HasPrefix(state, "Z") {
					return false
				}
			}
		}
	}
	return true
}

// textAt reads a string from the memory of another process.
func textAt(pid uint32, address uint64) string {
	text, _, _ := strings.Cut(string(memory(pid, address, 256)), "\x00")
	return text
}

// toCgroup tells of write(2) whether it is to a file of a cgroup.
func toCgroup(call notice) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(fmt.Sprintf("/proc/%d/fd/%d", call.pid, call.args[0]), &fs)
	return err == nil && (fs.Type == unix.CGROUP2_SUPER_MAGIC || fs.Type == unix.CGROUP_SUPER_MAGIC)
}

// asksOnly tells of sendto(2) whether the message is one of rtnetlink(7) that
// changes nothing: of each four types, the third.
func asksOnly(call notice) bool {
	header := memory(call.pid, call.args[1], 16)
	return len(header) == 16 && header[4]&3 == unix.RTM_GETLINK&3
}

// memory reads at most n bytes from the memory of another process.
func memory(pid uint32, address uint64, n int) []byte {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	bytes := make([]byte, n)
	n, _ = f.ReadAt(bytes, int64(address))
	return bytes[:n]
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
		unix.CLONE_NEWNET|unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP, unix.EPERM, args)
}

// cgroupless becomes a program that gets any new namespace but one.
func cgroupless(args []string) error {
	return withoutNamespaces(unix.CLONE_NEWCGROUP, unix.EPERM, args)
}

// userless becomes a program on a kernel that was built without user namespaces:
// the flag is unknown to it, and it has no uid_map. (It finds an empty one.)
func userless(args []string) error {
	if err := ownMounts(0); err != nil {
		return err
	}
	idMap := fmt.Sprintf("/proc/%d/uid_map", os.Getpid())
	if err := unix.Mount("/dev/null", idMap, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cover %s: %w", idMap, err)
	}
	return withoutNamespaces(unix.CLONE_NEWUSER, unix.EINVAL, args)
}

// withoutNamespaces becomes a program for which unshare(2) and clone(2) with one
// of flags fail with an error. clone3(2), whose flags a filter cannot read, is not
// there, as on old kernels.
func withoutNamespaces(flags uint32, refusal unix.Errno, args []string) error {
	const firstArgument = 16 // in struct seccomp_data; the lower half, on a little-endian machine
	runtime.LockOSThread()
	if _, err := install([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jt: 5, Jf: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_UNSHARE, Jt: 1, Jf: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jt: 0, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: firstArgument},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: flags, Jt: 0, Jf: 2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(refusal)},
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
