//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func TestHooksGetTheStateAndNoEnvironment(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET", "x")
	hook := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >" + out + "; echo $SECRET >>" + out}}
	require.NoError(t, runHooks("prestart", []specs.Hook{hook}, specs.State{Version: "1", ID: "c", Status: specs.StateCreated, Pid: 7, Bundle: "/b"}))
	said, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, `{"ociVersion":"1","id":"c","status":"created","pid":7,"bundle":"/b"}`+"\n", string(said))
}

func TestAHookThatFailsStopsTheOthers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	err := runHooks("createRuntime", []specs.Hook{
		{Path: "/bin/sh", Args: []string{"sh", "-c", "echo the reason >&2; exit 3"}},
		{Path: "/bin/touch", Args: []string{"touch", out}},
	}, specs.State{})
	require.EqualError(t, err, "run createRuntime hook /bin/sh: exit status 3: the reason")
	require.NoFileExists(t, out)
}

func TestAHookHasItsTime(t *testing.T) {
	seconds := 1
	err := runHook(specs.Hook{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Timeout: &seconds}, specs.State{})
	require.ErrorContains(t, err, "timeout of 1 s")
	require.NoError(t, runHook(specs.Hook{Path: "/bin/true", Args: []string{"true"}, Timeout: &seconds}, specs.State{}))
}
