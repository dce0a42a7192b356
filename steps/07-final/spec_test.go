//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	featurespec "github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/require"
)

// theFlags are those of `run CMD` with their default values.
func theFlags() runOptions {
	return runOptions{hostname: "container", memory: "64m", pids: 64, cpus: 0.5}
}

func TestTheFlagsDefaultsAreTheConfigurations(t *testing.T) {
	spec, o := defaultSpec([]string{"sh"}), theFlags()
	require.NoError(t, o.apply(spec))
	want := defaultSpec([]string{"sh"})
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = want.Linux.UIDMappings, want.Linux.GIDMappings // an ordinary user's are others
	require.Equal(t, want, spec)
	require.NoError(t, validate(spec))
}

func TestLimitsComeFromTheFlags(t *testing.T) {
	spec, o := defaultSpec([]string{"sh"}), theFlags()
	o.memory, o.pids, o.cpus = "3g", 7, 1.5
	require.NoError(t, o.apply(spec))
	r := spec.Linux.Resources
	require.Equal(t, []int64{3 << 30, 3 << 30, 7, 150000}, []int64{*r.Memory.Limit, *r.Memory.Swap, *r.Pids.Limit, *r.CPU.Quota})
	for _, wrong := range []func(o *runOptions){
		func(o *runOptions) { o.memory = "much" },
		func(o *runOptions) { o.pids = 0 },
		func(o *runOptions) { o.cpus = 0 },
		func(o *runOptions) { o.cpus = math.NaN() },
		func(o *runOptions) { o.cpus = math.Inf(1) },
	} {
		o := theFlags()
		wrong(&o)
		require.Error(t, o.apply(defaultSpec([]string{"sh"})), o)
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for size, want := range map[string]int64{"1": 1, "4096": 4096, "2k": 2 << 10, "2K": 2 << 10, "64m": 64 << 20, "8G": 8 << 30} {
		got, err := parseSize(size)
		require.NoError(t, err, size)
		require.Equal(t, want, got, size)
	}
	for _, size := range []string{"", "m", "0", "0k", "-1", "-1m", "1.5g", "64mb", "1t", "9223372036854775807k", "9223372036854775808", "1 m", "0x10"} {
		_, err := parseSize(size)
		require.Error(t, err, size)
	}
}

// TestEachProtectionCanBeLeftOut says of each what differs then; that it also
// makes a difference inside is for the facts of step 07 to show.
func TestEachProtectionCanBeLeftOut(t *testing.T) {
	beyondConfig := map[string]bool{"limits": true, "descriptors": true, "keyring": true}
	for _, protection := range protections {
		spec, o := defaultSpec([]string{"sh"}), theFlags()
		o.without = []string{protection}
		require.NoError(t, o.apply(spec))
		if want := defaultSpec([]string{"sh"}); beyondConfig[protection] {
			want.Linux.UIDMappings, want.Linux.GIDMappings = spec.Linux.UIDMappings, spec.Linux.GIDMappings
			require.Equal(t, want, spec, protection)
		} else {
			require.NotEqual(t, want, spec, protection)
		}
	}
	spec, o := defaultSpec([]string{"sh"}), theFlags()
	o.without = protections
	require.NoError(t, o.apply(spec))
	require.Empty(t, spec.Linux.Namespaces)
	require.Equal(t, []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, spec.Linux.Resources.Devices)
}

func TestTheDefaultIsThisRuntimes(t *testing.T) {
	spec := defaultSpec(nil)
	require.Equal(t, specs.Version, spec.Version)
	root := []specs.LinuxIDMapping{{HostID: hostID, Size: 65536}}
	require.Equal(t, root, spec.Linux.UIDMappings)
	require.Equal(t, root, spec.Linux.GIDMappings)
	decoder := json.NewDecoder(bytes.NewReader(configText()))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(new(specs.Spec)))
}

// TestFeaturesAreWhatThereIs compares features.json with the code.
func TestFeaturesAreWhatThereIs(t *testing.T) {
	var f featurespec.Features
	decoder := json.NewDecoder(strings.NewReader(features))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&f))
	require.Equal(t, specs.Version, f.OCIVersionMax)
	require.Equal(t, version, f.Annotations["containers-from-scratch.version"])
	require.Equal(t, strings.Fields(capabilityNames), f.Linux.Capabilities)
	var kinds, archs []string
	for _, ns := range namespaces {
		kinds = append(kinds, string(ns.kind))
	}
	for _, a := range abis {
		archs = append(archs, string(a.arch))
	}
	require.ElementsMatch(t, kinds, f.Linux.Namespaces)
	require.ElementsMatch(t, archs, f.Linux.Seccomp.Archs)
	for _, option := range f.MountOptions {
		o, err := parseMountOptions([]string{option})
		require.NoError(t, err)
		if !slices.Contains([]string{"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"}, option) { // the filesystem's
			require.Empty(t, o.data)
		}
	}
	for name := range mountAttributes {
		require.Subset(t, f.MountOptions, []string{name, "r" + name})
	}
	for name := range propagations {
		require.Contains(t, f.MountOptions, name)
	}
	for _, action := range f.Linux.Seccomp.Actions {
		_, err := seccompAction(specs.LinuxSeccompAction(action), nil)
		require.NoError(t, err)
	}
	for _, operator := range f.Linux.Seccomp.Operators {
		require.Contains(t, seccompOperators, specs.LinuxSeccompOperator(operator))
	}
	require.Len(t, f.Linux.Seccomp.Operators, len(seccompOperators))
	for _, flag := range f.Linux.Seccomp.SupportedFlags {
		require.Contains(t, seccompFlags, specs.LinuxSeccompFlag(flag))
	}
}

// BenchmarkDefaultSpec reads the default configuration.
func BenchmarkDefaultSpec(b *testing.B) {
	for b.Loop() {
		defaultSpec(nil)
	}
}
