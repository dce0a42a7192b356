package probe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACgroupIsFoundAmongItsLines(t *testing.T) {
	hybrid := []string{"4:memory:/a/b", "3:cpu,cpuacct:/c", "0::/d", "what is this"}
	require.Equal(t, "/a/b", cgroupOf("memory", false, hybrid))
	require.Equal(t, "/c", cgroupOf("cpu", false, hybrid))
	require.Equal(t, "/d", cgroupOf("memory", true, hybrid))
	require.Equal(t, "/", cgroupOf("pids", false, hybrid))
	require.Equal(t, "/", cgroupOf("pids", true, []string{"0::/../.."}))
}

// TestTheTightestLimitHolds, in the words of either version.
func TestTheTightestLimitHolds(t *testing.T) {
	dir := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644))
		}
		return dir
	}
	all := func(dirs ...string) (l Limits) {
		for _, dir := range dirs {
			for _, controller := range []string{"memory", "pids", "cpu"} {
				l.tighten(controller, dir)
			}
		}
		return l
	}
	none := dir(map[string]string{"memory.max": "max", "pids.max": "max", "cpu.max": "max 100000"})
	none1 := dir(map[string]string{"memory.limit_in_bytes": "9223372036854771712", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
	v2 := dir(map[string]string{"memory.max": "67108864", "pids.max": "64", "cpu.max": "50000 100000"})
	v1 := dir(map[string]string{"memory.limit_in_bytes": "1048576", "pids.max": "100", "cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"})
	require.Equal(t, Limits{}, all(none, none1))
	require.Equal(t, Limits{Memory: 64 << 20, Pids: 64, CPUs: 0.5}, all(v2, none))
	require.Equal(t, Limits{Memory: 1 << 20, Pids: 64, CPUs: 0.5}, all(none1, v1, v2))
}
