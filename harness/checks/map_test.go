//go:build linux

package checks

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"containers-from-scratch/harness/isolation"
	"containers-from-scratch/harness/probe"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// measured are the columns that make map measures here: the host, Steps, and
// more programs after them.
func measured(t *testing.T, more ...string) probe.Measurement {
	require.NoError(t, pristine.restore()) // an interface takes a while to go
	cmd := exec.Command("/probe", slices.Concat([]string{"measure"}, Steps, more)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	m, err := probe.Decode(out)
	require.NoError(t, err)
	require.Empty(t, m.Left)
	require.Len(t, m.Columns, 1+len(Steps)+len(more))
	for i := range m.Columns {
		m.Columns[i].Series = 0 < i && i <= len(Steps)
	}
	return m
}

// TestWhatIsSharedIsTheHosts, also after step 06, which leaves a bridge: in the
// column of a learner's program what has no mark is what the host's column shows.
func TestWhatIsSharedIsTheHosts(t *testing.T) {
	tryHere(t)
	m := measured(t, Steps[2])
	host, learner := m.Columns[0], m.Columns[len(m.Columns)-1]
	require.Equal(t, host.Inside.Interfaces, learner.Inside.Interfaces)
	require.Equal(t, host.Inside.Routes, learner.Inside.Routes)
	require.Equal(t, host.Inside.Mounts, learner.Inside.Mounts)
	shared := 0
	for _, r := range isolation.NewTable(m).Rows {
		cell := r.Cells[len(m.Columns)-1]
		if cell.Sharing == isolation.Shared && cell.Text != "the host's" {
			require.Equal(t, r.Cells[0].Text, cell.Text, r.Name)
			shared++
		}
	}
	require.Greater(t, shared, 10)
}

// TestThePictureIsWhatTheMeasurementGives: the README's picture is what these
// programs, in this machine, give.
func TestThePictureIsWhatTheMeasurementGives(t *testing.T) {
	tryHere(t)
	committed, err := os.ReadFile(texts + "/map.svg")
	require.NoError(t, err)
	if diff := cmp.Diff(strings.Split(string(committed), "\n"), strings.Split(isolation.Picture(measured(t)), "\n")); diff != "" {
		t.Errorf("harness/isolation/map.svg (-committed +measured):\n%s\nrun: make harness && .build/harness map picture", diff)
	}
	require.Empty(t, pristine.changed(), "measuring leaves something behind")
}

// TestBothSidesSeeTheSameNamespaces: what the command says of itself is what
// the host sees of it.
func TestBothSidesSeeTheSameNamespaces(t *testing.T) {
	tryHere(t)
	for _, c := range measured(t).Columns {
		require.Equal(t, c.Outside.Namespaces, c.Inside.Namespaces, c.Name)
	}
}

// TestAProgramThatDoesNotRunIsLeftOut, and the reason is its own.
func TestAProgramThatDoesNotRunIsLeftOut(t *testing.T) {
	tryHere(t)
	out, err := exec.Command("/probe", "measure", "no-such-program", "broken-prints-nothing").Output()
	require.NoError(t, err)
	m, err := probe.Decode(out)
	require.NoError(t, err)
	require.Len(t, m.Columns, 1)
	require.Equal(t, []probe.Omission{
		{Name: "no-such-program", Reason: `exec: "no-such-program": executable file not found in $PATH`},
		{Name: "broken-prints-nothing", Reason: "it does not run the command"},
	}, m.Left)
}
