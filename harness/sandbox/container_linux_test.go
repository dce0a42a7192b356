package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAMountIsReadOnlyByItselfOrByItsFileSystem(t *testing.T) {
	got := parseMounts(`36 35 0:32 / /sys ro,nosuid,relatime shared:7 - sysfs sysfs ro
37 36 0:33 /a /sys/fs/cgroup ro master:1 - cgroup2 cgroup rw,nsdelegate
38 35 0:34 / /proc rw - proc proc rw
`)
	require.Equal(t, []mountLine{
		{root: "/", target: "/sys", kind: "sysfs", options: []string{"ro"}, readOnly: true, superReadOnly: true},
		{root: "/a", target: "/sys/fs/cgroup", kind: "cgroup2", options: []string{"rw", "nsdelegate"}, readOnly: true},
		{root: "/", target: "/proc", kind: "proc", options: []string{"rw"}},
	}, got)
}
