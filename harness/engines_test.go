package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/engines"
)

func TestChecksAreCountedByTheirLines(t *testing.T) {
	said := strings.Join([]string{
		"PASS podman: run passes on output",
		"FAIL podman: stop sends SIGTERM: it printed PASS / FAIL",
		"PASSED is another word",
		" PASS with a space",
		"FAIL docker: starts: dockerd does not answer",
		"PASS docker: " + strings.Repeat("x", 100_000),
		"time=now level=warning msg=\"FAIL \"",
		"PASS ctr: without an end of line",
	}, "\n")
	var copied strings.Builder
	require.Equal(t, [2]int{3, 2}, countChecks(strings.NewReader(said), &copied))
	require.Empty(t, cmp.Diff(said+"\n", copied.String()), "every line is shown")
	require.Equal(t, [2]int{}, countChecks(strings.NewReader(""), &copied))
}

func TestWhatRunNames(t *testing.T) {
	for run, want := range map[string]struct {
		engines []string
		checks  string
	}{
		"":       {[]string{"podman", "docker", "ctr"}, ""},
		"docker": {[]string{"docker"}, ""},
		"ctr":    {[]string{"ctr"}, ""},
		"exec":   {[]string{"podman", "docker", "ctr"}, "exec"},
	} {
		list, checks := engines.Named(run)
		var names []string
		for _, e := range list {
			names = append(names, e.Name)
		}
		require.Equal(t, want.engines, names, run)
		require.Equal(t, want.checks, checks, run)
	}
}
