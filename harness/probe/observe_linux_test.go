package probe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAMountIsReadOnlyByItselfOrByItsFileSystem(t *testing.T) {
	mounts, err := parseMounts(`36 35 0:32 / /sys ro,nosuid,relatime shared:7 - sysfs sysfs ro
37 36 0:33 /a /sys/fs/cgroup ro master:1 - cgroup2 cgroup rw,nsdelegate
38 35 0:34 / /a\040b\134c rw - proc proc rw
`)
	require.NoError(t, err)
	require.Equal(t, []Mount{
		{ID: 36, Root: "/", Target: "/sys", Type: "sysfs", Source: "sysfs",
			Options: []string{"ro", "nosuid", "relatime"}, Super: []string{"ro"}, Propagation: "shared:7"},
		{ID: 37, Root: "/a", Target: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup",
			Options: []string{"ro"}, Super: []string{"rw", "nsdelegate"}, Propagation: "master:1"},
		{ID: 38, Root: "/", Target: `/a b\c`, Type: "proc", Source: "proc",
			Options: []string{"rw"}, Super: []string{"rw"}},
	}, mounts)
	for i, want := range [][2]bool{{true, true}, {true, false}, {false, false}} {
		byMount, byFilesystem := mounts[i].ReadOnly()
		require.Equal(t, want, [2]bool{byMount, byFilesystem})
	}
}
