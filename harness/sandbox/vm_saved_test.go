//go:build linux || darwin

package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQEMUsMonitorIsAskedAndUnderstood(t *testing.T) {
	var asked strings.Builder
	said := `{"QMP": {"version": {}, "capabilities": []}}
		{"return": {}}
		{"timestamp": {"seconds": 1}, "event": "MIGRATION"}
		{"return": {"status": "active"}}
		{"error": {"class": "GenericError", "desc": "no such thing"}}`
	q := qmp{json.NewEncoder(&asked), json.NewDecoder(strings.NewReader(said))}
	require.NoError(t, q.do("qmp_capabilities", nil, nil))
	var answer struct{ Status string }
	require.NoError(t, q.do("query-migrate", nil, &answer))
	require.Equal(t, "active", answer.Status)
	require.ErrorContains(t, q.do("migrate", map[string]any{"uri": "exec:false"}, nil), "ask QEMU to migrate: no such thing")
	require.ErrorContains(t, q.do("cont", nil, nil), "ask QEMU to cont: EOF")
	require.Contains(t, asked.String(), `{"arguments":{"uri":"exec:false"},"execute":"migrate"}`)
}

// TestASavedMachineIsTheSameOne changes one thing after the other: none may be
// taken for the machine that was saved.
func TestASavedMachineIsTheSameOne(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, name := range []string{"qemu", "kernel", "initrd"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o755))
	}
	b := vmBoot{vmArch: vmArch{qemu: "qemu"}, accel: "tcg", kernel: dir + "/kernel", initrd: dir + "/initrd", cgroup: "v2"}
	seen := map[string]bool{}
	another := func(what string) {
		file := b.savedFile()
		require.Equal(t, file, b.savedFile(), what)
		require.False(t, seen[file], what)
		seen[file] = true
	}
	another("the first")
	b.cgroup = "v1"
	another("the cgroups")
	b.initrd = dir + "/kernel"
	another("the root file system")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kernel"), []byte("a longer kernel"), 0o755))
	another("the kernel")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "qemu"), []byte("another qemu"), 0o755))
	another("QEMU")
	b.accel = "kvm"
	require.Empty(t, b.savedFile())
}
