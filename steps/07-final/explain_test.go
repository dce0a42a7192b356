//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestADeathIsExplained has init die of itself, and be killed.
func TestADeathIsExplained(t *testing.T) {
	for end, want := range map[string]string{
		"exit 3":     "init ended before the command: exit status 3",
		"exit 2":     "init ended before the command: exit status 2 (if Go got no thread: exec needs room for 8 below the limit of processes)",
		"kill -9 $$": "init ended before the command: signal: killed (by the OOM killer, if the memory limit is too low)",
	} {
		c := exec.Command("sh", "-c", end)
		require.NoError(t, c.Start())
		require.EqualError(t, explainDeath(fmt.Errorf("wait for created: %w", io.EOF), c.Process), want)
	}
	require.Equal(t, os.ErrExist, explainDeath(os.ErrExist, nil), "no death")
}
