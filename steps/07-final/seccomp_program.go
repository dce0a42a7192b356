//go:build linux

package main

import (
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// program is a filter that is written from its last instruction to its first.
// Filters only jump forward, see bpf(4): so where a jump goes is known when it
// is written, as an index into code.
type program struct {
	code []unix.SockFilter

	table     map[string]string // of syscallTable
	rules     []seccompRule
	otherwise uint32 // default action
}

// emit writes an instruction and returns where it is.
func (p *program) emit(code uint16, k uint32) int {
	p.code = append(p.code, unix.SockFilter{Code: code, K: k})
	return len(p.code) - 1
}

// load writes: A = the 32 bits at offset in struct seccomp_data, and mask.
func (p *program) load(offset, mask uint32) int {
	if mask != 0xffffffff {
		p.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask)
	}
	return p.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

// ret writes the end of the program that returns value, if it is not there.
func (p *program) ret(value uint32) int {
	end := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	if at := slices.Index(p.code, end); at >= 0 {
		return at
	}
	return p.emit(end.Code, value)
}

// jump writes: if A op k, go to yes, else to no. It has 8 bits for a distance,
// and goes to what is farther by another jump.
func (p *program) jump(op uint16, k uint32, yes, no int) int {
	for _, target := range []*int{&yes, &no} {
		if distance := len(p.code) - 1 - *target; distance > 250 {
			*target = p.emit(unix.BPF_JMP|unix.BPF_JA, uint32(distance))
		}
	}
	at := p.emit(unix.BPF_JMP|unix.BPF_K|op, k)
	p.code[at].Jt, p.code[at].Jf = uint8(at-1-yes), uint8(at-1-no)
	return at
}

// numbers is a range of system calls that are treated alike: from here to the
// beginning of the next, by the code at at.
type numbers struct {
	from uint32
	at   int
}

// dispatch writes the part for calls through a, among architectures, and the
// jump to it. For others, the program goes on at next.
func (p *program) dispatch(a abi, architectures []specs.Arch, next int) int {
	ranges, beyond := p.ranges(a, 0)
	if a.arch == specs.ArchX86_64 {
		if x32 := abis[1]; slices.Contains(architectures, x32.arch) {
			more, _ := p.ranges(x32, x32Bit)
			ranges = append(ranges, more...)
		} else {
			ranges = append(ranges, numbers{x32Bit, p.ret(unix.SECCOMP_RET_KILL_PROCESS)})
		}
		// A tracer writes -1 over the number of a call that it suppresses.
		ranges = append(ranges, numbers{0xffffffff, beyond})
	}
	if at := p.search(ranges); at < len(p.code)-1 { // found, not written here
		p.emit(unix.BPF_JMP|unix.BPF_JA, uint32(len(p.code)-1-at))
	}
	start := p.load(0, ^uint32(0)) // nr of struct seccomp_data
	return p.jump(unix.BPF_JEQ, a.audit, start, next)
}

// search writes a binary search for the range that A lies in.
func (p *program) search(ranges []numbers) int {
	if len(ranges) == 1 {
		return ranges[0].at
	}
	middle := len(ranges) / 2
	above := p.search(ranges[middle:])
	below := p.search(ranges[:middle])
	return p.jump(unix.BPF_JGE, ranges[middle].from, above, below)
}

// ranges writes the code that looks at the arguments of calls through a, whose
// numbers begin at base. It returns what is done for which number, and for
// those beyond the highest that the profile names.
func (p *program) ranges(a abi, base uint32) (ranges []numbers, beyond int) {
	// Numbers, each with the place of a rule in the lower half.
	entries := make([]uint64, 0, 512)
	rules := p.rules
	highest := -1
	for i, rule := range p.rules {
		for _, name := range rule.names {
			if number := p.number(name, a.column); number >= 0 {
				highest = max(highest, number)
				entries = append(entries, uint64(base)<<32+uint64(number)<<32|uint64(i))
			}
			if number := p.number(name, multiplexerColumn); number >= 0 && a.arch == specs.ArchX86 {
				if part, sensible := rule.part(uint64(p.number(name, multiplexerColumn+1))); sensible {
					entries = append(entries, uint64(number)<<32|uint64(len(rules)))
					rules = append(rules, part)
				}
			}
		}
	}
	entries = slices.DeleteFunc(entries, func(e uint64) bool { return rules[uint32(e)].ret == p.otherwise })
	slices.Sort(entries)

	otherwise := p.ret(p.otherwise)
	put := func(from uint32, at int) { // in ascending order
		if last := len(ranges) - 1; last >= 0 && ranges[last].from == from {
			ranges = ranges[:last] // was empty
		}
		if last := len(ranges) - 1; last < 0 || ranges[last].at != at {
			ranges = append(ranges, numbers{from, at})
		}
	}
	put(base, otherwise)
	for len(entries) > 0 {
		number, same := uint32(entries[0]>>32), 1
		for same < len(entries) && uint32(entries[same]>>32) == number {
			same++
		}
		always := slices.IndexFunc(entries[:same], func(e uint64) bool { return len(rules[uint32(e)].conditions) == 0 })
		if always >= 0 {
			put(number, p.ret(rules[uint32(entries[always])].ret))
		} else {
			at := otherwise
			for _, e := range slices.Backward(entries[:same]) {
				rule, no := rules[uint32(e)], at
				at = p.ret(rule.ret)
				for _, condition := range slices.Backward(rule.conditions) {
					at = p.condition(condition, a.narrow, at, no)
				}
			}
			put(number, at)
		}
		put(number+1, otherwise)
		entries = entries[same:]
	}
	beyond = otherwise
	if highest >= 0 && !passes(p.otherwise) {
		beyond = p.ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
		put(base+uint32(highest)+1, beyond)
	}
	return ranges, beyond
}

// number looks up a number of the call name in the table, or returns -1.
func (p *program) number(name string, column int) int {
	numbers := p.table[name]
	for range column - 1 {
		_, numbers, _ = strings.Cut(numbers, " ")
	}
	text, _, _ := strings.Cut(strings.TrimSuffix(numbers, "\n"), " ")
	if text == "" || text == "-" {
		return -1
	}
	number, _ := strconv.Atoi(text) // a test reads them all
	return number
}

// condition writes the comparison that c asks for, which goes to yes or to no.
// A program has registers of 32 bits, so it compares the halves.
func (p *program) condition(c specs.LinuxSeccompArg, narrow bool, yes, no int) int {
	if c.Op == specs.OpNotEqual || c.Op == specs.OpLessThan || c.Op == specs.OpLessEqual {
		yes, no = no, yes // of the opposite
	}
	op, value, mask := uint16(unix.BPF_JEQ), c.Value, ^uint64(0)
	switch c.Op {
	case specs.OpGreaterThan, specs.OpLessEqual:
		op = unix.BPF_JGT
	case specs.OpGreaterEqual, specs.OpLessThan:
		op = unix.BPF_JGE
	case specs.OpMaskedEqual:
		mask, value = c.Value, c.ValueTwo&c.Value
	}
	low := uint32(16 + 8*c.Index) // args of struct seccomp_data, little-endian
	p.jump(op, uint32(value), yes, no)
	at := p.load(low, uint32(mask))
	if narrow || mask>>32 == 0 {
		return at
	}
	at = p.jump(unix.BPF_JEQ, uint32(value>>32), at, no)
	if op != unix.BPF_JEQ {
		p.jump(unix.BPF_JGT, uint32(value>>32), yes, at)
	}
	return p.load(low+4, uint32(mask>>32))
}

// part returns the rule for the older call that has r's as its part. A filter
// cannot see the part's arguments, which are in memory: what r grants on
// conditions is not granted, what it refuses is refused.
func (r seccompRule) part(part uint64) (rule seccompRule, sensible bool) {
	return seccompRule{ret: r.ret, conditions: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo, Value: part}}},
		len(r.conditions) == 0 || !passes(r.ret)
}
