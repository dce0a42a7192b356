package sandbox

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestARootTreeRunsOnItsOwnLibraries(t *testing.T) {
	dir, err := prepareRoot(t.TempDir(), []string{"bash", "cat", "no-such-program", "mount"})
	require.NoError(t, err)
	for _, name := range []string{"bin/sh", "usr/sbin/sleep", "sbin/cat", "etc/passwd"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.NoFileExists(t, filepath.Join(dir, "bin/no-such-program"))

	libs, err := Libraries(filepath.Join(dir, "bin/sh"))
	require.NoError(t, err)
	for _, lib := range libs {
		require.FileExists(t, filepath.Join(dir, lib))
	}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode()&(fs.ModeSetuid|fs.ModeSetgid), name)
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(name)
			require.NoError(t, err)
			require.False(t, filepath.IsAbs(target), "%s leads to the host's %s", name, target)
		}
		return nil
	}))
}

func TestARootTreeIsMadeOnceAndAnewAfterAnUpgrade(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	bin, cache := t.TempDir(), t.TempDir()
	tool := filepath.Join(bin, "tool")
	t.Setenv("PATH", bin+":"+filepath.Dir(sleep))
	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755))

	first, err := prepareRoot(cache, []string{"tool"})
	require.NoError(t, err)
	marker := filepath.Join(first, "marker")
	require.NoError(t, os.WriteFile(marker, nil, 0o644))
	again, err := prepareRoot(cache, []string{"tool"})
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.FileExists(t, marker)

	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\necho new\n"), 0o755))
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(first, old, old))
	renewed, err := prepareRoot(cache, []string{"tool"})
	require.NoError(t, err)
	require.NotEqual(t, first, renewed)
	require.NoDirExists(t, first, "nobody has used it for a day")
	b, err := os.ReadFile(filepath.Join(renewed, "bin/tool"))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(b), "echo new\n"))

	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, left, 2, "the tree and the mount point: %v", left)
}

func TestAMachineWithoutAShellIsNone(t *testing.T) {
	required = append(required, "no-such-program")
	t.Cleanup(func() { required = required[:len(required)-1] })
	_, err := prepareRoot(t.TempDir(), nil)
	require.ErrorContains(t, err, "look up no-such-program in ")
}
