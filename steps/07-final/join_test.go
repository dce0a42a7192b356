//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary is what the tests spawn, with the part to play in Args[1].
func init() {
	if len(os.Args) < 2 || os.Args[0] != "joined" {
		return
	}
	play := map[string]func([]string){"wait": playWait, "exit": playExit, "orphan": playOrphan, "spy": playSpy, "console": playConsole}[os.Args[1]]
	play(os.Args[2:])
	os.Exit(0)
}

// playWait tells that it runs, and waits for the end of its input.
func playWait([]string) {
	fmt.Println("runs")
	io.Copy(io.Discard, os.Stdin)
}

// playExit ends with the status of its argument.
func playExit(args []string) {
	status, _ := strconv.Atoi(args[0])
	os.Exit(status)
}

// playOrphan spawns a process, whose number it prints, and waits to be killed.
func playOrphan(args []string) {
	runtime.LockOSThread()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	p, err := spawn(&spawnAttr{New: unix.CLONE_NEWPID, Exe: self, Args: []string{"joined", "wait"},
		Files: []*os.File{os.Stdin, os.Stderr, os.Stderr}, Pdeathsig: unix.SIGKILL})
	if err == nil && args[0] == "started" {
		err = p.start()
	}
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Pid)
	select {}
}

// playSpy tries to look into the process of its argument.
func playSpy(args []string) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		fmt.Println("unshare:", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Println("private:", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Println("mount proc:", err)
	}
	pid, _ := strconv.Atoi(args[0])
	dir := "/proc/" + args[0]
	_, err := os.ReadDir(dir + "/fd")
	fmt.Println("fd:", reason(err))
	_, err = os.Readlink(dir + "/exe")
	fmt.Println("exe:", reason(err))
	_, err = os.Open(dir + "/mem")
	fmt.Println("mem:", reason(err))
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0)
	fmt.Println("ptrace:", reason(errno))
}

// reason returns the name of the errno in err.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return unix.ErrnoName(errno)
	}
	return "possible"
}

var namespaceKinds = []struct {
	name string
	kind uintptr
}{
	{"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID},
	{"mnt", unix.CLONE_NEWNS}, {"cgroup", unix.CLONE_NEWCGROUP}, {"time", unix.CLONE_NEWTIME}, {"user", unix.CLONE_NEWUSER},
}

const allKinds = unix.CLONE_NEWUSER | allButUser
const allButUser = unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

var mappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// needsRootInSandbox skips a test that would change this machine.
func needsRootInSandbox(t testing.TB) {
	if kind := os.Getenv("SANDBOX_KIND"); kind == "" {
		t.Skip(`it needs a sandbox: go test -exec "$PWD/.build/harness exec", see harness/README.md`)
	}
	if idMap, _ := os.ReadFile("/proc/self/uid_map"); os.Geteuid() != 0 || !strings.HasSuffix(string(idMap), " 4294967295\n") {
		t.Skip("it needs the machine's root")
	}
}

// part is a process of the test binary that plays a part.
type part struct {
	*spawned
	stdin  *os.File
	stdout *bufio.Reader
}

// cast spawns the test binary, without starting it.
func cast(t testing.TB, attr spawnAttr, args ...string) (*part, error) {
	t.Helper()
	if attr.Exe == nil {
		exe, err := os.Open("/proc/self/exe")
		require.NoError(t, err)
		t.Cleanup(func() { exe.Close() })
		attr.Exe = exe
	}
	attr.Args = append([]string{"joined"}, args...)
	in, stdin, err := os.Pipe()
	require.NoError(t, err)
	stdout, out, err := os.Pipe()
	require.NoError(t, err)
	attr.Files = append([]*os.File{in, out, os.Stderr}, attr.Files...)
	p, err := spawn(&attr)
	in.Close()
	out.Close()
	t.Cleanup(func() { stdin.Close(); stdout.Close() })
	if err != nil {
		return nil, err
	}
	// The first process of a PID namespace does not end before the others are
	// reaped: a test that fails must not leave one.
	t.Cleanup(func() { p.Kill(); p.Wait() })
	return &part{p, stdin, bufio.NewReader(stdout)}, nil
}

// perform starts p, and returns when it runs.
func (p *part) perform(t testing.TB) {
	t.Helper()
	require.NoError(t, p.start())
	line, err := p.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "runs\n", line)
}

// end lets p end, which it does with status 0.
func (p *part) end(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	state, err := p.Wait()
	require.NoError(t, err)
	require.Equal(t, "exit status 0", state.String())
}

// hold makes namespaces, and keeps them until the test ends.
func hold(t testing.TB, flags uintptr) *part {
	t.Helper()
	attr := spawnAttr{New: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		attr.UIDMappings, attr.GIDMappings = mappings, mappings
	}
	p, err := cast(t, attr, "wait")
	require.NoError(t, err)
	p.perform(t)
	t.Cleanup(func() { p.end(t) })
	return p
}

// allNamespaces opens those of process pid that flags name.
func allNamespaces(t testing.TB, pid int, flags uintptr) (fds []namespaceFD) {
	t.Helper()
	for _, ns := range namespaceKinds {
		if flags&ns.kind != 0 {
			file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
			require.NoError(t, err)
			t.Cleanup(func() { file.Close() })
			fds = append(fds, namespaceFD{ns.kind, file})
		}
	}
	return fds
}

// namesOf returns the namespaces of process pid: "uts:[4026531838]".
func namesOf(t testing.TB, pid int) (names []string) {
	t.Helper()
	for _, ns := range namespaceKinds {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
		require.NoError(t, err)
		names = append(names, name)
	}
	return names
}

// expected is namesOf a process of ours, with those that flags name from pid.
func expected(t testing.TB, pid int, flags uintptr) []string {
	names, theirs := namesOf(t, os.Getpid()), namesOf(t, pid)
	for i, ns := range namespaceKinds {
		if flags&ns.kind != 0 {
			names[i] = theirs[i]
		}
	}
	return names
}

// status returns fields of /proc/PID/status.
func status(t testing.TB, pid int, names ...string) (values []string) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for _, name := range names {
		_, rest, found := strings.Cut(string(data), "\n"+name+":")
		require.True(t, found, name)
		value, _, _ := strings.Cut(rest, "\n")
		values = append(values, strings.Join(strings.Fields(value), " "))
	}
	return values
}

// noChildren demands that this process has no child, dead or alive.
func noChildren(t testing.TB) {
	t.Helper()
	_, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
	require.Equal(t, unix.ECHILD, err)
}

func TestSpawnJoins(t *testing.T) {
	needsRootInSandbox(t)
	require.NoError(t, syscall.Setgroups([]int{4242}))
	defer syscall.Setgroups(nil)
	for _, held := range []struct {
		name  string
		flags uintptr
	}{{"of the host's user namespace", allButUser}, {"of a user namespace", allKinds}} {
		t.Run(held.name, func(t *testing.T) {
			holder := hold(t, held.flags)
			for i, name := range namesOf(t, holder.Pid) {
				if held.flags&namespaceKinds[i].kind != 0 {
					require.NotEqual(t, namesOf(t, os.Getpid())[i], name, "the holder's are new")
				}
			}
			tries := []uintptr{held.flags, held.flags &^ unix.CLONE_NEWPID}
			for _, ns := range namespaceKinds {
				if held.flags&ns.kind != 0 {
					tries = append(tries, ns.kind, ns.kind|held.flags&unix.CLONE_NEWUSER)
				}
			}
			for _, flags := range tries {
				p, err := cast(t, spawnAttr{Join: allNamespaces(t, holder.Pid, flags)}, "wait")
				require.NoError(t, err, "%#x", flags)
				require.Empty(t, gocmp.Diff(expected(t, holder.Pid, flags), namesOf(t, p.Pid)), "%#x, before start", flags)
				p.perform(t)
				require.Empty(t, gocmp.Diff(expected(t, holder.Pid, flags), namesOf(t, p.Pid)), "%#x", flags)
				ids, groups := "0 0 0 0", "4242"
				if flags&unix.CLONE_NEWUSER != 0 {
					ids, groups = "100000 100000 100000 100000", ""
				}
				require.Empty(t, gocmp.Diff(
					[]string{strconv.Itoa(os.Getpid()), ids, ids, groups, "0000000000000000"},
					status(t, p.Pid, "PPid", "Uid", "Gid", "Groups", "SigBlk")), "%#x", flags)
				p.end(t)
			}
		})
	}
	noChildren(t)
}

func TestSpawnCreatesWhatItDoesNotJoin(t *testing.T) {
	needsRootInSandbox(t)
	host := hold(t, unix.CLONE_NEWNET)
	for _, joined := range []uintptr{0, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET, unix.CLONE_NEWNET} {
		for _, created := range []uintptr{allKinds &^ joined, allButUser &^ joined, unix.CLONE_NEWUTS, unix.CLONE_NEWTIME &^ joined, unix.CLONE_NEWPID &^ joined, unix.CLONE_NEWCGROUP} {
			attr := spawnAttr{New: created}
			ids := "0 0 0 0"
			owner := namesOf(t, os.Getpid())[7]
			if joined == unix.CLONE_NEWNET { // owned by the host's user namespace
				attr.Join = allNamespaces(t, host.Pid, joined)
			} else if joined != 0 {
				holder := hold(t, joined)
				attr.Join = allNamespaces(t, holder.Pid, joined)
				owner = namesOf(t, holder.Pid)[7]
			}
			if (joined|created)&unix.CLONE_NEWUSER != 0 {
				ids = "100000 100000 100000 100000"
			}
			if created&unix.CLONE_NEWUSER != 0 {
				attr.UIDMappings, attr.GIDMappings = mappings, mappings
			}
			if created&unix.CLONE_NEWTIME != 0 {
				attr.TimeOffsets = "boottime 1000 0\n"
			}
			p, err := cast(t, attr, "wait")
			require.NoError(t, err, "join %#x, create %#x", joined, created)
			p.perform(t)
			ours, theirs := namesOf(t, os.Getpid()), namesOf(t, p.Pid)
			if created&unix.CLONE_NEWUSER != 0 {
				owner = theirs[7]
			}
			for i, ns := range namespaceKinds {
				require.Equal(t, (joined|created)&ns.kind == 0, ours[i] == theirs[i], "%s: join %#x, create %#x", ns.name, joined, created)
				if created&ns.kind == 0 || ns.kind == unix.CLONE_NEWUSER {
					continue
				}
				file := allNamespaces(t, p.Pid, ns.kind)[0].File
				parent, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_USERNS)
				require.NoError(t, err)
				link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", parent))
				require.NoError(t, err)
				unix.Close(parent)
				require.Equal(t, owner, link, "the owner of %s: join %#x, create %#x", ns.name, joined, created)
			}
			require.Equal(t, []string{strconv.Itoa(os.Getpid()), ids}, status(t, p.Pid, "PPid", "Uid"))
			if created&unix.CLONE_NEWTIME != 0 {
				offsets, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", p.Pid))
				require.NoError(t, err)
				require.Equal(t, "monotonic 0 0 boottime 1000 0", strings.Join(strings.Fields(string(offsets)), " "))
			}
			p.end(t)
		}
	}
}

// A network namespace made by an engine belongs to the host's user namespace:
// the container's root could not join it.
func TestSpawnJoinsWhatTheUserNamespaceDoesNotOwn(t *testing.T) {
	needsRootInSandbox(t)
	user, net := hold(t, unix.CLONE_NEWUSER), hold(t, unix.CLONE_NEWNET)
	join := append(allNamespaces(t, net.Pid, unix.CLONE_NEWNET), allNamespaces(t, user.Pid, unix.CLONE_NEWUSER)...)
	p, err := cast(t, spawnAttr{Join: join}, "wait")
	require.NoError(t, err)
	p.perform(t)
	names := namesOf(t, p.Pid)
	require.Equal(t, []string{namesOf(t, user.Pid)[7], namesOf(t, net.Pid)[2]}, []string{names[7], names[2]})
	p.end(t)
}

func TestSpawnKeepsIgnoredSignals(t *testing.T) {
	needsRootInSandbox(t)
	signal.Ignore(unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	defer signal.Reset(unix.SIGUSR1)
	p, err := cast(t, spawnAttr{}, "wait")
	require.NoError(t, err)
	p.perform(t)
	require.Equal(t, status(t, os.Getpid(), "SigIgn"), status(t, p.Pid, "SigIgn"), "SIGHUP, and what the tests were started with")
	require.Regexp(t, "[13579bdf]$", status(t, p.Pid, "SigIgn")[0])
	p.end(t)
}

func TestSpawnedIsTheFirstOfANewPIDNamespace(t *testing.T) {
	needsRootInSandbox(t)
	p, err := cast(t, spawnAttr{New: unix.CLONE_NEWPID}, "wait")
	require.NoError(t, err)
	p.perform(t)
	require.Equal(t, fmt.Sprint(p.Pid, " 1"), status(t, p.Pid, "NSpid")[0])
	p.end(t)
}

func TestSpawnReturnsTheExitStatus(t *testing.T) {
	needsRootInSandbox(t)
	holder := hold(t, allKinds)
	p, err := cast(t, spawnAttr{Join: allNamespaces(t, holder.Pid, allKinds)}, "exit", "7")
	require.NoError(t, err)
	require.NoError(t, p.start())
	state, err := p.Wait()
	require.NoError(t, err)
	require.Equal(t, 7, state.ExitCode())
}

func TestSpawnNamesWhatFails(t *testing.T) {
	needsRootInSandbox(t)
	func() {
		holder, err := cast(t, spawnAttr{New: allButUser}, "wait")
		require.NoError(t, err)
		holder.perform(t)
		defer holder.end(t)
		wrong := allNamespaces(t, holder.Pid, unix.CLONE_NEWUTS|unix.CLONE_NEWNET)
		wrong[1].Kind = unix.CLONE_NEWIPC
		_, err = cast(t, spawnAttr{Join: wrong}, "wait")
		require.EqualError(t, err, fmt.Sprintf("join namespace /proc/%d/ns/net: invalid argument", holder.Pid))

		twice := unix.CLONE_NEWUSER // one may not join the own user namespace
		_, err = cast(t, spawnAttr{Join: allNamespaces(t, os.Getpid(), uintptr(twice))}, "wait")
		require.EqualError(t, err, fmt.Sprintf("join namespace /proc/%d/ns/user: invalid argument", os.Getpid()))
	}()
	_, err := cast(t, spawnAttr{New: unix.CLONE_NEWUSER, UIDMappings: mappings, GIDMappings: append(mappings, mappings...)}, "wait")
	require.Regexp(t, `^(open|write) /proc/\d+/gid_map: invalid argument$`, err)
	_, err = cast(t, spawnAttr{New: unix.CLONE_NEWUSER, UIDMappings: mappings[:0], GIDMappings: mappings}, "wait")
	require.Error(t, err)
	_, err = cast(t, spawnAttr{New: unix.CLONE_NEWTIME, TimeOffsets: "nonsense"}, "wait")
	require.Regexp(t, `^write /proc/\d+/timens_offsets: invalid argument$`, err)
	_, err = cast(t, spawnAttr{New: 1 << 40}, "wait")
	require.EqualError(t, err, "create namespaces 0x10000000000: invalid argument")
	_, err = cast(t, spawnAttr{Env: []string{"a\x00b"}}, "wait")
	require.EqualError(t, err, "arguments and environment: invalid argument")
	noChildren(t)

	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte("text"), 0o755))
	text, err := os.Open(path)
	require.NoError(t, err)
	defer text.Close()
	p, err := cast(t, spawnAttr{Exe: text, New: unix.CLONE_NEWPID}, "wait")
	require.NoError(t, err)
	require.EqualError(t, p.start(), "execute: exec format error")
	noChildren(t)
}

func TestSpawnedIsKilledBeforeStart(t *testing.T) {
	needsRootInSandbox(t)
	p, err := cast(t, spawnAttr{New: unix.CLONE_NEWPID}, "wait")
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	require.EqualError(t, p.start(), "write channel: broken pipe")
	p, err = cast(t, spawnAttr{New: unix.CLONE_NEWPID}, "wait")
	require.NoError(t, err)
	p.abandon()
	noChildren(t)
}

// Files that already have the numbers of others are the case in which a
// careless dup2(2) replaces one by another.
func TestSpawnPassesDescriptorsInOrder(t *testing.T) {
	needsRootInSandbox(t)
	dir := t.TempDir()
	var files []*os.File
	for i := range 9 {
		file, err := os.Create(filepath.Join(dir, string(rune('a'+i))))
		require.NoError(t, err)
		defer file.Close()
		files = append(files, file)
	}
	require.Less(t, files[0].Fd(), uintptr(12), "some of them have numbers that are given")
	slices.Reverse(files)
	p, err := cast(t, spawnAttr{Files: files, New: unix.CLONE_NEWPID}, "wait")
	require.NoError(t, err)
	goes := regexp.MustCompile(`^anon_inode:\[event|/cpu\.`) // what a Go program opens for itself
	links := func() (targets []string) {
		dir := fmt.Sprintf("/proc/%d/fd", p.Pid)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, entry := range entries {
			target, err := os.Readlink(filepath.Join(dir, entry.Name()))
			require.NoError(t, err)
			if fd, _ := strconv.Atoi(entry.Name()); fd > 2 && !goes.MatchString(target) {
				targets = append(targets, fmt.Sprint(fd, " ", strings.TrimRight(filepath.Base(target), "[]0123456789")))
			}
		}
		return targets
	}
	passed := []string{"3 i", "4 h", "5 g", "6 f", "7 e", "8 d", "9 c", "10 b", "11 a"}
	waiting := append(slices.Clone(passed), "12 "+filepath.Base(os.Args[0]), "13 socket:")
	require.ElementsMatch(t, waiting, links(), "before start also the executable and the socket")
	p.perform(t)
	require.ElementsMatch(t, passed, links())
	p.end(t)
}

func TestSpawnedDiesWithItsParent(t *testing.T) {
	needsRootInSandbox(t)
	for _, when := range []string{"waiting", "started"} {
		cmd := exec.Command("/proc/self/exe", "orphan", when)
		cmd.Args[0] = "joined"
		hangs, stdin, err := os.Pipe() // so that wait does not end by itself
		require.NoError(t, err)
		defer stdin.Close()
		cmd.Stdin = hangs
		stderr, err := cmd.StderrPipe() // which the orphan has too
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(stdout).ReadString('\n')
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(t, err)
		require.Equal(t, []string{strconv.Itoa(cmd.Process.Pid)}, status(t, pid, "PPid"), when)
		require.NoError(t, cmd.Process.Kill())
		// Its end comes when the last is dead who has the other one.
		_, err = io.Copy(io.Discard, stderr)
		require.NoError(t, err)
		cmd.Wait()
	}
}

// What is joined may be hostile. Its root, even with all capabilities there,
// must not get at the runtime's process, whose capabilities and descriptors are
// more than it will ever have.
func TestSpawnedIsHiddenFromTheContainer(t *testing.T) {
	needsRootInSandbox(t)
	// On a change of ids dumpable becomes this. Only a vm has one of its own.
	suidDumpable := func(value string) {
		if os.Getenv("SANDBOX_KIND") == "vm" {
			require.NoError(t, os.WriteFile("/proc/sys/fs/suid_dumpable", []byte(value), 0))
		}
	}
	defer suidDumpable("0")
	suidDumpable("1")
	holder := hold(t, allKinds)
	spy := func(pid int) string {
		p, err := cast(t, spawnAttr{Join: allNamespaces(t, holder.Pid, allKinds)}, "spy", strings.Fields(status(t, pid, "NSpid")[0])[1])
		require.NoError(t, err)
		require.NoError(t, p.start())
		seen, err := io.ReadAll(p.stdout)
		require.NoError(t, err)
		p.end(t)
		return string(seen)
	}
	victim, err := cast(t, spawnAttr{Join: allNamespaces(t, holder.Pid, allKinds)}, "wait")
	require.NoError(t, err)
	require.Equal(t, "fd: EACCES\nexe: EACCES\nmem: EACCES\nptrace: EPERM\n", spy(victim.Pid), "before start")
	victim.perform(t)
	require.Equal(t, "fd: possible\nexe: possible\nmem: possible\nptrace: possible\n", spy(victim.Pid), "the control: an executable that the container may read")
	victim.end(t)

	// An executable that the container's root may not read keeps the kernel
	// from making the process dumpable in execve(2), unless fs.suid_dumpable is
	// 1.
	suidDumpable("0")
	fd, err := unix.MemfdCreate("sealed", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	writable := os.NewFile(uintptr(fd), "sealed")
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	_, err = io.Copy(writable, self)
	require.NoError(t, err)
	require.NoError(t, self.Close())
	require.NoError(t, writable.Chmod(0o711))
	sealed, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) // else text file busy
	require.NoError(t, err)
	defer sealed.Close()
	require.NoError(t, writable.Close())
	victim, err = cast(t, spawnAttr{Join: allNamespaces(t, holder.Pid, allKinds), Exe: sealed}, "wait")
	require.NoError(t, err)
	victim.perform(t)
	require.Equal(t, "fd: EACCES\nexe: EACCES\nmem: EACCES\nptrace: EPERM\n", spy(victim.Pid), "a sealed executable")
	victim.end(t)
}

// busy keeps the collector, other goroutines and signals at work until stop.
func busy() (stop func()) {
	var wait sync.WaitGroup
	done := make(chan struct{})
	for _, work := range []func(){
		runtime.GC,
		func() { syscall.Kill(os.Getpid(), unix.SIGURG) }, // as of preemption
		func() { _ = strings.Repeat("x", 1<<16) },
		func() {},
	} {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					work()
				}
			}
		})
	}
	return func() { close(done); wait.Wait() }
}

func TestSpawnOftenAndAtOnce(t *testing.T) {
	needsRootInSandbox(t)
	holder := hold(t, allKinds)
	exe, err := os.Open("/bin/true")
	require.NoError(t, err)
	defer exe.Close()
	join := allNamespaces(t, holder.Pid, allKinds)
	once := func() error {
		p, err := spawn(&spawnAttr{Join: join, Exe: exe, Args: []string{"true"}, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
		state, err := p.Wait()
		if err == nil && state.String() != "exit status 0" {
			err = fmt.Errorf("%v", state)
		}
		return err
	}
	defer busy()()
	often := 1000
	if os.Getenv("SANDBOX_KIND") == "vm" && os.Getenv("STORM") != "full" {
		often /= 10 // without KVM each takes some 80 ms
	}
	for range often {
		require.NoError(t, once())
	}
	for range max(1, often/200) {
		failed := make(chan error)
		for range 50 {
			go func() { failed <- once() }()
		}
		for range 50 {
			require.NoError(t, <-failed)
		}
	}
}

func BenchmarkSpawn(b *testing.B) {
	needsRootInSandbox(b)
	exe, err := os.Open("/bin/true")
	require.NoError(b, err)
	defer exe.Close()
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	for _, flags := range []uintptr{0, allButUser, allKinds} {
		holder := hold(b, flags)
		attr := &spawnAttr{Join: allNamespaces(b, holder.Pid, flags), Exe: exe, Args: []string{"true"}, Files: files}
		b.Run(fmt.Sprintf("join %#x", flags), func(b *testing.B) {
			for b.Loop() {
				p, err := spawn(attr)
				require.NoError(b, err)
				b.StopTimer() // without execve(2) and the program
				p.abandon()
				b.StartTimer()
			}
		})
	}
	b.Run("and execute", func(b *testing.B) {
		for b.Loop() {
			p, err := spawn(&spawnAttr{Exe: exe, Args: []string{"true"}, Files: files})
			require.NoError(b, err)
			require.NoError(b, p.start())
			p.Wait()
		}
	})
	b.Run("as os/exec", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command("/bin/true").Run())
		}
	})
}
