//go:build linux

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// syscallTable has a line for each system call: its name and, for each ABI,
// its number, or "-", in the order amd64, x32 (without x32Bit), 386, arm64,
// arm. On 386 some calls are also parts of two older ones, socketcall(2) and
// ipc(2): then the number of that follows, and its first argument for this
// part.
//
//go:embed syscalls.txt
var syscallTable string

const multiplexerColumn = 6

// x32Bit marks the calls of x32. Most are those of amd64 with this bit.
const x32Bit = 0x40000000

// abi is one of the ways into the kernel. In each a number means another call,
// so a filter that looks at the number alone stops nobody, see seccomp(2).
type abi struct {
	arch   specs.Arch
	goarch string // whose native ABI it is
	audit  uint32 // what struct seccomp_data calls it
	column int    // in syscallTable
	narrow bool   // arguments have 32 bits
}

var abis = []abi{
	{specs.ArchX86_64, "amd64", unix.AUDIT_ARCH_X86_64, 1, false},
	{specs.ArchX32, "", unix.AUDIT_ARCH_X86_64, 2, false},
	{specs.ArchX86, "386", unix.AUDIT_ARCH_I386, 3, true},
	{specs.ArchAARCH64, "arm64", unix.AUDIT_ARCH_AARCH64, 4, false},
	{specs.ArchARM, "arm", unix.AUDIT_ARCH_ARM, 5, true},
}

// compileSeccomp makes of the profile of linux, if there is one, a filter for
// loadSeccomp.
func compileSeccomp(linux *specs.Linux) (filter []unix.SockFilter, flags uintptr, err error) {
	profile := linux.Seccomp
	linux.Seccomp = nil // init is told the filter: to read a profile takes time
	return compileSeccompFor(profile, runtime.GOARCH)
}

// compileSeccompFor translates a profile for the machine goarch. What the
// specification leaves open is as with runc and libseccomp:
//   - The machine's own ABI is always covered. A call through one that
//     architectures does not list kills the process.
//   - A name that is not in the table is skipped: profiles name calls of other
//     machines and of tomorrow. So a profile that allows all but what it lists
//     does not stop what is unknown here; one that lists what it allows does.
//   - For one call, a rule without args beats those with; of these the first
//     that holds is taken. A rule that repeats the default action is none.
//   - A rule with two args of one index is refused: libseccomp would want both
//     to hold, runc one of them.
//   - Unless the default action lets calls pass, numbers above the highest that
//     the profile names give ENOSYS. After it libc tries an older call, but
//     EPERM it believes.
func compileSeccompFor(s *specs.LinuxSeccomp, goarch string) (filter []unix.SockFilter, flags uintptr, err error) {
	if s == nil {
		return nil, 0, nil
	}
	native := slices.IndexFunc(abis, func(a abi) bool { return a.goarch == goarch })
	if native < 0 {
		return nil, 0, fmt.Errorf("seccomp: no table of the system calls of %s", goarch)
	}
	for _, arch := range s.Architectures {
		if !strings.HasPrefix(string(arch), "SCMP_ARCH_") {
			return nil, 0, fmt.Errorf("seccomp: unknown architecture %q", arch)
		}
	}
	for _, name := range s.Flags {
		flag, known := seccompFlags[name]
		if !known {
			return nil, 0, fmt.Errorf("seccomp: unknown flag %q", name)
		}
		flags |= flag
	}
	p := &program{table: make(map[string][]string, 512)}
	if p.otherwise, err = seccompAction(s.DefaultAction, s.DefaultErrnoRet); err != nil {
		return nil, 0, fmt.Errorf("seccomp: defaultAction: %w", err)
	}
	if p.rules, err = seccompRules(s.Syscalls); err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(syscallTable) {
		fields := strings.Fields(line)
		p.table[fields[0]] = fields
	}
	// The code is written from its end.
	next := p.ret(unix.SECCOMP_RET_KILL_PROCESS)
	for i, a := range slices.Backward(abis) {
		if i == native || a.arch != specs.ArchX32 && slices.Contains(s.Architectures, a.arch) {
			next = p.dispatch(a, slices.Contains(s.Architectures, specs.ArchX32), next)
		}
	}
	p.load(4, ^uint32(0)) // arch of struct seccomp_data
	if len(p.code) > unix.BPF_MAXINSNS {
		return nil, 0, fmt.Errorf("seccomp: the profile makes a filter of %d instructions, the kernel takes %d",
			len(p.code), unix.BPF_MAXINSNS)
	}
	slices.Reverse(p.code)
	return p.code, flags, nil
}

// loadSeccomp puts the calling thread under filter, for good. It needs
// no_new_privs or CAP_SYS_ADMIN, which capabilities.apply leaves it. After it
// comes nothing but execve(2): the filter need not allow more than that.
func loadSeccomp(filter []unix.SockFilter, flags uintptr) error {
	if len(filter) == 0 {
		return nil
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("load seccomp filter: %w", errno)
	}
	return nil
}

// seccompFlags are those of a profile, as seccomp(2) has them.
var seccompFlags = map[specs.LinuxSeccompFlag]uintptr{
	specs.LinuxSeccompFlagLog:              unix.SECCOMP_FILTER_FLAG_LOG,
	specs.LinuxSeccompFlagSpecAllow:        unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	specs.LinuxSeccompFlagWaitKillableRecv: 0, // is about SCMP_ACT_NOTIFY
	"SECCOMP_FILTER_FLAG_TSYNC":            0, // execve(2) leaves no other thread
}

// seccompActions are what a filter returns. SCMP_ACT_NOTIFY is not among them:
// it would need an agent to ask.
var seccompActions = map[specs.LinuxSeccompAction]uint32{
	specs.ActErrno:       unix.SECCOMP_RET_ERRNO,
	specs.ActTrace:       unix.SECCOMP_RET_TRACE,
	specs.ActKill:        unix.SECCOMP_RET_KILL_THREAD,
	specs.ActKillThread:  unix.SECCOMP_RET_KILL_THREAD,
	specs.ActKillProcess: unix.SECCOMP_RET_KILL_PROCESS,
	specs.ActTrap:        unix.SECCOMP_RET_TRAP,
	specs.ActLog:         unix.SECCOMP_RET_LOG,
	specs.ActAllow:       unix.SECCOMP_RET_ALLOW,
}

// seccompAction translates an action, two of which take an errno.
func seccompAction(action specs.LinuxSeccompAction, errnoRet *uint) (ret uint32, err error) {
	ret, known := seccompActions[action]
	takes := ret == unix.SECCOMP_RET_ERRNO || ret == unix.SECCOMP_RET_TRACE
	switch {
	case !known:
		return 0, fmt.Errorf("action %q is not supported", action)
	case errnoRet != nil && (!takes || *errnoRet > 4095): // the kernel's highest
		return 0, fmt.Errorf("%s takes no errno %d", action, *errnoRet)
	case errnoRet != nil:
		return ret | uint32(*errnoRet), nil
	case takes:
		return ret | uint32(unix.EPERM), nil
	}
	return ret, nil
}

// passes tells whether a filter that returns ret lets the call happen.
// (A tracer that knows the call may.)
func passes(ret uint32) bool {
	ret &= unix.SECCOMP_RET_ACTION_FULL
	return ret == unix.SECCOMP_RET_ALLOW || ret == unix.SECCOMP_RET_LOG || ret == unix.SECCOMP_RET_TRACE
}

// seccompRule is an entry of a profile: for the calls names, when all
// conditions hold, the filter returns ret.
type seccompRule struct {
	names      []string
	conditions []specs.LinuxSeccompArg
	ret        uint32
}

// seccompRules checks the entries of a profile and translates their actions.
func seccompRules(syscalls []specs.LinuxSyscall) ([]seccompRule, error) {
	var rules []seccompRule
	for _, s := range syscalls {
		ret, err := seccompAction(s.Action, s.ErrnoRet)
		if err == nil && len(s.Names) == 0 {
			err = errors.New("no name")
		}
		for i, arg := range s.Args {
			if _, known := seccompOperators[arg.Op]; !known || arg.Index > 5 {
				err = fmt.Errorf("unknown argument %d or operator %q", arg.Index, arg.Op)
			}
			if slices.ContainsFunc(s.Args[:i], func(a specs.LinuxSeccompArg) bool { return a.Index == arg.Index }) {
				err = fmt.Errorf("two conditions on argument %d are not supported", arg.Index)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("seccomp: rule for %v: %w", s.Names, err)
		}
		rules = append(rules, seccompRule{s.Names, s.Args, ret})
	}
	// Those without conditions come first.
	slices.SortStableFunc(rules, func(a, b seccompRule) int { return min(len(a.conditions), 1) - min(len(b.conditions), 1) })
	return rules, nil
}
