package mutants

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadSurvivors(t *testing.T) {
	list, err := ReadSurvivors(strings.NewReader("# why\n\n01-a/a.go f | x | y | no effect | mount(2)\n"))
	require.NoError(t, err)
	require.Equal(t, []Survivor{{ID: "01-a/a.go f | x | y", Kind: "no effect", Reason: "mount(2)"}}, list)

	_, err = ReadSurvivors(strings.NewReader("01-a/a.go f | x | it is late | no reason\n"))
	require.ErrorContains(t, err, "line 1")
}

// TestSurvivorsExist finds lines that outlived their statement, before anybody
// waits for a run.
func TestSurvivorsExist(t *testing.T) {
	all, err := Find("../../steps")
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, m := range all {
		require.False(t, ids[m.ID()], "two mutants are called %s", m.ID())
		ids[m.ID()] = true
	}
	file, err := os.Open("survivors.txt")
	require.NoError(t, err)
	defer file.Close()
	list, err := ReadSurvivors(file)
	require.NoError(t, err)
	for _, s := range list {
		require.True(t, ids[s.ID], "no mutant is called %s", s.ID)
	}
}
