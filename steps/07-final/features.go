//go:build linux

package main

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// version is that of this runtime, in the form that engines parse.
const version = "1.0.0"

// describe tells what this runtime can do, see the runtime-spec's features.md.
func describe() features.Features {
	yes, no := true, false
	var kinds []string
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
			Capabilities: allCapabilities(),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &no},
			Seccomp: &features.Seccomp{Enabled: &yes, Actions: seccompActions(), Operators: seccompOperators(),
				Archs: seccompArchitectures(), KnownFlags: seccompFlags(), SupportedFlags: seccompFlags()},
			Apparmor:   &features.Apparmor{Enabled: &yes},
			Selinux:    &features.Selinux{Enabled: &yes},
			IntelRdt:   &features.IntelRdt{Enabled: &no},
			NetDevices: &features.NetDevices{Enabled: &no},
		},
		Annotations: map[string]string{"containers-from-scratch.version": version},
	}
}
