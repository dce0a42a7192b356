//go:build linux

package main

import (
	"cmp"
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

// harmlessDevices can do no harm.
var harmlessDevices = []deviceRule{
	{true, 'c', -1, -1, unix.BPF_DEVCG_ACC_MKNOD}, {true, 'b', -1, -1, unix.BPF_DEVCG_ACC_MKNOD}, // nodes that nobody can open
	{true, 'c', 1, 3, allAccess}, {true, 'c', 1, 5, allAccess}, {true, 'c', 1, 7, allAccess}, // null, zero, full
	{true, 'c', 1, 8, allAccess}, {true, 'c', 1, 9, allAccess}, // random, urandom
	{true, 'c', 5, 0, allAccess}, {true, 'c', 5, 2, allAccess}, {true, 'c', 136, -1, allAccess}, // tty, ptmx, pseudoterminals
}

// deviceRules are the rules of config.json in their order: the last one that
// concerns a device rules. Before them nothing is allowed. After them, unless
// they allow everything, come the devices that every container has.
func deviceRules(list []specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	rules := []deviceRule{{kind: 'a', major: -1, minor: -1, access: allAccess}}
	for _, d := range list {
		r := deviceRule{allow: d.Allow, major: -1, minor: -1}
		if d.Major != nil {
			r.major = *d.Major
		}
		if d.Minor != nil {
			r.minor = *d.Minor
		}
		if !slices.Contains([]string{"", "a", "b", "c"}, d.Type) || strings.Trim(d.Access, "rwm") != "" ||
			min(r.major, r.minor) < -1 || max(r.major, r.minor) > math.MaxInt32 {
			return nil, fmt.Errorf("device rule: there is no type %q, number %d:%d or access %q", d.Type, r.major, r.minor, d.Access)
		}
		for _, letter := range cmp.Or(d.Access, "rwm") {
			r.access |= 1 << strings.IndexRune("mrw", letter)
		}
		kinds := strings.NewReplacer("a", "bc").Replace(cmp.Or(d.Type, "a"))
		if kinds == "bc" && r.major < 0 && r.minor < 0 && r.access == allAccess {
			rules, kinds = nil, "a" // what was before does not count
		}
		for _, r.kind = range []byte(kinds) {
			rules = append(rules, r)
		}
	}
	for _, d := range harmlessDevices {
		if !rules[0].allow && !slices.Contains(rules, d) {
			rules = append(rules, d)
		}
	}
	return rules, nil
}

// limitDevices applies the rules: on v1 by files, on v2 by a program.
func (c cgroup) limitDevices(list []specs.LinuxDeviceCgroup) error {
	rules, err := deviceRules(list)
	switch {
	case err != nil:
		return err
	case c.Dirs["devices"] != "":
		return limitDevicesV1(c.Dirs["devices"], rules)
	case c.Dirs[""] == "":
		return fmt.Errorf(noController, "devices")
	}
	return wrap(attachDeviceFilter(c.Dirs[""], deviceFilter(rules)), "limit devices of %s", c.Dirs[""])
}

// limitDevicesV1 writes the rules, see the kernel's cgroup-v1/devices.rst.
// After the first rule, for all, v1 knows only exceptions to it, and forgets
// one only when exactly it is named: other rules it would silently ignore.
func limitDevicesV1(dir string, rules []deviceRule) error {
	for i, r := range rules {
		for _, e := range rules[1:max(i, 1)] {
			meets := func(a, b int64) bool { return a == b || min(a, b) < 0 }
			exact := e.major == r.major && e.minor == r.minor
			if r.allow == rules[0].allow && e.allow != r.allow && e.kind == r.kind && meets(e.major, r.major) && meets(e.minor, r.minor) && !exact {
				return fmt.Errorf("device rule %q: cgroup v1 knows no exception to %q", r, e)
			}
		}
		file := dir + map[bool]string{false: "/devices.deny", true: "/devices.allow"}[r.allow]
		if err := writeCgroup(file, r.String()); err != nil {
			return err
		}
	}
	return nil
}

// String is the rule as v1 writes it: c 1:* mr
func (r deviceRule) String() string {
	text := strings.ReplaceAll(fmt.Sprintf("%c %d:%d ", r.kind, r.major, r.minor), "-1", "*")
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
	offset          int16 // of what a jump leaves out
	value           int32
}

// deviceFilter is the program that the kernel asks at each access, with a
// struct bpf_cgroup_dev_ctx: kind and access in one word, major, minor. It says
// 1 for yes. The last rule counts, so it comes first; what it does not allow,
// of reading and writing for one, is left to those before.
func deviceFilter(rules []deviceRule) (program []bpfInstruction) {
	const r0, r1, kind, access, major, minor = 0, 1, 2, 3, 4, 5 // registers
	const load, compute, jump = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, unix.BPF_ALU64 | unix.BPF_K, unix.BPF_JMP | unix.BPF_K
	add := func(code, registers uint8, offset int16, value int32) {
		program = append(program, bpfInstruction{code, registers, offset, value})
	}
	answer := func(yes bool) {
		add(compute|unix.BPF_MOV, r0, 0, map[bool]int32{true: 1}[yes])
		add(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0)
	}
	add(load, kind|r1<<4, 0, 0)
	add(load, access|r1<<4, 0, 0)
	add(load, major|r1<<4, 4, 0)
	add(load, minor|r1<<4, 8, 0)
	add(compute|unix.BPF_AND, kind, 0, 0xffff)
	add(compute|unix.BPF_RSH, access, 0, 16)
	for _, r := range slices.Backward(rules[1:]) {
		// Each rule takes seven instructions; who it does not concern jumps
		// over the rest, or over none where all numbers are meant.
		add(jump|unix.BPF_JNE, kind, 6, int32(1+strings.IndexByte("bc", r.kind))) // BPF_DEVCG_DEV_*
		add(jump|unix.BPF_JNE, major, int16(min(5, 6*(r.major+1))), int32(r.major))
		add(jump|unix.BPF_JNE, minor, int16(min(4, 5*(r.minor+1))), int32(r.minor))
		if r.allow {
			add(compute|unix.BPF_AND, access, 0, ^r.access)
			add(jump|unix.BPF_JNE, access, 2, 0)
		} else {
			add(jump|unix.BPF_JSET, access, 1, r.access)
			add(jump|unix.BPF_JA, 0, 2, 0)
		}
		answer(r.allow)
	}
	answer(rules[0].allow)
	return program
}

// bpf calls bpf(2) with one of the structures in its union bpf_attr. There a
// pointer takes 8 bytes: on machines of 32 bits the kernel refuses them. A
// signal ends the kernel's check of a program with EAGAIN.
func bpf[A any](command uintptr, attributes *A) (int, error) {
	n, errno := uintptr(0), unix.EAGAIN
	for errno == unix.EAGAIN {
		n, _, errno = unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(attributes)), unsafe.Sizeof(*attributes))
	}
	if errno != 0 {
		return -1, os.NewSyscallError("bpf", errno)
	}
	return int(n), nil
}

// attachDeviceFilter lets program decide for a new cgroup; what is above it has
// its say, too, and so will have what is below.
func attachDeviceFilter(dir string, program []bpfInstruction) error {
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(group)
	filter, err := bpf(unix.BPF_PROG_LOAD, &struct {
		kind, count  uint32
		instructions *bpfInstruction
		license      *byte
	}{unix.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(program)), &program[0], new(byte)})
	if errors.Is(err, unix.EPERM) && !privileged() {
		return nil // only the host's root may; but here nobody can make a node
	}
	if err != nil {
		return err
	}
	defer unix.Close(filter)
	_, err = bpf(unix.BPF_PROG_ATTACH, &struct{ cgroup, program, kind, flags uint32 }{
		uint32(group), uint32(filter), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI})
	return err
}
