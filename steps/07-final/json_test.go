//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestJSONIsReadAsByEngines compares with the package that wrote it.
func TestJSONIsReadAsByEngines(t *testing.T) {
	full, err := json.Marshal(defaultSpec([]string{"sh"}))
	require.NoError(t, err)
	for name, text := range map[string]string{
		"everything":        string(full),
		"nothing":           `{}`,
		"null":              `{"process": null, "linux": {"resources": null}}`,
		"unknown":           `{"hostname": "a", "more": {"b": [1]}}`,
		"nested":            `{"linux": {"resources": {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}, "unified": {"a.b": "1"}}}}`,
		"pointers":          `{"process": {"oomScoreAdj": 0, "noNewPrivileges": true}, "linux": {"resources": {"pids": {"limit": 0}}}}`,
		"hooks":             `{"hooks": {"poststop": [{"path": "/bin/true", "timeout": 3}]}, "annotations": {"a": ""}}`,
		"a wrong type":      `{"process": {"args": "sh"}}`,
		"a list for object": `{"linux": []}`,
		"half":              `{"linux": {`,
		"no object":         `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			var want, got specs.Spec
			failure := json.Unmarshal([]byte(text), &want)
			_, err := readText(t, text, &got)
			require.Equal(t, failure == nil, err == nil, "%v", err)
			if err == nil {
				require.Empty(t, gocmp.Diff(want, got))
			}
		})
	}
}

// readText is readJSON of a file that holds text.
func readText(t *testing.T, text string, v any) ([]byte, error) {
	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return readJSON(file, v)
}

// TestAmbiguousJSONIsRefused has what two readers would read differently.
func TestAmbiguousJSONIsRefused(t *testing.T) {
	for _, text := range []string{`{"hostname": "a", "hostname": "b"}`, "{\"hostname\": \"\xff\"}", `{} {}`} {
		_, err := readText(t, text, new(specs.Spec))
		require.Error(t, err, text)
	}
}

// TestNamesInOtherLettersAreKnown has protections that would get lost if they
// were not, as they are to the package that runc reads with.
func TestNamesInOtherLettersAreKnown(t *testing.T) {
	for _, text := range []string{
		`{"process": {"NoNewPrivileges": true, "args": ["sh"]}}`,
		`{"Linux": {"Seccomp": {"DefaultAction": "SCMP_ACT_ERRNO"}, "MASKEDPATHS": ["/proc/kcore"]}}`,
	} {
		var want, got specs.Spec
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		_, err := readText(t, text, &got)
		require.NoError(t, err)
		require.Empty(t, gocmp.Diff(want, got))
		require.NotEmpty(t, gocmp.Diff(specs.Spec{}, got))
	}
	_, err := readText(t, `{"HOSTNAME": "a", "hostname": "b"}`, new(specs.Spec))
	require.ErrorContains(t, err, "duplicate")
}
