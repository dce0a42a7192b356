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

// compileSeccomp translates a profile to a filter for loadSeccomp. What the
// specification leaves open is as with runc and libseccomp:
//   - The machine's own ABI is always covered. A call through one that
//     architectures does not list kills the process.
//   - A name that is not in the table is skipped: profiles name calls of other
//     machines and of tomorrow. So a profile that allows all but what it lists
//     does not stop what is unknown here; one that lists what it allows does.
//   - For one call, a rule without args beats those with; of these the first
//     that holds is taken. A rule that repeats the default action is none.
//   - When a rule has several args with one index, each of its args is a rule
//     of its own: "or", not "and".
//   - Unless the default action lets calls pass, numbers above the highest that
//     the profile names give ENOSYS. After it libc tries an older call, but
//     EPERM it believes.
func compileSeccomp(s *specs.LinuxSeccomp) (filter []unix.SockFilter, flags uintptr, err error) {
	return compileSeccompFor(s, runtime.GOARCH)
}

// compileSeccompFor is compileSeccomp on the machine goarch.
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
	if flags, err = seccompFlags(s.Flags); err != nil {
		return nil, 0, err
	}
	otherwise, err := seccompAction(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return nil, 0, fmt.Errorf("seccomp: defaultAction: %w", err)
	}
	rules, err := seccompRules(s.Syscalls)
	if err != nil {
		return nil, 0, err
	}

	p := &program{table: make(map[string]string, 512), rules: rules, otherwise: otherwise}
	for line := range strings.Lines(syscallTable) {
		name, numbers, _ := strings.Cut(line, " ")
		p.table[name] = numbers
	}
	// The code begins with the native ABI and is written from its end.
	start := p.ret(unix.SECCOMP_RET_KILL_PROCESS)
	for i := len(abis) - 1; i >= 0; i-- {
		if a := abis[i]; i != native && a.arch != specs.ArchX32 && slices.Contains(s.Architectures, a.arch) {
			start = p.dispatch(a, s.Architectures, start)
		}
	}
	p.dispatch(abis[native], s.Architectures, start)
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

// seccompFlags translates the flags of a profile.
func seccompFlags(names []specs.LinuxSeccompFlag) (flags uintptr, err error) {
	for _, name := range names {
		switch name {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case "SECCOMP_FILTER_FLAG_TSYNC": // execve(2) leaves no other thread
		case specs.LinuxSeccompFlagWaitKillableRecv: // is about SCMP_ACT_NOTIFY
		default:
			return 0, fmt.Errorf("seccomp: unknown flag %q", name)
		}
	}
	return flags, nil
}

// seccompAction translates an action to what a filter returns.
func seccompAction(action specs.LinuxSeccompAction, errnoRet *uint) (ret uint32, err error) {
	limit := uint(0) // of its data
	switch action {
	case specs.ActErrno:
		ret, limit = unix.SECCOMP_RET_ERRNO, 4095 // the kernel's highest errno
	case specs.ActTrace:
		ret, limit = unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_DATA
	case specs.ActKill, specs.ActKillThread:
		ret = unix.SECCOMP_RET_KILL_THREAD
	case specs.ActKillProcess:
		ret = unix.SECCOMP_RET_KILL_PROCESS
	case specs.ActTrap:
		ret = unix.SECCOMP_RET_TRAP
	case specs.ActLog:
		ret = unix.SECCOMP_RET_LOG
	case specs.ActAllow:
		ret = unix.SECCOMP_RET_ALLOW
	default: // SCMP_ACT_NOTIFY would need an agent to ask
		return 0, fmt.Errorf("action %q is not supported", action)
	}
	switch {
	case errnoRet == nil && limit == 0:
		return ret, nil
	case errnoRet == nil:
		return ret | uint32(unix.EPERM), nil
	case limit == 0 || *errnoRet > limit:
		return 0, fmt.Errorf("%s takes no errno %d", action, *errnoRet)
	}
	return ret | uint32(*errnoRet), nil
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

// seccompOperators are those of a condition.
var seccompOperators = []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
	specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}

// seccompRules checks the entries of a profile and translates their actions.
func seccompRules(syscalls []specs.LinuxSyscall) ([]seccompRule, error) {
	rules := make([]seccompRule, 0, len(syscalls))
	for _, s := range syscalls {
		ret, err := seccompAction(s.Action, s.ErrnoRet)
		if err == nil && len(s.Names) == 0 {
			err = errors.New("no name")
		}
		var seen, twice uint // a bit for each argument
		for _, arg := range s.Args {
			if arg.Index > 5 || !slices.Contains(seccompOperators, arg.Op) {
				err = fmt.Errorf("unknown argument %d or operator %q", arg.Index, arg.Op)
			}
			twice |= seen & (1 << arg.Index)
			seen |= 1 << arg.Index
		}
		if err != nil {
			return nil, fmt.Errorf("seccomp: rule for %v: %w", s.Names, err)
		}
		if twice == 0 {
			rules = append(rules, seccompRule{s.Names, s.Args, ret})
			continue
		}
		for i := range s.Args {
			rules = append(rules, seccompRule{s.Names, s.Args[i : i+1], ret})
		}
	}
	return rules, nil
}
