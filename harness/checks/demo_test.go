//go:build linux

package checks

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"containers-from-scratch/harness/demo"
	"containers-from-scratch/harness/docs"

	"github.com/stretchr/testify/require"
)

// TestDemonstrations plays each scene as make demo does, without the panes, and
// compares what the lines show.
func TestDemonstrations(t *testing.T) {
	for n := 1; n < len(Steps); n++ {
		t.Run(Steps[n], func(t *testing.T) {
			tryHere(t)
			defer func() { require.NoError(t, pristine.restore()) }()
			cmd := exec.Command("/probe", "converse")
			cmd.Dir = "/"
			to, err := cmd.StdinPipe()
			require.NoError(t, err)
			from, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			talk := demo.NewTalk(to, from)
			for i, l := range demo.Scenes[n].Lines {
				output, err := talk.Ask(l)
				require.NoError(t, err, l.Run)
				promised := docs.Command{Line: l.Run, Output: lines(l.Shows)}
				at := docs.Block{File: fmt.Sprintf("scene %d", n), Line: i}
				require.Empty(t, at.Compare(promised, "", lines(output)))
			}
			require.NoError(t, to.Close())
			require.NoError(t, cmd.Wait())
		})
	}
}

// TestEveryDemonstrationHasBothSides: the attack against the step before and
// against this one, and the host's proof.
func TestEveryDemonstrationHasBothSides(t *testing.T) {
	tryHere(t)
	require.Len(t, demo.Scenes, len(Steps)-1)
	for n := 1; n < len(Steps); n++ {
		var text strings.Builder
		where := map[string]bool{}
		for _, l := range demo.Scenes[n].Lines {
			where[l.In] = true
			text.WriteString(l.Say)
		}
		require.Equal(t, map[string]bool{demo.Host: true, Steps[n-1]: true, Steps[n]: true}, where)
		for _, word := range []string{"The attack:", "the same attack:", "The proof:"} {
			require.Contains(t, text.String(), word, Steps[n])
		}
	}
}
