//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// dropLabels takes from s what is for a security module that does not run here,
// with a warning: see config.md. Outside, where /sys is the host's.
func dropLabels(s *specs.Spec) {
	p := s.Process
	if p.ApparmorProfile != "" {
		if enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(enabled), "Y") {
			warn("AppArmor does not run here: no profile " + p.ApparmorProfile)
			p.ApparmorProfile = ""
		}
	}
	if p.SelinuxLabel != "" || s.Linux.MountLabel != "" {
		// Without a policy everything is "kernel", and no label is valid.
		current, _ := os.ReadFile("/proc/thread-self/attr/current")
		if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil || strings.TrimRight(string(current), "\x00\n") == "kernel" {
			warn("SELinux does not run here: no label " + p.SelinuxLabel + " " + s.Linux.MountLabel)
			p.SelinuxLabel, s.Linux.MountLabel = "", ""
		}
	}
}

// setExecLabels tells AppArmor and SELinux what the command is to be. Call it
// in the thread that will call execve(2), before no_new_privs, and after the
// hooks: they would get the labels, too.
func setExecLabels(p *specs.Process) error {
	for _, l := range []struct{ label, file, text string }{
		{p.ApparmorProfile, "apparmor/exec", "exec " + p.ApparmorProfile},
		{p.SelinuxLabel, "exec", p.SelinuxLabel},
	} {
		if l.label == "" {
			continue
		}
		if err := writeProc("thread-self/attr/"+l.file, l.text); err != nil {
			return fmt.Errorf("set label %s: %w", l.label, err)
		}
	}
	return nil
}
