package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnEngineIsKnownByTheCgroupOfProcess1(t *testing.T) {
	require.Equal(t, "docker", kindInCgroup("0::/docker/4f2c"))
	require.Equal(t, "kubernetes", kindInCgroup("4:memory:/kubepods/besteffort/pod1"))
	require.Empty(t, kindInCgroup("0::/init.scope"))
}

func TestAnOrdinaryDirectoryIsNoCgroupTree(t *testing.T) {
	require.Equal(t, "none", cgroupMode(t.TempDir()))
}

func TestOnlyCgroupsOfProcessesThatAreGoneAreLeftOver(t *testing.T) {
	root := t.TempDir()
	gone := filepath.Join(root, "memory", "container-2000000000") // above any pid_max
	for _, dir := range []string{gone, filepath.Join(root, "container-1"), filepath.Join(root, "container-x")} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	require.Equal(t, []string{gone}, leftCgroups(root))
}
