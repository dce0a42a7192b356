//go:build linux

package checks

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"containers-from-scratch/harness/probe"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
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

// TestWhatIsOthersIsSeen changes what somebody else may have on the machine: a
// bridge, which is not the one that runs share, a setting of the network, and the
// rules of the firewall, which is not to be had back.
func TestWhatIsOthersIsSeen(t *testing.T) {
	tryHere(t)
	if !exists("/sys/module/nf_tables") && exists("/proc/modules") {
		t.Skip("the kernel has no nf_tables")
	}
	trial := &Trial{}
	trial.foreignBridge("foreign0", "192.0.2.0/24")
	before := observeHost()
	address, err := netlink.ParseAddr("172.30.0.1/16")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "foreign0"}}, address))
	const setting = "/proc/sys/net/ipv4/conf/all/route_localnet"
	require.NoError(t, os.WriteFile(setting, []byte("1"), 0))
	addTable(t, "ours")

	seen := before.difference(observeHost())
	require.Contains(t, seen, "+ interface foreign0 true [172.30.0.1/16]")
	require.Contains(t, seen, "+ route 172.30.0.0/16 dev foreign0")
	require.Contains(t, seen, "+ setting "+setting+" = 1")
	require.Contains(t, strings.Join(seen, "\n"), " of nftables' rules")
	trial.unplug("foreign0")
	require.NoError(t, pristine.restore())
}

// addTable does what "nft add table ip NAME" does: nftables takes changes as a
// batch, between two messages of nfnetlink.
func addTable(t *testing.T, name string) {
	const tables = unix.NFNL_SUBSYS_NFTABLES << 8
	begin, end := nl.NewNetlinkRequest(unix.NFNL_MSG_BATCH_BEGIN, 0), nl.NewNetlinkRequest(unix.NFNL_MSG_BATCH_END, 0)
	for _, r := range []*nl.NetlinkRequest{begin, end} {
		r.AddData(&nl.Nfgenmsg{ResId: unix.NFNL_SUBSYS_NFTABLES << 8}) // in network order, on a little-endian machine
	}
	add := nl.NewNetlinkRequest(tables|unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_ACK)
	add.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_IPV4, Version: nl.NFNETLINK_V0})
	add.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(name)))
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	require.NoError(t, err)
	defer unix.Close(s)
	batch := slices.Concat(begin.Serialize(), add.Serialize(), end.Serialize())
	require.NoError(t, unix.Sendto(s, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	require.NoError(t, err)
	require.Zero(t, int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:n])), "the error in the answer")
}

// TestATunnelsFallbackIsNotTheProgramsOwn: only as long as it is down.
func TestATunnelsFallbackIsNotTheProgramsOwn(t *testing.T) {
	tryHere(t)
	seen := made([]probe.Interface{{Name: "lo", Up: true}, {Name: "sit0"}, {Name: "gre0", Up: true}, {Name: "eth1"}})
	require.Equal(t, []probe.Interface{{Name: "lo", Up: true}, {Name: "gre0", Up: true}, {Name: "eth1"}}, seen)
}
