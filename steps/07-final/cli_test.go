//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// dispatched dispatches args and returns what main would exit with.
func dispatched(args ...string) (status int, err error) {
	status, err = dispatch(args)
	if e, ok := errors.AsType[commandError](err); ok {
		return e.status, err
	}
	return status, err
}

func TestFlagsComeInEveryForm(t *testing.T) {
	root, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	for _, args := range [][]string{
		{"--root", root, "--log", log, "--log-format", "json", "delete", "--force", "c"},
		{"--root=" + root, "--log=" + log, "--log-format=json", "delete", "--force=true", "c"},
		{"-root", root, "delete", "-f", "c"},
	} {
		status, err := dispatched(args...)
		require.NoError(t, err, args)
		require.Zero(t, status)
	}
}

func TestStatusesOfFailures(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct {
		status int
		text   string
		args   []string
	}{
		{1, "container does not exist", []string{"state", "c"}},
		{1, "container does not exist", []string{"kill", "c", "9"}},
		{1, "container does not exist", []string{"delete", "c"}},
		{255, "container does not exist", []string{"exec", "c", "true"}},
		{1, "invalid container id", []string{"state", "../c"}},
		{1, "got 2 arguments", []string{"start", "c", "d"}},
		{1, "flag provided but not defined: -nonsense", []string{"create", "--nonsense", "c"}},
		{1, "flag provided but not defined: -no-pivot", []string{"create", "--no-pivot", "c"}},
		{1, "got 1 arguments", []string{"list", "c"}},
		{1, "neither table nor json", []string{"list", "--format", "xml"}},
		{125, "flag provided but not defined: -bogus", []string{"--bogus", "run", "true"}},
		{125, "there is none of that name", []string{"run", "--without", "gravity", "true"}},
		{125, "do not go together", []string{"run", "--bundle", "x", "--memory", "1g", "c"}},
		{1, "--systemd-cgroup: systemd's cgroups are not supported", []string{"--systemd-cgroup", "state", "c"}},
		{1, "neither text nor json", []string{"--log-format", "xml", "state", "c"}},
	} {
		status, err := dispatched(append([]string{"--root", root}, c.args...)...)
		require.ErrorContains(t, err, c.text)
		require.Equal(t, c.status, status, c.args)
	}
}

func TestTheLogHasALineForEachError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log.json")
	require.NoError(t, openLog(file, "json"))
	t.Cleanup(func() { log.file = nil })
	logError(errors.New("it \x1b[31mfailed\nbadly"))
	line, err := os.ReadFile(file)
	require.NoError(t, err)
	var entry map[string]string
	require.NoError(t, json.Unmarshal(line, &entry))
	require.Equal(t, "error", entry["level"])
	require.Equal(t, "it \x1b[31mfailed\nbadly", entry["msg"])
	require.NotContains(t, string(line), "\x1b")
}

func TestNothingRawReachesTheTerminal(t *testing.T) {
	require.Equal(t, "a\uFFFD[31mb\uFFFDc\uFFFD é", printable("a\x1b[31mb\nc\xff é"))
}

func TestAnUnknownVerbGetsUsage(t *testing.T) {
	status, err := dispatched("fly")
	require.NoError(t, err)
	require.Equal(t, 125, status)
}
