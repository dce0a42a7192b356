//go:build linux

package main

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// version is that of this runtime, in the form that engines parse.
const version = "1.0.0"

// describe tells what this runtime can do, see the runtime-spec's features.md.
func describe() features.Features {
	yes, no := true, false
	flags := []string{"SECCOMP_FILTER_FLAG_TSYNC", string(specs.LinuxSeccompFlagLog), string(specs.LinuxSeccompFlagSpecAllow)}
	var kinds, archs, capabilities []string
	for _, a := range abis {
		archs = append(archs, string(a.arch))
	}
	for _, name := range strings.Fields(capabilityNames) {
		capabilities = append(capabilities, "CAP_"+name)
	}
	for _, ns := range namespaces {
		kinds = append(kinds, string(ns.kind))
	}
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  mountOptionNames(),
		Linux: &features.Linux{
			Namespaces:   kinds,
			Capabilities: capabilities,
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &no},
			Seccomp: &features.Seccomp{Enabled: &yes, Archs: archs, KnownFlags: flags, SupportedFlags: flags,
				Actions: []string{string(specs.ActAllow), string(specs.ActErrno), string(specs.ActKill), string(specs.ActKillProcess),
					string(specs.ActKillThread), string(specs.ActLog), string(specs.ActTrace), string(specs.ActTrap)},
				Operators: []string{string(specs.OpEqualTo), string(specs.OpGreaterEqual), string(specs.OpGreaterThan),
					string(specs.OpLessEqual), string(specs.OpLessThan), string(specs.OpMaskedEqual), string(specs.OpNotEqual)}},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &no}},
			NetDevices:      &features.NetDevices{Enabled: &no},
		},
		Annotations: map[string]string{"containers-from-scratch.version": version},
	}
}

// mountOptionNames are the options of mounts that are not for the filesystem.
func mountOptionNames() []string {
	names := []string{"defaults", "bind", "rbind", "remount", "tmpcopyup",
		"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"}
	for _, a := range mountAttributes {
		names = append(names, a.on, a.off, "r"+a.on, "r"+a.off)
	}
	for _, p := range propagations {
		names = append(names, p.name, "r"+p.name)
	}
	return names
}
