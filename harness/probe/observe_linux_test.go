package probe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAMountIsReadOnlyByItselfOrByItsFileSystem(t *testing.T) {
	mounts, err := ParseMounts(`36 35 0:32 / /sys ro,nosuid,relatime shared:7 - sysfs sysfs ro
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

func TestTheTreesOfCgroupsAreMounts(t *testing.T) {
	mounts, err := ParseMounts(`31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
36 31 0:32 /a /mnt rw - cgroup cgroup rw,memory
41 31 0:38 / /nowhere/unified rw - cgroup2 cgroup2 rw
`)
	require.NoError(t, err)
	list := Hierarchies(mounts)
	require.Equal(t, []Hierarchy{
		{Root: "/sys/fs/cgroup/cpu,cpuacct", Top: "/", Controllers: []string{"rw", "cpu", "cpuacct"}},
		{Root: "/sys/fs/cgroup/memory", Top: "/", Controllers: []string{"rw", "memory"}, ReadOnly: true},
		{Root: "/nowhere/unified", Top: "/", V2: true, Controllers: []string{}},
	}, list)
	require.Equal(t, "/sys/fs/cgroup/memory", With("memory", list).Root)
	require.Nil(t, With("pids", list))
}
