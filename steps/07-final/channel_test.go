//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArgumentsReachInitAsTheyAre sends what is no UTF-8, and what is empty.
func TestArgumentsReachInitAsTheyAre(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	for _, words := range [][]string{{"sh", "a\xff", ""}, {""}, nil} {
		ours, theirs, err := socketPair()
		require.NoError(t, err)
		defer ours.Close()
		spec := defaultSpec(words)
		spec.Process.Env = append(spec.Process.Env, "A=\xfe é")
		want := *spec.Process
		require.NoError(t, newChannel(ours).sendConfig(initConfig{Spec: spec, Inherit: true}, nil))
		os.Args = []string{"init", fmt.Sprint(theirs.Fd())}
		c, err := awaitConfig()
		require.NoError(t, err)
		require.Equal(t, want.Args, c.Spec.Process.Args)
		require.Equal(t, want.Env, c.Spec.Process.Env)
	}
}
