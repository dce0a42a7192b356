//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

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

// setExecLabels tells AppArmor and SELinux what the command is to be. A label
// for one that does not run here is no error: its warning is returned. Call it
// in the thread that will call execve(2), while /proc is still the host's: the
// container's could be something else that takes what is written to it
// (CVE-2019-16884).
func setExecLabels(p *specs.Process) (warnings []string, err error) {
	const attr = "/proc/thread-self/attr/"
	if p.ApparmorProfile != "" {
		enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
		file := attr + "apparmor/exec" // since Linux 5.8, beside other modules
		if _, err := os.Stat(file); err != nil {
			file = attr + "exec"
		}
		if !strings.HasPrefix(string(enabled), "Y") {
			warnings = append(warnings, fmt.Sprintf("AppArmor does not run here: no profile %s", p.ApparmorProfile))
		} else if err := writeAttribute(file, "exec "+p.ApparmorProfile); err != nil {
			return warnings, fmt.Errorf("set AppArmor profile %s: %w", p.ApparmorProfile, err)
		}
	}
	if p.SelinuxLabel != "" {
		// Without a policy everything is "kernel", and no label is valid.
		current, _ := os.ReadFile(attr + "current")
		_, err := os.Stat("/sys/fs/selinux/enforce")
		if err != nil || strings.TrimRight(string(current), "\x00\n") == "kernel" {
			warnings = append(warnings, fmt.Sprintf("SELinux does not run here: no label %s", p.SelinuxLabel))
		} else if err := writeAttribute(attr+"exec", p.SelinuxLabel); err != nil {
			return warnings, fmt.Errorf("set SELinux label %s: %w", p.SelinuxLabel, err)
		}
	}
	return warnings, nil
}

// writeAttribute writes text to file if it is one of proc(5).
func writeAttribute(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is not of proc", file)
	}
	_, err = f.WriteString(text)
	return err
}
