//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A deviceRule allows or denies access to devices. Major and minor are -1 for
// all of them.
type deviceRule struct {
	allow        bool
	kind         byte // 'c', 'b', or 'a' for all devices there are, with every access
	major, minor int64
	access       int32 // bits of BPF_DEVCG_ACC_*
}

const allAccess = unix.BPF_DEVCG_ACC_MKNOD | unix.BPF_DEVCG_ACC_READ | unix.BPF_DEVCG_ACC_WRITE

// harmlessDevices can do no harm: nodes that nobody can open; null, zero, full,
// random, urandom, tty, ptmx and the pseudoterminals.
var harmlessDevices = []deviceRule{
	{true, 'c', -1, -1, unix.BPF_DEVCG_ACC_MKNOD},
	{true, 'b', -1, -1, unix.BPF_DEVCG_ACC_MKNOD},
	{true, 'c', 1, 3, allAccess},
	{true, 'c', 1, 5, allAccess},
	{true, 'c', 1, 7, allAccess},
	{true, 'c', 1, 8, allAccess},
	{true, 'c', 1, 9, allAccess},
	{true, 'c', 5, 0, allAccess},
	{true, 'c', 5, 2, allAccess},
	{true, 'c', 136, -1, allAccess},
}

// deviceRules are the rules of config.json in their order: the last one that
// concerns a device rules. Before them nothing is allowed. After them, unless
// they allow everything, come the devices that every container has.
func deviceRules(list []specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	rules := []deviceRule{{kind: 'a', major: -1, minor: -1, access: allAccess}}
	for _, d := range list {
		r := deviceRule{d.Allow, 'a', -1, -1, 0}
		switch d.Type {
		case "", "a":
		case "b", "c":
			r.kind = d.Type[0]
		default:
			return nil, fmt.Errorf("device rule: type %q is neither a, b nor c", d.Type)
		}
		for _, n := range []struct{ from, to *int64 }{{d.Major, &r.major}, {d.Minor, &r.minor}} {
			if n.from != nil {
				*n.to = *n.from
			}
			if *n.to < -1 || *n.to > math.MaxInt32 {
				return nil, fmt.Errorf("device rule: there is no number %d", *n.to)
			}
		}
		for _, letter := range d.Access {
			bit := strings.IndexRune("mrw", letter)
			if bit < 0 {
				return nil, fmt.Errorf("device rule: access %q has more than r, w and m", d.Access)
			}
			r.access |= 1 << bit
		}
		if d.Access == "" { // like the others, not given is all
			r.access = allAccess
		}
		switch all := r.kind == 'a' && r.major < 0 && r.minor < 0 && r.access == allAccess; {
		case all:
			rules = append(rules[:0], r) // what was before does not count
		case r.kind == 'a':
			block, char := r, r
			block.kind, char.kind = 'b', 'c'
			rules = append(rules, block, char)
		default:
			rules = append(rules, r)
		}
	}
	if !rules[0].allow {
		for _, d := range harmlessDevices {
			if !slices.Contains(rules, d) {
				rules = append(rules, d)
			}
		}
	}
	return rules, nil
}

// limitDevices applies the rules: on v1 by files, on v2 by a program.
func (c cgroup) limitDevices(list []specs.LinuxDeviceCgroup) error {
	rules, err := deviceRules(list)
	if err != nil {
		return err
	}
	if c.Dirs["devices"] != "" {
		return limitDevicesV1(c.Dirs["devices"], rules)
	}
	if c.Dirs[""] == "" {
		return fmt.Errorf(noController, "devices")
	}
	if err := attachDeviceFilter(c.Dirs[""], deviceFilter(rules)); err != nil {
		return fmt.Errorf("limit devices of %s: %w", c.Dirs[""], err)
	}
	return nil
}

// limitDevicesV1 writes the rules, see the kernel's cgroup-v1/devices.rst.
// After the first rule, for all, v1 knows only exceptions to it, and forgets
// one only when exactly it is named: other rules it would silently ignore.
func limitDevicesV1(dir string, rules []deviceRule) error {
	for i, r := range rules {
		for _, e := range rules[1:max(i, 1)] {
			exact := e.major == r.major && e.minor == r.minor
			meets := e.kind == r.kind && (e.major == r.major || min(e.major, r.major) < 0) && (e.minor == r.minor || min(e.minor, r.minor) < 0)
			if meets && !exact && e.allow != rules[0].allow && r.allow == rules[0].allow {
				return fmt.Errorf("device rule %q: cgroup v1 knows no exception to %q", r, e)
			}
		}
	}
	for _, r := range rules {
		file := dir + "/devices.deny"
		if r.allow {
			file = dir + "/devices.allow"
		}
		if err := writeCgroup(file, r.String()); err != nil {
			return err
		}
	}
	return nil
}

// String is the rule as v1 writes it: c 1:3 rwm
func (r deviceRule) String() string {
	if r.kind == 'a' {
		return "a"
	}
	numbers := strings.ReplaceAll(fmt.Sprint(r.major, ":", r.minor), "-1", "*")
	text := string(r.kind) + " " + numbers + " "
	for bit, letter := range "mrw" {
		if r.access&(1<<bit) != 0 {
			text += string(letter)
		}
	}
	return text
}

// A bpfInstruction is one of the kernel's struct bpf_insn.
type bpfInstruction struct {
	code, registers uint8 // the lower half is the destination
	offset          int16
	value           int32
}

// deviceFilter is the program that the kernel asks at each access, with a
// struct bpf_cgroup_dev_ctx: kind and access in one word, major, minor. It says
// 1 for yes. The last rule counts, so it comes first; what it does not allow,
// of reading and writing for one, is left to those before.
func deviceFilter(rules []deviceRule) (program []bpfInstruction) {
	const r0, r1, kind, access, major, minor = 0, 1, 2, 3, 4, 5 // registers
	add := func(code, registers uint8, offset int16, value int32) {
		program = append(program, bpfInstruction{code, registers, offset, value})
	}
	answer := func(yes int32) {
		add(unix.BPF_ALU64|unix.BPF_MOV|unix.BPF_K, r0, 0, yes)
		add(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0)
	}
	const load = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	add(load, kind|r1<<4, 0, 0)
	add(load, access|r1<<4, 0, 0)
	add(load, major|r1<<4, 4, 0)
	add(load, minor|r1<<4, 8, 0)
	add(unix.BPF_ALU64|unix.BPF_AND|unix.BPF_K, kind, 0, 0xffff)
	add(unix.BPF_ALU64|unix.BPF_RSH|unix.BPF_K, access, 0, 16)
	for _, r := range slices.Backward(rules[1:]) {
		var unless []int // the jumps over this rule
		jump := func(code, register uint8, value int32) {
			unless = append(unless, len(program))
			add(unix.BPF_JMP|code|unix.BPF_K, register, 0, value)
		}
		jump(unix.BPF_JNE, kind, int32(1+strings.IndexByte("bc", r.kind))) // BPF_DEVCG_DEV_*
		if r.major >= 0 {
			jump(unix.BPF_JNE, major, int32(r.major))
		}
		if r.minor >= 0 {
			jump(unix.BPF_JNE, minor, int32(r.minor))
		}
		if r.allow {
			add(unix.BPF_ALU64|unix.BPF_AND|unix.BPF_K, access, 0, ^r.access)
			jump(unix.BPF_JNE, access, 0)
			answer(1)
		} else {
			add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, access, 1, r.access)
			jump(unix.BPF_JA, 0, 0)
			answer(0)
		}
		for _, i := range unless {
			program[i].offset = int16(len(program) - i - 1)
		}
	}
	answer(int32(bit(rules[0].allow)[0] - '0'))
	return program
}

// bpf calls bpf(2) with one of the structures in its union bpf_attr. There a
// pointer takes 8 bytes: on machines of 32 bits the kernel refuses them.
func bpf[A any](command uintptr, attributes *A) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attributes)), unsafe.Sizeof(*attributes))
	if errno != 0 {
		return -1, os.NewSyscallError("bpf", errno)
	}
	return int(n), nil
}

// attachDeviceFilter lets program decide for the cgroup, in place of the one
// that does. At no moment does none: the kernel exchanges them.
func attachDeviceFilter(dir string, program []bpfInstruction) error {
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(group)
	filter, err := loadDeviceFilter(program)
	if errors.Is(err, unix.EPERM) && inUserNamespace() {
		return nil // only the host's root may; but here nobody can make a node
	}
	if err != nil {
		return err
	}
	defer unix.Close(filter)

	var ids [64]uint32 // the kernel takes no more for a cgroup
	query := struct {
		cgroup, kind, flags, attached uint32
		ids                           *[64]uint32
		count                         uint32
	}{cgroup: uint32(group), kind: unix.BPF_CGROUP_DEVICE, ids: &ids, count: uint32(len(ids))}
	if _, err := bpf(unix.BPF_PROG_QUERY, &query); err != nil {
		return err
	}
	attachment := struct{ cgroup, program, kind, flags, replaced uint32 }{
		uint32(group), uint32(filter), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI, 0}
	if query.count > 0 { // should there be others, what all allow is allowed
		old, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, &struct{ id, next, flags uint32 }{id: ids[0]})
		if err != nil {
			return err
		}
		defer unix.Close(old)
		attachment.flags, attachment.replaced = unix.BPF_F_ALLOW_MULTI|unix.BPF_F_REPLACE, uint32(old) // since 5.6
	}
	_, err = bpf(unix.BPF_PROG_ATTACH, &attachment)
	return err
}

// loadDeviceFilter gives the program to the kernel, which proves that it ends.
func loadDeviceFilter(program []bpfInstruction) (fd int, err error) {
	// Before 5.11 it counts as locked memory, of which there is little.
	var old unix.Rlimit
	if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, &old) == nil {
		defer unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &old, nil)
	}
	return bpf(unix.BPF_PROG_LOAD, &struct {
		kind, count  uint32
		instructions *bpfInstruction
		license      *byte
	}{unix.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(program)), &program[0], &[]byte("GPL\x00")[0]})
}

// inUserNamespace tells whether the user IDs here are not all of the host's.
func inUserNamespace() bool {
	ids, _ := os.ReadFile("/proc/self/uid_map")
	return !slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"})
}
