//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attributes of the calling thread, see proc_pid_attr(5).
const threadAttributes = "/proc/thread-self/attr/"

// setExecLabels tells AppArmor and SELinux what the command is to be. A label
// for one that does not run here is no error: its warning is returned. Call it
// in the thread that will call execve(2), while /proc is still the host's: the
// container's could be something else that takes what is written to it
// (CVE-2019-16884).
func setExecLabels(p *specs.Process) (warnings []string, err error) {
	if p.ApparmorProfile != "" {
		enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
		if !strings.HasPrefix(string(enabled), "Y") {
			warnings = append(warnings, "AppArmor does not run here: no profile "+p.ApparmorProfile)
		} else if err := writeAttribute(threadAttributes+"apparmor/exec", "exec "+p.ApparmorProfile); err != nil {
			return nil, fmt.Errorf("set AppArmor profile %s: %w", p.ApparmorProfile, err)
		}
	}
	if p.SelinuxLabel != "" {
		// Without a policy everything is "kernel", and no label is valid.
		current, _ := os.ReadFile(threadAttributes + "current")
		_, err := os.Stat("/sys/fs/selinux/enforce")
		if err != nil || strings.TrimRight(string(current), "\x00\n") == "kernel" {
			warnings = append(warnings, "SELinux does not run here: no label "+p.SelinuxLabel)
		} else if err := writeAttribute(threadAttributes+"exec", p.SelinuxLabel); err != nil {
			return nil, fmt.Errorf("set SELinux label %s: %w", p.SelinuxLabel, err)
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
	if !isOn(int(f.Fd()), unix.PROC_SUPER_MAGIC) {
		return fmt.Errorf("%s is not of proc", file)
	}
	_, err = f.WriteString(text)
	return err
}
