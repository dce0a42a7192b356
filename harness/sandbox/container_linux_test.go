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
		{target: "/sys", readOnly: true, superReadOnly: true},
		{target: "/sys/fs/cgroup", readOnly: true},
		{target: "/proc"},
	}, got)
}
