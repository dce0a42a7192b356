//go:build linux

package main

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// sysctlPath is the file below /proc/sys that name stands for. The first
// separator is that of directories, the other one stands for a dot: as in
// net/ipv4/conf/eth0.1 and net.ipv4.conf.eth0/1, see sysctl.d(5).
func sysctlPath(name string) string {
	if first := strings.IndexAny(name, "./"); first >= 0 && name[first] == '/' {
		return name
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}

// sysctlNamespace is the namespace whose own the sysctl in that file is, ""
// when it is the machine's.
func sysctlNamespace(file string) specs.LinuxNamespaceType {
	switch {
	case strings.HasPrefix(file, "net/"):
		return specs.NetworkNamespace
	case file == "kernel/hostname" || file == "kernel/domainname":
		return specs.UTSNamespace
	case file == "kernel/sem" || strings.HasPrefix(file, "kernel/shm") || strings.HasPrefix(file, "kernel/msg") ||
		strings.HasPrefix(file, "fs/mqueue/"):
		return specs.IPCNamespace
	}
	return ""
}

// validateSysctls finds a sysctl that is not the container's alone.
func validateSysctls(s *specs.Spec) error {
	for name := range s.Linux.Sysctl {
		file := sysctlPath(name)
		if path.Clean("/"+file) != "/"+file {
			return fmt.Errorf("sysctl %q: it is no name", name)
		}
		kind := sysctlNamespace(file)
		if kind == "" {
			return fmt.Errorf("sysctl %s: it is the whole machine's", name)
		}
		if !hasNamespace(s, kind) {
			return fmt.Errorf("sysctl %s: the container has no %s namespace", name, kind)
		}
	}
	return nil
}

// setSysctls writes those that validateSysctls has seen.
func setSysctls(values map[string]string) error {
	for name, value := range values {
		if err := writeProc("sys/"+sysctlPath(name), value); err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	return nil
}
