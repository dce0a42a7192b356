//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// schedulerAttr translates s to what sched_setattr(2) takes.
func schedulerAttr(s *specs.Scheduler) (*unix.SchedAttr, error) {
	policy := numberIn("OTHER FIFO RR BATCH ISO IDLE DEADLINE", "SCHED_", string(s.Policy))
	if policy < 0 {
		return nil, fmt.Errorf("unknown policy %q", s.Policy)
	}
	if s.Nice < -20 || s.Nice > 19 {
		return nil, fmt.Errorf("nice %d is not in -20 to 19", s.Nice)
	}
	realtime := policy == unix.SCHED_FIFO || policy == unix.SCHED_RR
	if s.Priority != 0 && !realtime || s.Priority < 0 || s.Priority > 99 {
		return nil, fmt.Errorf("%s has no priority %d", s.Policy, s.Priority)
	}
	if s.Runtime|s.Deadline|s.Period != 0 && policy != unix.SCHED_DEADLINE {
		return nil, fmt.Errorf("%s has no runtime, deadline and period", s.Policy)
	}
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: uint32(policy), Nice: s.Nice,
		Priority: uint32(s.Priority), Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	for _, flag := range s.Flags {
		bit := numberIn("RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX",
			"SCHED_FLAG_", string(flag))
		if bit < 0 {
			return nil, fmt.Errorf("unknown flag %q", flag)
		}
		attr.Flags |= 1 << bit
	}
	return attr, nil
}

// setScheduler sets the calling thread's policy. Raising it needs CAP_SYS_NICE.
func setScheduler(s *specs.Scheduler) error {
	if s == nil {
		return nil
	}
	attr, err := schedulerAttr(s)
	if err == nil {
		err = unix.SchedSetAttr(0, attr, 0)
	}
	if err != nil {
		return fmt.Errorf("set scheduler %s: %w", s.Policy, err)
	}
	return nil
}

// ioPriorityValue translates p to what ioprio_set(2) takes.
func ioPriorityValue(p *specs.LinuxIOPriority) (uintptr, error) {
	class := numberIn("NONE RT BE IDLE", "IOPRIO_CLASS_", string(p.Class))
	if class < 1 {
		return 0, fmt.Errorf("unknown class %q", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return 0, fmt.Errorf("priority %d is not in 0 to 7", p.Priority)
	}
	return uintptr(class<<13 | p.Priority), nil
}

// setIOPriority sets the calling thread's priority at disks.
func setIOPriority(p *specs.LinuxIOPriority) error {
	if p == nil {
		return nil
	}
	value, err := ioPriorityValue(p)
	if err != nil {
		return fmt.Errorf("set I/O priority: %w", err)
	}
	const whoProcess = 1 // IOPRIO_WHO_PROCESS
	if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, whoProcess, 0, value); errno != 0 {
		return fmt.Errorf("set I/O priority %s %d: %w", p.Class, p.Priority, errno)
	}
	return nil
}

// validatePersonality tells what in p no kernel would do.
func validatePersonality(p *specs.LinuxPersonality) error {
	if p != nil && p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32 {
		return fmt.Errorf("linux.personality: unknown domain %q", p.Domain)
	}
	if p != nil && len(p.Flags) > 0 {
		return fmt.Errorf("linux.personality: unknown flags %v: the specification has none", p.Flags)
	}
	return nil
}

// setPersonality makes uname(2) say a machine of 32 bits, for PerLinux32.
func setPersonality(p *specs.LinuxPersonality) error {
	if p == nil {
		return nil
	}
	domain := uintptr(0)
	if p.Domain == specs.PerLinux32 {
		domain = 8
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, domain, 0, 0); errno != 0 {
		return fmt.Errorf("set personality %s: %w", p.Domain, errno)
	}
	return nil
}

// parseCPUs reads a list such as "0-3,7". An empty one is nil.
func parseCPUs(list string) (*unix.CPUSet, error) {
	if list == "" {
		return nil, nil
	}
	set := &unix.CPUSet{}
	for part := range strings.SplitSeq(list, ",") {
		first, last, found := strings.Cut(strings.TrimSpace(part), "-")
		if !found {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no list of CPUs", list)
		}
		to, err := strconv.ParseUint(last, 10, 32)
		if err != nil || to < from || to >= uint64(len(set)*strconv.IntSize) {
			return nil, fmt.Errorf("%q is no list of CPUs", list)
		}
		for cpu := from; cpu <= to; cpu++ {
			set.Set(int(cpu))
		}
	}
	return set, nil
}

// setCPUAffinity lets the calling thread run on the CPUs of list only; an empty
// list changes nothing.
func setCPUAffinity(list string) error {
	set, err := parseCPUs(list)
	if err == nil && set != nil {
		err = unix.SchedSetaffinity(0, set)
	}
	if err != nil {
		return fmt.Errorf("set CPU affinity %s: %w", list, err)
	}
	return nil
}
