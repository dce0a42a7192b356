//go:build linux

package checks

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDevContainersCgroupIsSharedOut runs .devcontainer/nest on a cgroup that
// is as a container's root is: it has a process, and shares nothing out. On v1
// there is nothing to do, and nothing is done.
func TestTheDevContainersCgroupIsSharedOut(t *testing.T) {
	tryHere(t)
	h, found := hierarchyOf("memory")
	require.True(t, found)
	root := h.Root + "/nested"
	require.NoError(t, os.Mkdir(root, 0o755))
	defer func() { require.NoError(t, pristine.restore()) }()
	sleeper := exec.Command("sleep", "60")
	require.NoError(t, sleeper.Start())
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	require.NoError(t, os.WriteFile(root+"/cgroup.procs", []byte(itoa(sleeper.Process.Pid)), 0))
	if h.V2 {
		require.Error(t, os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0), "it is busy")
	}
	out, err := exec.Command("sh", texts+"/nest", root).CombinedOutput()
	require.NoError(t, err, string(out))
	if !h.V2 {
		require.NoDirExists(t, root+"/init")
		return
	}
	shared, err := os.ReadFile(root + "/cgroup.subtree_control")
	require.NoError(t, err)
	require.Contains(t, strings.Fields(string(shared)), "memory")
	inLeaf, err := os.ReadFile(root + "/init/cgroup.procs")
	require.NoError(t, err)
	require.Equal(t, itoa(sleeper.Process.Pid), strings.TrimSpace(string(inLeaf)))
}
