package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/probe"
)

func TestAnEngineIsKnownByTheCgroupOfProcess1(t *testing.T) {
	require.Equal(t, "docker", kindInCgroup("0::/docker/4f2c"))
	require.Equal(t, "kubernetes", kindInCgroup("4:memory:/kubepods/besteffort/pod1"))
	require.Empty(t, kindInCgroup("0::/init.scope"))
}

func TestASharedFolderIsTheNearestMount(t *testing.T) {
	mounts := []probe.Mount{
		{Target: "/", Type: "ext4"}, {Target: "/mnt/c", Type: "9p"}, {Target: "/mnt/c/disk", Type: "ext4"},
		{Target: "/Users", Type: "ext4"}, {Target: "/Users", Type: "virtiofs"},
	}
	for dir, want := range map[string]string{
		"/": "", "/home/me": "", "/mnt/cats": "", "/mnt/c": "9p", "/mnt/c/me": "9p", "/mnt/c/disk/x": "", "/Users/me": "virtiofs",
	} {
		require.Equal(t, want, sharedFolder(mounts, dir), dir)
	}
}
