//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func TestTheDefaultIsValid(t *testing.T) {
	require.NoError(t, validate(defaultSpec([]string{"sh"})))
	t.Setenv("PATH", "/mine")
	t.Setenv("TERM", "mine")
	require.Equal(t, []string{"PATH=/mine", "TERM=mine", "HOME=/root"}, defaultSpec([]string{"sh"}).Process.Env)
	t.Setenv("PATH", "")
	t.Setenv("TERM", "")
	require.Regexp(t, `^\[PATH=/.* TERM=.* HOME=/root\]$`, fmt.Sprint(defaultSpec([]string{"sh"}).Process.Env))
}

func TestWhatIsWrongOrNotSupportedIsRefused(t *testing.T) {
	seconds := 0
	for name, change := range map[string]func(*specs.Spec){
		"ociVersion \"2.0\"":        func(s *specs.Spec) { s.Version = "2.0" },
		"has no root":               func(s *specs.Spec) { s.Root = nil },
		"vm is not supported":       func(s *specs.Spec) { s.VM = &specs.VM{} },
		"intelRdt is not supported": func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"linux.personality is not":  func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "LINUX"} },
		"seccomp.listenerPath":      func(s *specs.Spec) { s.Linux.Seccomp.ListenerPath = "/run/agent" },
		"seccomp.listenerMetadata":  func(s *specs.Spec) { s.Linux.Seccomp.ListenerMetadata = "x" },
		"commandLine is not":        func(s *specs.Spec) { s.Process.Args, s.Process.CommandLine = nil, "sh" },
		"memoryPolicy":              func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} },
		"netDevices":                func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"x": {}} },
		"listed twice":              func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) },
		"\"moon\" is not supported": func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "moon" },
		"is not absolute":           func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "proc/1/ns/uts" },
		"needs uidMappings":         func(s *specs.Spec) { s.Linux.UIDMappings = nil },
		"need a user namespace":     func(s *specs.Spec) { withoutNamespace(s.Linux, specs.UserNamespace) },
		"need a UTS namespace":      func(s *specs.Spec) { withoutNamespace(s.Linux, specs.UTSNamespace) },
		"need a time namespace":     func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}} },
		"the path of a hook is not": func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "sh"}}} },
		"a timeout of 0 s is none":  func(s *specs.Spec) { s.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: "/x", Timeout: &seconds}}} },
	} {
		spec := defaultSpec([]string{"sh"})
		change(spec)
		require.ErrorContains(t, validate(spec), name)
	}
}

func TestASpecIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeSpec(dir))
	spec, raw, err := loadSpec(dir)
	require.NoError(t, err)
	require.True(t, jsontext.Value(raw).IsValid())
	require.Equal(t, filepath.Join(dir, "rootfs"), spec.Root.Path)
	require.ErrorIs(t, writeSpec(dir), os.ErrExist)
}

// FuzzConfig feeds validate what config.json may hold: it answers, and touches
// nothing.
func FuzzConfig(f *testing.F) {
	text, err := json.Marshal(defaultSpec([]string{"sh"}))
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"ociVersion":"1.0.2","root":{"path":"x"},"process":{"cwd":"/","args":["a"]},"mounts":[{"destination":"/proc/../../x","type":"proc"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec := new(specs.Spec)
		if json.Unmarshal(text, spec) != nil {
			return
		}
		if spec.Linux == nil {
			spec.Linux = new(specs.Linux)
		}
		if spec.Process == nil {
			spec.Process = new(specs.Process)
		}
		if validate(spec) == nil {
			_, _, _ = compileSeccompFor(spec.Linux.Seccomp, runtime.GOARCH)
		}
	})
}
