//go:build linux

package main

import (
	_ "embed"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:embed seccomp_profile.txt
var allowedSyscalls string

// defaultSeccomp is the profile of a container whose user asks for none: it
// lists what is allowed, refuses the rest with EPERM, and closes the ABIs of 32
// bits. A program that needs more can be given a profile of its own.
func defaultSeccomp() *specs.LinuxSeccomp {
	var names []string
	for line := range strings.Lines(allowedSyscalls) {
		line, _, _ = strings.Cut(line, "#")
		names = append(names, strings.Fields(line)...)
	}
	eperm, enosys, eio := uint(unix.EPERM), uint(unix.ENOSYS), uint(unix.EIO)
	rules := []specs.LinuxSyscall{{Names: names, Action: specs.ActAllow}}
	when := func(action specs.LinuxSeccompAction, errnoRet *uint, name string, arg specs.LinuxSeccompArg) {
		rules = append(rules, specs.LinuxSyscall{Names: []string{name}, Action: action, ErrnoRet: errnoRet,
			Args: []specs.LinuxSeccompArg{arg}})
	}

	// Threads and processes, but no namespaces: as root of its own user
	// namespace anybody reaches code of the kernel that is root's else.
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	when(specs.ActAllow, nil, "clone", specs.LinuxSeccompArg{Op: specs.OpMaskedEqual, Value: namespaces})
	// The flags of clone3 are in memory, where a filter cannot look. libc does
	// without it after ENOSYS.
	rules = append(rules, specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys})

	// PER_LINUX, PER_LINUX32, each with UNAME26, and the question which it is.
	// Others take from the address space what protects it.
	for _, persona := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		when(specs.ActAllow, nil, "personality", specs.LinuxSeccompArg{Op: specs.OpEqualTo, Value: persona})
	}
	// Not AF_VSOCK, which reaches the hypervisor and is in no network
	// namespace, not AF_ALG, and not what was long forgotten. AF_PACKET is for
	// CAP_NET_RAW to decide.
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET} {
		when(specs.ActAllow, nil, "socket", specs.LinuxSeccompArg{Op: specs.OpEqualTo, Value: family})
	}
	// Typing for the user of the terminal, which may be the host's: what is
	// typed, his shell runs. The kernel reads 32 bits of the request, so these
	// count, or a 33rd would get it through (CVE-2019-10063). The first rule
	// that holds is taken; EIO is what newer kernels say themselves.
	for _, request := range []uint64{unix.TIOCSTI, unix.TIOCLINUX} {
		when(specs.ActErrno, &eio, "ioctl", specs.LinuxSeccompArg{
			Index: 1, Op: specs.OpMaskedEqual, Value: 0xffffffff, ValueTwo: request})
	}
	when(specs.ActAllow, nil, "ioctl", specs.LinuxSeccompArg{Index: 1, Op: specs.OpGreaterEqual, Value: 0})

	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &eperm, Syscalls: rules}
}
