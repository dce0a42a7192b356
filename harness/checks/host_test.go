//go:build linux

package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// TestALeftCgroupIsSeenAndRemoved leaves a cgroup with another below it, in
// which a process runs, in each tree where step 04 makes one.
func TestALeftCgroupIsSeenAndRemoved(t *testing.T) {
	tryHere(t)
	trees := map[string][]string{
		"v2":     {"."},
		"v1":     {"memory", "pids", "cpu"},
		"hybrid": {"memory", "pids", "cpu", "unified"},
	}[os.Getenv("SANDBOX_CGROUP")]
	require.NotEmpty(t, trees, "SANDBOX_CGROUP=%s", os.Getenv("SANDBOX_CGROUP"))
	for _, tree := range trees {
		before := observeHost()
		left, err := filepath.EvalSymlinks(filepath.Join("/sys/fs/cgroup", tree)) // cpu -> cpu,cpuacct
		require.NoError(t, err)
		left = filepath.Join(left, "left")
		inner := filepath.Join(left, "inner")
		require.NoError(t, os.MkdirAll(inner, 0o755))
		process := exec.Command("sleep", "999")
		require.NoError(t, process.Start())
		require.NoError(t, os.WriteFile(filepath.Join(inner, "cgroup.procs"), []byte(itoa(process.Process.Pid)), 0))

		seen := before.difference(observeHost())
		require.Contains(t, seen, "+ cgroup "+left)
		require.Contains(t, seen, "+ cgroup "+inner)
		require.NoError(t, before.restore())
		require.NoDirExists(t, left)
	}
}

// TestALeftInterfaceIsSeenAndRemoved leaves what step 06 makes, but for the
// bridge, which may stay.
func TestALeftInterfaceIsSeenAndRemoved(t *testing.T) {
	tryHere(t)
	before := observeHost()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "left1"}, PeerName: "left2"}
	require.NoError(t, netlink.LinkAdd(link))
	addr, err := netlink.ParseAddr("172.30.0.1/16")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(link, addr))
	require.NoError(t, netlink.LinkSetUp(link))

	seen := before.difference(observeHost())
	require.Contains(t, seen, "+ interface left1 true [172.30.0.1/16]")
	require.Contains(t, seen, "+ route 172.30.0.0/16 dev left1")
	require.NoError(t, before.restore())
}

// TestALoopbackInterfaceThatIsDownIsSeenAndSetUp spoils the only interface that
// a sandbox has before step 06.
func TestALoopbackInterfaceThatIsDownIsSeenAndSetUp(t *testing.T) {
	tryHere(t)
	before := observeHost()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetDown(lo))
	require.Contains(t, before.difference(observeHost()), "- interface lo true [127.0.0.1/8]")
	require.NoError(t, before.restore())
}
