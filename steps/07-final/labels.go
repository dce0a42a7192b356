//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

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
