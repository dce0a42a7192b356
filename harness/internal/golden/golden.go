// Package golden compares what tests get with files in which it stands.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Compare compares a text with a file, which -update writes anew.
func Compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		here, err := os.Getwd()
		require.NoError(t, err)
		t.Errorf("differs from %s (-want +got):\n%s\nif it is better now, run: go test ./harness/%s -update", file, diff, filepath.Base(here))
	}
}
