//go:build linux

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatAVerbLacks: else an attack without its file would say nothing, and
// look as if it were kept out.
func TestWhatAVerbLacks(t *testing.T) {
	for name, words := range map[string]int{"breakout": 1, "hostname": 0, "args": 0, "read": 1, "as": 2, "early": 4, "shm": 1} {
		require.False(t, verbs[name].lacks(make([]string, words)), name)
		if words > 0 {
			require.True(t, verbs[name].lacks(make([]string, words-1)), name)
		}
	}
}
