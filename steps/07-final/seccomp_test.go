//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// call is struct seccomp_data.
type call struct {
	number uint32
	audit  uint32
	args   [6]uint64
}

// interpretSeccomp runs filter on c, as the kernel does.
func interpretSeccomp(filter []unix.SockFilter, c call) (uint32, error) {
	words := [16]uint32{0: c.number, 1: c.audit}
	for i, arg := range c.args {
		words[4+2*i], words[5+2*i] = uint32(arg), uint32(arg>>32)
	}
	var a uint32
	for pc := 0; pc < len(filter); pc++ {
		ins := filter[pc]
		jump := func(holds bool) {
			if holds {
				pc += int(ins.Jt)
			} else {
				pc += int(ins.Jf)
			}
		}
		switch ins.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if ins.K%4 != 0 || ins.K >= 64 {
				return 0, fmt.Errorf("%d: load from %d", pc, ins.K)
			}
			a = words[ins.K/4]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= ins.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(ins.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == ins.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > ins.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= ins.K)
		case unix.BPF_RET | unix.BPF_K:
			return ins.K, nil
		default:
			return 0, fmt.Errorf("%d: unknown code %#x", pc, ins.Code)
		}
	}
	return 0, fmt.Errorf("no return")
}

// profile is a profile on a machine, read the slow and plain way.
type profile struct {
	*specs.LinuxSeccomp
	goarch string
}

// slowTable is syscallTable as maps: name, then ABI, to number.
var slowTable = sync.OnceValue(func() map[string]map[specs.Arch]uint32 {
	table := map[string]map[specs.Arch]uint32{}
	for _, line := range strings.Split(strings.TrimSpace(syscallTable), "\n") {
		fields := strings.Fields(line)
		table[fields[0]] = map[specs.Arch]uint32{}
		for i, arch := range []specs.Arch{specs.ArchX86_64, specs.ArchX32, specs.ArchX86, specs.ArchAARCH64, specs.ArchARM} {
			number, err := strconv.ParseUint(fields[i+1], 10, 32)
			if arch == specs.ArchX32 {
				number |= x32Bit
			}
			if err == nil {
				table[fields[0]][arch] = uint32(number)
			}
		}
	}
	return table
})

// numberOf returns the number that the call name has in the ABI arch.
func numberOf(name string, arch specs.Arch) (uint32, bool) {
	number, found := slowTable()[name][arch]
	return number, found
}

// evaluate says what the profile wants for c.
func (p profile) evaluate(c call) uint32 {
	native := map[string]specs.Arch{"amd64": specs.ArchX86_64, "386": specs.ArchX86,
		"arm64": specs.ArchAARCH64, "arm": specs.ArchARM}[p.goarch]
	arch := map[uint32]specs.Arch{unix.AUDIT_ARCH_X86_64: specs.ArchX86_64, unix.AUDIT_ARCH_I386: specs.ArchX86,
		unix.AUDIT_ARCH_AARCH64: specs.ArchAARCH64, unix.AUDIT_ARCH_ARM: specs.ArchARM}[c.audit]
	open := func(arch specs.Arch) bool { return arch == native || slices.Contains(p.Architectures, arch) }
	suppressed := false
	if arch == specs.ArchX86_64 && c.number >= x32Bit {
		suppressed = c.number == 0xffffffff
		if !suppressed || open(specs.ArchX32) {
			arch = specs.ArchX32
		}
	}
	if !open(arch) || arch == specs.ArchX32 && !open(specs.ArchX86_64) {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	otherwise, _ := seccompAction(p.DefaultAction, p.DefaultErrnoRet)
	var highest int64 = -1
	var conditional []uint32
	for _, rule := range p.Syscalls {
		ret, _ := seccompAction(rule.Action, rule.ErrnoRet)
		for _, name := range rule.Names {
			number, known := numberOf(name, arch)
			if known {
				highest = max(highest, int64(number))
			}
			if known && number == c.number && ret != otherwise {
				if len(rule.Args) == 0 {
					return ret
				}
				if holds(rule.Args, c, arch) {
					conditional = append(conditional, ret)
				}
			}
		}
	}
	if len(conditional) > 0 {
		return conditional[0]
	}
	if int64(c.number) > highest && highest >= 0 && !passes(otherwise) {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return otherwise
}

// holds tells whether the arguments of c are as args says.
func holds(args []specs.LinuxSeccompArg, c call, arch specs.Arch) bool {
	for _, arg := range args {
		have, value, two := c.args[arg.Index], arg.Value, arg.ValueTwo
		if arch == specs.ArchX86 || arch == specs.ArchARM {
			have, value, two = have&0xffffffff, value&0xffffffff, two&0xffffffff
		}
		if !map[specs.LinuxSeccompOperator]bool{
			specs.OpNotEqual: have != value, specs.OpEqualTo: have == value,
			specs.OpLessThan: have < value, specs.OpLessEqual: have <= value,
			specs.OpGreaterThan: have > value, specs.OpGreaterEqual: have >= value,
			specs.OpMaskedEqual: have&value == two&value,
		}[arg.Op] {
			return false
		}
	}
	return true
}

var machines = []string{"amd64", "386", "arm64", "arm"}

// compare compiles a profile for each machine and compares what the filter
// answers with what the profile wants, for interesting calls.
func compare(t *testing.T, s *specs.LinuxSeccomp, random *rand.Rand, thorough bool) {
	for _, goarch := range machines {
		filter, _, err := compileSeccompFor(s, goarch)
		if err != nil && strings.Contains(err.Error(), "instructions") {
			return // the kernel would refuse it
		}
		require.NoError(t, err)
		numbers := map[uint32]bool{0: true, 0xffffffff: true, 0xfffffffe: true, x32Bit: true, x32Bit - 1: true, x32Bit + 9999: true}
		var values []uint64
		for _, rule := range s.Syscalls {
			for _, name := range rule.Names {
				for _, a := range abis {
					if n, ok := numberOf(name, a.arch); ok {
						numbers[n-1], numbers[n], numbers[n+1] = true, true, true
					}
				}
			}
			for _, arg := range rule.Args {
				for _, v := range []uint64{arg.Value, arg.ValueTwo, ^arg.Value, arg.Value&arg.ValueTwo | ^arg.Value} {
					values = append(values, v, v-1, v+1, v^1<<32, v<<32, v>>32, uint64(uint32(v)))
				}
			}
		}
		if thorough {
			for n := range uint32(600) {
				numbers[n], numbers[n|x32Bit] = true, true
			}
		}
		values = append(values, 0, 1, ^uint64(0))
		p := profile{s, goarch}
		for _, number := range slices.Sorted(maps.Keys(numbers)) {
			for _, audit := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64,
				unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_RISCV64, 0} {
				// The naive side does not unfold what i386 packs in two calls.
				if audit == unix.AUDIT_ARCH_I386 && (number == 102 || number == 117) {
					continue
				}
				for range 4 {
					c := call{number: number, audit: audit}
					for i := range c.args {
						c.args[i] = values[random.IntN(len(values))]
					}
					got, err := interpretSeccomp(filter, c)
					require.NoError(t, err)
					if want := p.evaluate(c); got != want {
						text, _ := json.Marshal(s)
						t.Fatalf("on %s, call %#x: filter returns %#x, profile wants %#x\n%s", goarch, c, got, want, text)
					}
				}
			}
		}
	}
}

// randomProfile makes up a profile.
func randomProfile(random *rand.Rand) *specs.LinuxSeccomp {
	lines := strings.Split(strings.TrimSpace(syscallTable), "\n")
	name := func() string {
		if random.IntN(20) == 0 {
			return "tomorrow"
		}
		return strings.Fields(lines[random.IntN(len(lines))])[0]
	}
	action := func() (specs.LinuxSeccompAction, *uint) {
		a := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActTrace, specs.ActLog, specs.ActTrap,
			specs.ActKill, specs.ActKillProcess, specs.ActKillThread}[random.IntN(8)]
		if errno := uint(random.IntN(100)); (a == specs.ActErrno || a == specs.ActTrace) && errno > 50 {
			return a, &errno
		}
		return a, nil
	}
	s := &specs.LinuxSeccomp{}
	s.DefaultAction, s.DefaultErrnoRet = action()
	for _, a := range abis {
		if random.IntN(2) == 0 {
			s.Architectures = append(s.Architectures, a.arch)
		}
	}
	few := name()
	for range random.IntN(20) {
		rule := specs.LinuxSyscall{Names: []string{few}}
		for range random.IntN(12) {
			rule.Names = append(rule.Names, name())
		}
		rule.Action, rule.ErrnoRet = action()
		for _, index := range random.Perm(6)[:random.IntN(4)] {
			value := func() uint64 {
				return []uint64{0, uint64(random.IntN(10)), random.Uint64(), uint64(random.Uint32()), 1 << random.IntN(64)}[random.IntN(5)]
			}
			rule.Args = append(rule.Args, specs.LinuxSeccompArg{Index: uint(index), Value: value(), ValueTwo: value(),
				Op: []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
					specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}[random.IntN(7)]})
		}
		s.Syscalls = append(s.Syscalls, rule)
	}
	return s
}

// TestSeccompFilterIsTheProfile compares filters with profiles: the default one
// for all calls, and random ones.
func TestSeccompFilterIsTheProfile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	compare(t, defaultSpec(nil).Linux.Seccomp, random, true)
	for range 15 {
		compare(t, randomProfile(random), random, false)
	}
}

// FuzzSeccomp does the same for any profile that compiles.
func FuzzSeccomp(f *testing.F) {
	add := func(s *specs.LinuxSeccomp) {
		text, err := json.Marshal(s)
		require.NoError(f, err)
		f.Add(text, uint64(1))
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 3 {
		add(randomProfile(random))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		var s *specs.LinuxSeccomp
		if json.Unmarshal(text, &s) != nil || s == nil {
			return
		}
		if _, _, err := compileSeccompFor(s, runtime.GOARCH); err != nil {
			return
		}
		compare(t, s, rand.New(rand.NewPCG(seed, 0)), false)
	})
}

// TestSeccompRejects wants an error, with these words, for what a profile may
// not say.
func TestSeccompRejects(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                   `seccomp: defaultAction: action "" is not supported`,
		`{"defaultAction": "SCMP_ACT_NOTIFY"}`: `action "SCMP_ACT_NOTIFY" is not supported`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}`:                                   "SCMP_ACT_ALLOW takes no errno",
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet":4096}`:                                 "takes no errno 4096",
		`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}`:                                         `unknown flag "X"`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}`:                                 `unknown architecture "X"`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_TRAP"}]}`: "no name",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "X"}]}`:       `rule for [read]: action "X" is not supported`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP",
			"args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`: "unknown argument 6",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP",
			"args": [{"index": 1, "value": 1, "op": "X"}]}]}`: `operator "X"`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP",
			"args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}]}`: "two conditions on argument 1 are not supported",
	} {
		var s specs.LinuxSeccomp
		require.NoError(t, json.Unmarshal([]byte(text), &s))
		_, _, err := compileSeccompFor(&s, runtime.GOARCH)
		assert.ErrorContains(t, err, want, text)
	}
	_, _, err := compileSeccompFor(defaultSpec(nil).Linux.Seccomp, "riscv64")
	assert.ErrorContains(t, err, "riscv64")
	huge := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range 1100 {
		huge.Syscalls = append(huge.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Value: uint64(i), Op: specs.OpEqualTo}}})
	}
	_, _, err = compileSeccompFor(huge, "amd64")
	assert.ErrorContains(t, err, "instructions")
	filter, _, err := compileSeccompFor(nil, runtime.GOARCH)
	assert.NoError(t, err)
	assert.Empty(t, filter)
}

// TestSeccompFlags wants those that have a meaning here.
func TestSeccompFlags(t *testing.T) {
	_, flags, err := compileSeccompFor(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{
		"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv}}, runtime.GOARCH)
	assert.NoError(t, err)
	assert.Equal(t, uintptr(unix.SECCOMP_FILTER_FLAG_LOG|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW), flags)
}

// TestSeccompMultiplexed wants the parts of socketcall(2) and ipc(2) treated as
// the calls that they are.
func TestSeccompMultiplexed(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"sendmmsg", "shmctl"}, Action: specs.ActErrno},
			{Names: []string{"socket"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{{Value: unix.AF_ALG, Op: specs.OpEqualTo}}},
		}}
	filter, _, err := compileSeccompFor(s, "amd64")
	require.NoError(t, err)
	for c, want := range map[[2]uint64]uint32{
		{102, 1}: unix.SECCOMP_RET_TRAP, {102, 2}: unix.SECCOMP_RET_ALLOW, {102, 20}: unix.SECCOMP_RET_ERRNO | 1,
		{117, 24}: unix.SECCOMP_RET_ERRNO | 1, {117, 23}: unix.SECCOMP_RET_ALLOW,
	} {
		got, err := interpretSeccomp(filter, call{number: uint32(c[0]), audit: unix.AUDIT_ARCH_I386, args: [6]uint64{c[1]}})
		require.NoError(t, err)
		assert.Equal(t, want, got, "%v", c)
	}
}

// TestSeccompFarJumps has chains that are longer than a conditional jump.
func TestSeccompFarJumps(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}}
	for i := range 60 {
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"read", "write"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(i) << 33, Op: specs.OpEqualTo}, {Index: 3, Value: 7, Op: specs.OpGreaterThan}}})
	}
	filter, _, err := compileSeccompFor(s, "amd64")
	require.NoError(t, err)
	require.Greater(t, len(filter), 3*255)
	compare(t, s, rand.New(rand.NewPCG(5, 6)), false)
}

// TestDefaultSeccomp wants each name of the profile known and listed once, and
// the answers to some calls as they are meant.
func TestDefaultSeccomp(t *testing.T) {
	s := defaultSpec(nil).Linux.Seccomp
	seen := map[string]bool{}
	for _, rule := range s.Syscalls {
		for _, name := range rule.Names {
			assert.NotEmpty(t, slowTable()[name], "%s is unknown", name)
			assert.False(t, seen[name], "%s is listed twice", name)
			seen[name] = rule.Args == nil
		}
	}
	const (
		allow = unix.SECCOMP_RET_ALLOW
		errno = unix.SECCOMP_RET_ERRNO
		eperm = errno | uint32(unix.EPERM)
	)
	filter, _, err := compileSeccompFor(s, "amd64")
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		args [6]uint64
		want uint32
	}{
		{"read", [6]uint64{}, allow},
		{"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
		{"clone", [6]uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm},
		{"clone", [6]uint64{unix.CLONE_NEWNS}, eperm},
		{"clone3", [6]uint64{}, errno | uint32(unix.ENOSYS)},
		{"rseq_slice_yield", [6]uint64{}, errno | uint32(unix.ENOSYS)},
		{"personality", [6]uint64{0xffffffff}, allow},
		{"personality", [6]uint64{0x0040000}, eperm}, // ADDR_NO_RANDOMIZE
		{"socket", [6]uint64{unix.AF_INET}, allow},
		{"socket", [6]uint64{unix.AF_VSOCK}, eperm},
		{"socket", [6]uint64{unix.AF_ALG}, eperm},
		{"ioctl", [6]uint64{0, unix.TCGETS}, allow},
		{"ioctl", [6]uint64{0, unix.TIOCSTI}, errno | uint32(unix.EIO)},
		{"ioctl", [6]uint64{0, 1<<32 | unix.TIOCSTI}, errno | uint32(unix.EIO)},
		{"ioctl", [6]uint64{0, unix.TIOCLINUX}, errno | uint32(unix.EIO)},
		{"unshare", [6]uint64{}, eperm}, {"setns", [6]uint64{}, eperm}, {"mount", [6]uint64{}, eperm},
		{"umount2", [6]uint64{}, eperm}, {"pivot_root", [6]uint64{}, eperm}, {"fsopen", [6]uint64{}, eperm},
		{"keyctl", [6]uint64{}, eperm}, {"add_key", [6]uint64{}, eperm}, {"bpf", [6]uint64{}, eperm},
		{"perf_event_open", [6]uint64{}, eperm}, {"io_uring_setup", [6]uint64{}, eperm},
		{"userfaultfd", [6]uint64{}, eperm}, {"init_module", [6]uint64{}, eperm}, {"reboot", [6]uint64{}, eperm},
		{"open_by_handle_at", [6]uint64{}, eperm}, {"syslog", [6]uint64{}, eperm},
	} {
		number, ok := numberOf(c.name, specs.ArchX86_64)
		require.True(t, ok, c.name)
		got, err := interpretSeccomp(filter, call{number: number, audit: unix.AUDIT_ARCH_X86_64, args: c.args})
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%#x", c.want), fmt.Sprintf("%#x", got), "%s %#x", c.name, c.args)
	}
	t.Logf("%d calls, %d instructions", len(seen), len(filter))
}

// TestLoadSeccomp loads a filter in a process of its own and tries calls.
func TestLoadSeccomp(t *testing.T) {
	if os.Getenv("TEST_SECCOMP") != "" {
		os.Stdout.WriteString(strings.Join(underSeccomp(), "\n"))
		os.Exit(0)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestLoadSeccomp$")
	c.Env = append(os.Environ(), "TEST_SECCOMP=1")
	output, err := c.CombinedOutput()
	require.NoError(t, err, string(output))
	if strings.Contains(string(output), "load seccomp filter") {
		t.Skip(string(output))
	}
	want := []string{"getcwd: operation not permitted", "mkdir: no space left on device", "getppid: errno 0",
		"unshare: invalid argument", "number 9999: function not implemented", "another thread: errno 0"}
	assert.Empty(t, cmp.Diff(want, strings.Split(string(output), "\n")))
}

// underSeccomp loads a filter on this thread and returns how calls end.
func underSeccomp() (ends []string) {
	enospc, einval := uint(unix.ENOSPC), uint(unix.EINVAL)
	s := defaultSpec(nil).Linux.Seccomp
	for i, rule := range s.Syscalls {
		s.Syscalls[i].Names = slices.DeleteFunc(rule.Names, func(name string) bool { return name == "getcwd" || name == "mkdirat" })
	}
	s.Syscalls = append(s.Syscalls,
		specs.LinuxSyscall{Names: []string{"mkdirat"}, Action: specs.ActErrno, ErrnoRet: &enospc,
			Args: []specs.LinuxSeccompArg{{Index: 2, Value: 0o700, Op: specs.OpEqualTo}, {Index: 0, Value: 1<<64 - 100, Op: specs.OpEqualTo}}},
		specs.LinuxSyscall{Names: []string{"unshare"}, Action: specs.ActErrno, ErrnoRet: &einval})
	filter, flags, err := compileSeccompFor(s, runtime.GOARCH)
	if err != nil {
		return []string{err.Error()}
	}
	runtime.LockOSThread() // for good: the thread ends with the process
	unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err := loadSeccomp(filter, flags); err != nil {
		return []string{err.Error()}
	}
	end := func(what string, number uintptr, a, b, c uintptr) {
		_, _, errno := unix.RawSyscall(number, a, b, c)
		ends = append(ends, what+": "+errno.Error())
	}
	buffer := make([]byte, 4096)
	path := append([]byte("/proc/x"), 0)
	cwd := -100
	end("getcwd", unix.SYS_GETCWD, address(buffer), uintptr(len(buffer)), 0)
	end("mkdir", unix.SYS_MKDIRAT, uintptr(cwd), address(path), 0o700)
	end("getppid", unix.SYS_GETPPID, 0, 0, 0)
	end("unshare", unix.SYS_UNSHARE, 0, 0, 0)
	end("number 9999", 9999, 0, 0, 0)
	done := make(chan bool)
	go func() { // the filter is this thread's alone
		end("another thread", unix.SYS_GETCWD, address(buffer), uintptr(len(buffer)), 0)
		done <- true
	}()
	<-done
	return ends
}

// TestSeccompClosesOtherABIs starts a filter's process that calls through x32.
func TestSeccompClosesOtherABIs(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("only amd64 has an x32 ABI")
	}
	if os.Getenv("TEST_SECCOMP") != "" {
		underSeccomp()
		unix.RawSyscall(x32Bit|unix.SYS_GETPID, 0, 0, 0)
		os.Exit(0)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestSeccompClosesOtherABIs$")
	c.Env = append(os.Environ(), "TEST_SECCOMP=1")
	err := c.Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, syscall.SIGSYS, exit.Sys().(syscall.WaitStatus).Signal())
}

// BenchmarkCompileSeccomp compiles the default profile as engines list it: for
// three ABIs.
func BenchmarkCompileSeccomp(b *testing.B) {
	s := defaultSpec(nil).Linux.Seccomp
	s.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	if text, err := os.ReadFile(os.Getenv("SECCOMP_PROFILE")); err == nil {
		s = &specs.LinuxSeccomp{}
		require.NoError(b, json.Unmarshal(text, s))
	}
	var filter []unix.SockFilter
	for b.Loop() {
		var err error
		filter, _, err = compileSeccompFor(s, "amd64")
		require.NoError(b, err)
	}
	b.ReportMetric(float64(len(filter)), "instructions")
}

// BenchmarkDefaultSeccomp makes the default profile and compiles it.
func BenchmarkDefaultSeccomp(b *testing.B) {
	for b.Loop() {
		_, _, err := compileSeccompFor(defaultSpec(nil).Linux.Seccomp, "amd64")
		require.NoError(b, err)
	}
}

// address is the address of a buffer, for raw calls.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
