//go:build linux

package main

import (
	"testing"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// TestAnyTextReachesInit sends what is no UTF-8, too.
func TestAnyTextReachesInit(t *testing.T) {
	want := initConfig{Spec: defaultSpec([]string{"sh", "a\xff", ""}), ID: "c"}
	want.Spec.Process.Env = append(want.Spec.Process.Env, "A=\xfe\U0010FFFF")
	want.Spec.Annotations = map[string]string{"a.\xff": "\x80"}
	want.Spec.Linux.Seccomp = nil
	text, err := json.Marshal(want, inBase64)
	require.NoError(t, err)
	var got initConfig
	require.NoError(t, json.Unmarshal(text, &got, inBase64))
	require.Empty(t, gocmp.Diff(want.Spec, got.Spec))
}
