//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// connect lays a cable from init's network namespace to the bridge: a veth
// pair, see veth(4). It goes with either of its ends.
func connect(pid int) error {
	bridge, address, err := createBridge()
	// A list may have holes, and says so, when other runs' interfaces come
	// and go while the kernel sends it.
	for try := 1; try < 100 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		bridge, address, err = createBridge()
	}
	if err != nil {
		return fmt.Errorf("create bridge cfs0: %w", err)
	}
	ip := address.IP.To4()
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}
	veth.MasterIndex, veth.Flags = bridge.Attrs().Index, net.FlagUp
	// The host's end is named after the container's address: since no name is
	// given twice, no address is. From eth0's own, init can tell which it is.
	number := 1 + os.Getpid()%65000
	for err = unix.EEXIST; errors.Is(err, unix.EEXIST); err = netlink.LinkAdd(veth) {
		number = 2 + (number-1)%65000 // the next one; a bridge has 1,024 ports at most
		veth.Name = fmt.Sprint("cfs", number)
		veth.PeerHardwareAddr = net.HardwareAddr{2, 0, ip[0], ip[1], byte(number >> 8), byte(number)}
	}
	if err == nil {
		// Frames to 01:80:c2:00:00:0X the port would take in itself, past what
		// is said of the bridge: by a firewall, or about IPv6 below.
		err = netlink.LinkSetBRSlaveGroupFwdMask(veth, 0xfffd) // all but those that pause
	}
	if err != nil {
		return fmt.Errorf("create veth pair %s and eth0: %w", veth.Name, err)
	}
	// br_netfilter shows bridged packets to the firewall, and Docker's default
	// is to drop what is forwarded. Both are not ours to change. Which packets
	// are dropped only the rules tell, in iptables' tables, nftables' or both.
	if seen, _ := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); string(seen) == "1\n" {
		warn("the host's firewall may keep containers from each other: net.bridge.bridge-nf-call-iptables is 1")
	}
	return nil
}

// createBridge makes the switch that all containers are plugged into, unless a
// run before left it there, and returns it with the host's address.
func createBridge() (bridge netlink.Link, address netlink.Addr, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = "cfs0", net.HardwareAddr{2, 0, 'c', 'f', 's', 0} // else that of a port
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, address, err
	}
	bridge, err = netlink.LinkByName(attrs.Name)
	if err != nil || bridge.Type() != "bridge" || !slices.Equal(bridge.Attrs().HardwareAddr, attrs.HardwareAddr) {
		return nil, address, cmp.Or(err, errors.New("the name is taken by another's interface"))
	}
	address, err = freeSubnet(bridge)
	if err != nil || !strings.HasSuffix(address.IPNet.String(), ".0.1/16") {
		return nil, address, cmp.Or(err, fmt.Errorf("it has the address %v, not one like 172.30.0.1/16", address.IPNet))
	}
	// IPv6 is off: a container's root may send what he likes, and the host
	// would take its routes from him, see accept_ra in ip-sysctl.rst.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/cfs0/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		return nil, address, err
	}
	return bridge, address, cmp.Or( // two first runs at once choose the same address
		os.NewSyscallError(fmt.Sprint("give it ", address), netlink.AddrReplace(bridge, &address)),
		os.NewSyscallError("set it up", netlink.LinkSetUp(bridge)))
}

// freeSubnet returns the bridge's address or, when it has none yet, the first
// one of a private subnet, to which the host may have no other route in its
// main table: what is there would be out of reach. A route into the bridge's
// own subnet would lead away from containers.
func freeSubnet(bridge netlink.Link) (netlink.Addr, error) {
	addresses, err := netlink.AddrList(bridge, unix.AF_INET)
	if len(addresses) == 0 {
		for second := byte(30); second >= 16; second-- {
			addresses = append(addresses, netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(172, second, 0, 1), Mask: net.CIDRMask(16, 32)}})
		}
	}
	routes, unread := netlink.RouteList(nil, unix.AF_INET)
	for _, a := range addresses {
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool {
			size, _ := r.Dst.Mask.Size() // 0 is the default route, 1 the half of it that a VPN sets
			return size > 1 && r.LinkIndex != bridge.Attrs().Index && (a.LinkIndex == 0 && r.Dst.Contains(a.IP) || a.Contains(r.Dst.IP))
		}) {
			return a, cmp.Or(err, unread)
		}
	}
	return netlink.Addr{}, cmp.Or(err, unread, errors.New("the host has other routes to the subnets for it (ip address flush dev cfs0; ip address add 10.200.0.1/16 dev cfs0)"))
}

// configureNetwork sets up what init has in a new network namespace: lo, and
// eth0, if connect could lay it. One that is named by its path is its owner's.
func (c *initHalf) configureNetwork() error {
	if path, listed := findNamespace(c.Spec, specs.NetworkNamespace); !listed || path != "" {
		return nil
	}
	// In each network namespace, lo is the first.
	err := os.NewSyscallError("set lo up", netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}))
	if err == nil && c.Connected {
		err = configureEth0()
	}
	return err
}

// configureEth0 gives eth0 its address, and all else goes over the bridge.
func configureEth0() error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	ip := net.IP(eth0.Attrs().HardwareAddr[2:])
	return cmp.Or(
		os.NewSyscallError(fmt.Sprint("give eth0 ", ip), netlink.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(16, 32)}})),
		os.NewSyscallError("set eth0 up", netlink.LinkSetUp(eth0)),
		os.NewSyscallError("add default route", netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(ip[0], ip[1], 0, 1)})))
}
