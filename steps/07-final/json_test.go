//go:build linux

package main

import (
	"encoding/json"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

func TestJSON(t *testing.T) {
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
			var want, got, again specs.Spec
			failure := json.Unmarshal([]byte(text), &want)
			err := unmarshal([]byte(text), &got)
			require.Equal(t, failure == nil, err == nil, "%v", err)
			if err != nil {
				return
			}
			require.Empty(t, gocmp.Diff(want, got))
			text, err := marshal(&got)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &again))
			require.Empty(t, gocmp.Diff(want, again))
		})
	}
}

func TestNamesInOtherLettersAreUnknown(t *testing.T) {
	var got specs.Spec
	require.NoError(t, unmarshal([]byte(`{"HOSTNAME": "a", "hostname": "b", "Process": {"args": ["sh"]}}`), &got))
	require.Empty(t, gocmp.Diff(specs.Spec{Hostname: "b"}, got))
}
