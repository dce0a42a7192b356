//go:build linux

package main

import (
	"maps"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// program is a filter that is written from its last instruction to its first.
// Filters only jump forward, see bpf(4): so where a jump goes is known when it
// is written, as an index into code.
type program struct {
	code []unix.SockFilter

	table     map[string][]string // lines of syscallTable
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

// dispatch writes the part for calls through a, on amd64 those of x32 among
// them, and the jump to it. For others, the program goes on at next.
func (p *program) dispatch(a abi, x32 bool, next int) int {
	ranges := p.ranges(a, 0)
	if a.arch == specs.ArchX86_64 {
		beyond := ranges[len(ranges)-1].at
		if x32 {
			ranges = append(ranges, p.ranges(abis[1], x32Bit)...)
		} else {
			ranges = append(ranges, numbers{x32Bit, p.ret(unix.SECCOMP_RET_KILL_PROCESS)})
		}
		// A tracer writes -1 over the number of a call that it suppresses.
		ranges = append(ranges, numbers{0xffffffff, beyond})
	}
	at := p.search(ranges)
	p.emit(unix.BPF_JMP|unix.BPF_JA, uint32(len(p.code)-1-at))
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

// ranges writes what is done with calls through a, whose numbers begin at base.
func (p *program) ranges(a abi, base uint32) []numbers {
	otherwise := p.ret(p.otherwise)
	calls := make(map[uint32]int, 512) // where the code for a number is
	put := func(number uint32, rule seccompRule) {
		no, listed := calls[number]
		if !listed {
			no = otherwise
		}
		calls[number] = p.rule(rule, a.narrow, no)
	}
	for _, rule := range slices.Backward(p.rules) { // the first one counts
		for _, name := range rule.names {
			if number, known := p.number(name, a.column); known {
				put(base+number, rule)
			}
			if number, known := p.number(name, multiplexerColumn); known && a.arch == specs.ArchX86 {
				part, _ := p.number(name, multiplexerColumn+1)
				put(number, rule.part(uint64(part), p.otherwise))
			}
		}
	}

	beyond := otherwise
	if len(calls) > 0 && !passes(p.otherwise) {
		beyond = p.ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	}
	var ranges []numbers
	add := func(from uint32, at int) {
		if last := len(ranges) - 1; last < 0 || ranges[last].at != at {
			ranges = append(ranges, numbers{from, at})
		}
	}
	next := base
	for _, number := range slices.Sorted(maps.Keys(calls)) {
		if number > next {
			add(next, otherwise)
		}
		add(number, calls[number])
		next = number + 1
	}
	add(next, beyond)
	return ranges
}

// number looks up a number of the call name in the table.
func (p *program) number(name string, column int) (number uint32, known bool) {
	if line := p.table[name]; column < len(line) {
		n, err := strconv.ParseUint(line[column], 10, 32)
		return uint32(n), err == nil
	}
	return 0, false
}

// part returns the rule for the older call that has r's as its part. A filter
// cannot see the part's arguments, which are in memory: what r grants on
// conditions is not granted, what it refuses is refused.
func (r seccompRule) part(part uint64, otherwise uint32) seccompRule {
	if len(r.conditions) > 0 && passes(r.ret) {
		r.ret = otherwise
	}
	return seccompRule{ret: r.ret, conditions: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo, Value: part}}}
}

// rule writes what r asks for; where its conditions do not hold, it goes to no.
func (p *program) rule(r seccompRule, narrow bool, no int) int {
	if r.ret == p.otherwise { // then it is none
		return no
	}
	at := p.ret(r.ret)
	for _, c := range slices.Backward(r.conditions) {
		at = p.condition(c, narrow, at, no)
	}
	return at
}

// seccompOperators are those of a condition: the jump that a program has, and
// whether the opposite is meant.
var seccompOperators = map[specs.LinuxSeccompOperator]struct {
	jump     uint16
	opposite bool
}{
	specs.OpEqualTo:      {unix.BPF_JEQ, false},
	specs.OpNotEqual:     {unix.BPF_JEQ, true},
	specs.OpGreaterThan:  {unix.BPF_JGT, false},
	specs.OpLessEqual:    {unix.BPF_JGT, true},
	specs.OpGreaterEqual: {unix.BPF_JGE, false},
	specs.OpLessThan:     {unix.BPF_JGE, true},
	specs.OpMaskedEqual:  {unix.BPF_JEQ, false},
}

// condition writes the comparison that c asks for, which goes to yes or to no.
// A program has registers of 32 bits, so it compares the halves.
func (p *program) condition(c specs.LinuxSeccompArg, narrow bool, yes, no int) int {
	op := seccompOperators[c.Op]
	if op.opposite {
		yes, no = no, yes
	}
	value, mask := c.Value, ^uint64(0)
	if c.Op == specs.OpMaskedEqual {
		mask, value = c.Value, c.ValueTwo&c.Value
	}
	low := uint32(16 + 8*c.Index) // args of struct seccomp_data, little-endian
	p.jump(op.jump, uint32(value), yes, no)
	at := p.load(low, uint32(mask))
	if narrow || mask>>32 == 0 {
		return at
	}
	at = p.jump(unix.BPF_JEQ, uint32(value>>32), at, no)
	if op.jump != unix.BPF_JEQ {
		p.jump(unix.BPF_JGT, uint32(value>>32), yes, at)
	}
	return p.load(low+4, uint32(mask>>32))
}
