//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilities are the sets of a thread, one bit for each capability, see
// capabilities(7).
type capabilities struct {
	Bounding, Effective, Inheritable, Permitted, Ambient uint64
}

// capabilityNames has each name at the place of its number, from 0.
const capabilityNames = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID " +
	"CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW " +
	"CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT " +
	"CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE " +
	"CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM " +
	"CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE"

// parseCapabilities translates the names of a configuration. What cannot be
// granted is left out and returned for a warning, as config.md wants it: names
// that nobody knows, those that this kernel lacks, and those outside the
// bounding set of the caller, who so should be in the container's user
// namespace: there it is full; and ambient ones that cannot be that.
func parseCapabilities(c *specs.LinuxCapabilities) (caps capabilities, unknown []string) {
	if c == nil {
		return caps, nil
	}
	known := strings.Fields(capabilityNames)
	bits := func(names []string) (set uint64) {
		for _, name := range names {
			number := slices.Index(known, name)
			// EINVAL above /proc/sys/kernel/cap_last_cap, 0 if it is dropped.
			if number >= 0 && inBounding(number) {
				set |= 1 << number
			} else if !slices.Contains(unknown, name) {
				unknown = append(unknown, name)
			}
		}
		return set
	}
	caps = capabilities{bits(c.Bounding), bits(c.Effective), bits(c.Inheritable), bits(c.Permitted), bits(c.Ambient)}
	// An ambient one must be permitted and inheritable. Many a configuration
	// has it otherwise, and runc goes on, too.
	for number, name := range known {
		if bit := uint64(1) << number; caps.Ambient&^(caps.Permitted&caps.Inheritable)&bit != 0 {
			caps.Ambient &^= bit
			unknown = append(unknown, name)
		}
	}
	return caps, unknown
}

// inBounding tells whether a capability is in the calling thread's bounding
// set.
func inBounding(number int) bool {
	in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(number), 0, 0, 0)
	return err == nil && in == 1
}

// dropBounding takes from the bounding set what c does not have: no execve(2)
// gives it back, neither to root nor by a file's capabilities. It needs
// CAP_SETPCAP and also makes the permitted set outlive the change of user, so
// call it before that, and apply after it.
func (c capabilities) dropBounding() error {
	for number := range 64 { // also those that have no name here
		if c.Bounding>>number&1 == 0 && inBounding(number) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d from the bounding set: %w", number, err)
			}
		}
	}
	return os.NewSyscallError("keep capabilities", unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
}

// untilExec are capabilities that apply leaves to this program: for
// loadSeccomp without no_new_privs, and for setRlimits. execve(2) computes the
// permitted and effective sets anew, from the others and from the file, see
// "Transformation of capabilities during execve()" in capabilities(7). None of
// them opens a file that the user may not.
const untilExec = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_RESOURCE

// apply sets the calling thread's sets but the bounding one.
func (c capabilities) apply() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("get capabilities: %w", err)
	}
	for i := range data {
		half := func(set uint64) uint32 { return uint32(set >> (32 * i)) }
		keep := data[i].Permitted & half(untilExec)
		data[i] = unix.CapUserData{Effective: half(c.Effective) | keep, Permitted: half(c.Permitted) | keep,
			Inheritable: half(c.Inheritable)}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	for number := range 64 {
		if c.Ambient>>number&1 == 1 {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(number), 0, 0); err != nil {
				return fmt.Errorf("raise ambient capability %d (it must be permitted and inheritable): %w", number, err)
			}
		}
	}
	return nil
}
