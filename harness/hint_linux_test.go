package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGoRunIsToldWhatToPaste runs the steps as an ordinary user from a place
// like the one go run uses. Such a user may create no namespace, so that this
// is safe outside a sandbox.
func TestGoRunIsToldWhatToPaste(t *testing.T) {
	dir, err := os.MkdirTemp("", "hint")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	steps, err := filepath.Glob("../steps/0[1-3]-*")
	require.NoError(t, err)
	for _, step := range steps {
		name := filepath.Base(step)
		program := filepath.Join(dir, "go-build", name)
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../steps/"+name).CombinedOutput()
		require.NoError(t, err, string(out))
		for rootfs, sudo := range map[string]string{"": "sudo", "/srv/a b": "'sudo env ROOTFS=/srv/a b'"} {
			cmd := exec.Command(program, "run", "sh", "-c", "echo $$; echo it's")
			cmd.Env = append(os.Environ(), "ROOTFS="+rootfs)
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			said, _ := cmd.CombinedOutput() // the status is checked below
			require.Equal(t, 125, cmd.ProcessState.ExitCode())
			want := "(needs root: go run -exec " + sudo + " ./steps/" + name + ` run sh -c 'echo $$; echo it'\''s')`
			require.Equal(t, want, lastPart(string(said)))
		}
	}
}

// lastPart is the hint at the end of an error.
func lastPart(line string) string {
	return strings.TrimSpace(line[max(0, strings.Index(line, "(needs")):])
}
