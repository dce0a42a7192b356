//go:build linux

package checks

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"containers-from-scratch/harness/probe"

	"github.com/vishvananda/netlink"
)

// step06 are the facts that the network namespace makes true, and those of the
// cable that leads out of it.
var step06 = []Fact{
	{
		Claim:   "it does not reach what serves the host alone",
		Holds:   "------+",
		Broken:  []string{"without-network"},
		Despite: []string{"user"},
		Because: "loopback addresses and the names of abstract sockets are of one network namespace",
		LookAt:  "where the network namespace is made, and its lo set up",
		Ours:    []string{"06-net/main.go run", "06-net/main.go initProcess", "06-net/net.go configureNetwork"},
		Read:    "network_namespaces(7), unix(7)",
		Show: func(t *Trial) {
			targets := []string{"tcp:" + t.Service("tcp4", "127.0.0.1:0"), "unix:" + t.Service("unix", "@secret-of-the-host")}
			r := t.Run(append([]string{"probe", "connect"}, targets...)...)
			t.Expect("connection refused\nconnection refused", r.Stdout) // with lo down: unreachable
		},
	},
	{
		Claim:   "it does not hear the host's loopback",
		Holds:   "-----++",
		Because: "a packet socket hears the network namespace that it is made in, and wants CAP_NET_RAW there",
		LookAt:  "where the user namespace, and then the network namespace, is made",
		Ours:    []string{"06-net/main.go run", "06-net/net.go configureNetwork"},
		Read:    "packet(7), network_namespaces(7)",
		Show: func(t *Trial) {
			hold, release, err := os.Pipe()
			t.must(err)
			t.AtEnd(func() { _ = hold.Close(); _ = release.Close() })
			run := t.launch(nil, hold, t.Program.Path, "run", "probe", "sniff")
			socket := run.Output("packet socket: ")
			t.must(say("udp4", "127.0.0.1:9", "a secret of the host"))
			t.must(release.Close()) // now it says "end" to itself, and hears that
			if heard := run.Wait().Stdout; !strings.Contains(socket, "not permitted") {
				t.Expect("packet socket: open\nheard end", heard)
			}
		},
	},
	{
		Claim:   "it gets no packet socket",
		Holds:   "-----+-+",
		Broken:  []string{"without-capabilities"},
		Despite: []string{"user"},
		Because: "CAP_NET_RAW counts in the user namespace that owns the network namespace: in a network of its own, root may listen",
		LookAt:  "where the user namespace is made, and no network namespace; from step 07 on, which capabilities the command has",
		Ours:    []string{"05-user/main.go run", "07-final/spec.go defaultConfig"},
		Read:    "packet(7), user_namespaces(7), capabilities(7)",
		Show: func(t *Trial) {
			t.Expect("packet socket: operation not permitted", t.Run("probe", "sniff").Stdout)
		},
	},
	{
		Claim:   "an address it takes is not the host's",
		Holds:   "-----++",
		Because: "interfaces and addresses are of one network namespace; to change them wants CAP_NET_ADMIN there",
		LookAt:  "where the user namespace, and then the network namespace, is made",
		Ours:    []string{"06-net/main.go run"},
		Read:    "network_namespaces(7), netdevice(7)",
		Show: func(t *Trial) {
			const more = "192.0.2.7"
			t.AtEnd(func() {
				lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}
				all, _ := netlink.AddrList(lo, netlink.FAMILY_V4)
				for _, a := range all {
					if a.IP.String() == more {
						_ = netlink.AddrDel(lo, &a)
					}
				}
			})
			r := t.Run("probe", "address", "lo", more)
			t.Excuse()
			t.ExpectThat(r.Stdout == more+"\n" || strings.Contains(r.Stderr, "not permitted"), more+" inside, or a refusal", r.Stdout)
			t.ran += "; ip address"
			t.ExpectThat(interfaceWith(more) == nil, "no "+more+" on the host", more+" on the host")
		},
	},
	{
		Claim:   "it tells the host no route",
		Holds:   "-----+",
		Because: "a host takes its IPv6 routes from whoever advertises them on a link, and who has CAP_NET_RAW may send what he likes",
		LookAt:  "where the user namespace is made; from step 06 on, what the bridge speaks besides IPv4, and what its ports take in",
		Ours:    []string{"06-net/net.go createBridge", "06-net/net.go connect", "05-user/user.go asRoot"},
		Read:    "accept_ra in the kernel's ip-sysctl.rst, RFC 4861, group_fwd_mask in ip-link(8)",
		Show: func(t *Trial) {
			t.AtEnd(func() {
				_, dst, _ := net.ParseCIDR("2001:db8:bad::/48")
				_ = netlink.RouteDel(&netlink.Route{LinkIndex: 1, Dst: dst})
				links, _ := probe.Interfaces()
				for _, l := range links {
					if l.Driver == "bridge" && !othersBridges[l.Name] {
						t.unplug(l.Name) // and its routes with it
					}
				}
			})
			if off, _ := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6"); string(off) != "0\n" {
				t.Skip("without IPv6 there is no advertisement to listen to")
			}
			hold, release, err := os.Pipe()
			t.must(err)
			t.AtEnd(func() { _ = hold.Close(); _ = release.Close() })
			run := t.launch(nil, hold, t.Program.Path, "run", "probe", "advertise")
			said := run.Output("advertisement: ")
			routes, err := probe.RoutesV6() // while it runs: a cable's routes go with it
			t.must(err)
			t.must(release.Close())
			run.Wait()
			t.Excuse() // what is left of it is what this is about
			t.Expect("", sorted(slices.DeleteFunc(routes, func(route string) bool { return !strings.Contains(route, ":bad") })))
			if !strings.Contains(said, "not permitted") {
				t.ExpectThat(strings.Contains(said, "advertisement: told"), "advertisement: told", said) // it may have no IPv6 for a route
			}
		},
	},
	{
		Claim:   "it and the host reach each other",
		Holds:   "------+",
		Because: "a veth pair is a cable between two network namespaces; an address and a default route show the way",
		LookAt:  "where the pair is made, its ends are set up, and eth0 gets its address and route",
		Ours: []string{"06-net/net.go connect", "06-net/net.go createBridge", "06-net/net.go configureNetwork",
			"06-net/net.go freeSubnet", "06-net/main.go run", "06-net/main.go initProcess"},
		Read: "veth(4), network_namespaces(7)",
		Show: func(t *Trial) {
			host := observe(t).Namespaces["net"]
			_, port, _ := net.SplitHostPort(t.Service("tcp4", "0.0.0.0:0")) // and so on the bridge, too
			s := t.Serve()
			inside := s.report.Namespaces["net"]
			t.ExpectThat(inside != host, "another network namespace than "+host, inside)
			t.ExpectNetwork(s.report)
			t.Expect(s.address, s.ask(""))
			t.Expect("connection refused\na secret of the host", s.ask("tcp:"+s.gateway+":1 tcp:"+s.gateway+":"+port))

			bridge := interfaceWith(s.gateway)
			s.end()
			t.ExpectThat(interfaceWith(s.gateway) != nil, "the bridge "+bridge.Name+" with its address", "nothing")
			t.Expect(bridge.HardwareAddr.String(), interfaceWith(s.gateway).HardwareAddr.String()) // not that of a port
		},
	},
	{
		Claim:   "containers reach each other",
		Holds:   "------+",
		Because: "a bridge is a switch: what two of its ports send to each other, it passes on",
		LookAt:  "where the host's end is plugged into the bridge, and the address is chosen",
		Ours:    []string{"06-net/net.go connect", "06-net/net.go createBridge", "06-net/net.go configureNetwork"},
		Read:    "bridge(8), veth(4)",
		Show: func(t *Trial) {
			t.FirewallSeesBridges(false)
			a, b := t.Serve(), t.Serve()
			t.ExpectThat(a.address != b.address, "two addresses", a.address+" twice")
			t.Expect(b.address, a.ask("tcp:"+b.address+":"+servePort))
			t.Expect(a.address, b.ask("tcp:"+a.address+":"+servePort))
			b.end() // each leaves the machine as it found it
			a.end()
		},
	},
	{
		Claim:   "a firewall between containers is named",
		Holds:   "------+",
		Because: "br_netfilter shows bridged packets to the firewall of the host, which may drop them, as Docker's does",
		LookAt:  "where the bridge is ready, and the setting can be read",
		Ours:    []string{"06-net/net.go connect"},
		Read:    "net.bridge.bridge-nf-call-iptables in the kernel's ip-sysctl.rst",
		Show: func(t *Trial) {
			for _, seen := range []bool{false, true} {
				if there := t.FirewallSeesBridges(seen); seen && !there {
					t.Skip("the kernel has no br_netfilter: what is said with it was not tried (modprobe br_netfilter)")
				}
				r := t.Run("probe", "connect", "tcp:127.0.0.1:1")
				t.ExpectStatus(0, r)
				t.Expect("connection refused", r.Stdout)
				var said []string
				for _, line := range lines(r.Warnings) {
					if strings.Contains(line, "bridge-nf-call-iptables") {
						said = append(said, line)
					}
				}
				if want := map[bool]int{true: 1}[seen]; len(said) != want {
					t.Expect(fmt.Sprintf("%d warnings of bridge-nf-call-iptables", want), strings.Join(said, "\n"))
				}
			}
		},
	},
	{
		Claim:   "its subnet is none that the host has a route to",
		Holds:   "------+",
		Because: "of two routes to the same addresses one wins, and what is behind the other is out of reach",
		LookAt:  "where the subnet is chosen",
		Ours:    []string{"06-net/net.go freeSubnet", "06-net/net.go createBridge", "06-net/main.go run", "06-net/net.go connect"},
		Read:    "ip-route(8), rtnetlink(7)",
		Show: func(t *Trial) {
			first := t.network()
			foreign := []string{first.subnet}
			if !t.others() { // half of the default route, as a VPN has it: a lesson asks for no word about it
				foreign = append(foreign, "128.0.0.0/1")
			}
			t.foreignBridge("foreign0", foreign...)
			second := t.Serve()
			second.end()
			t.ExpectThat(second.subnet != first.subnet, "another subnet than "+first.subnet, second.subnet)
			t.unplug("foreign0") // who shares a bridge shares its subnet, also if another is free again
			third := t.network()
			t.Expect(second.subnet, third.subnet)
			if !oneUser() { // a list in two parts, and a change between them
				t.foreignBridge("foreign3")
				for i := range 150 {
					t.address("foreign3", fmt.Sprintf("192.0.2.%d/32", i+1))
				}
				r := t.Launch("", "/probe", "interrupted", "6", t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.ExpectStatus(0, r)
				t.unplug("foreign3")
				t.unplug(third.bridge)
			}
			if !t.others() && !oneUser() { // a way to a part of it that came later, as a VPN's
				fourth := t.Serve()
				fourth.end()
				t.foreignBridge("foreign2", strings.Replace(fourth.subnet, ".0.0/16", ".9.0/24", 1))
				r := t.Run("probe", "args", "it", "ran")
				t.ExpectRefusal(r)
				const mend = "ip address flush dev cfs0; ip address add 10.200.0.1/16 dev cfs0"
				t.ExpectThat(strings.Contains(r.Stderr, "("+mend+")"), mend, r.Stderr)
				t.readdress(fourth.bridge, "10.200.0.1/16") // as it was told to
				t.Expect("10.200.0.0/16", t.network().subnet)
				t.unplug("foreign2")
			}
			t.foreignBridge("foreign1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
			if !oneUser() { // else it is an ordinary user's, and a warning
				r := t.Run("probe", "args", "it", "ran")
				t.ExpectRefusal(r)
				if !t.others() {
					t.ExpectThat(strings.Contains(r.Stderr, "ip address add 10.200.0.1/16 dev cfs0)"), "a mend", r.Stderr)
					t.readdress("cfs0", "10.200.0.1/16") // it must be one, though 10.0.0.0/8 leads elsewhere
					t.Expect("10.200.0.0/16", t.network().subnet)
				}
			}
		},
	},
	{
		Claim:   "what has the bridge's name and is none stops the run",
		Holds:   "------+",
		Because: "what others made is theirs, and a network that cannot be made must not be left out",
		LookAt:  "the error when the bridge is there already",
		Ours:    []string{"06-net/net.go createBridge", "06-net/net.go connect", "06-net/main.go run"},
		Read:    "ip-link(8)",
		Show: func(t *Trial) {
			name := t.network().bridge
			foreign := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "foreign0"}
			t.must(netlink.LinkAdd(foreign))
			t.AtEnd(func() { t.unplug(name) })
			t.ExpectRefusal(t.Run("probe", "args", "it", "ran"))
			i, err := net.InterfaceByName(name)
			t.must(err)
			addresses, _ := i.Addrs()
			t.Expect("[] down", fmt.Sprint(addresses, map[bool]string{false: " down"}[i.Flags&net.FlagUp != 0]))

			t.fact.LookAt = "which address a bridge that is there already may have: this one has 192.0.2.1/24"
			t.unplug(name)
			own := t.Serve() // another's bridge has another hardware address, which tells first
			own.end()
			t.readdress(own.bridge, "192.0.2.1/24")
			t.ExpectRefusal(t.Run("probe", "args", "it", "ran"))
			t.ExpectThat(interfaceWith("192.0.2.1") != nil, "the address 192.0.2.1 still there", "none")

			t.fact.LookAt = "whose bridge it is that is there already: this one has no address, and not the hardware address of ours"
			t.unplug(name)
			if !t.others() { // it may be one that a run before left half made
				t.foreignBridge(name)
				t.ExpectRefusal(t.Run("probe", "args", "it", "ran"))
			}
		},
	},
	{
		Claim:   "a name that is taken is left to who has it",
		Holds:   "------+",
		Because: "containers with the same number, of two PID namespaces, may share a network; no name is given twice in it",
		LookAt:  "the error when the host's end of the pair has a name that is there already",
		Ours:    []string{"06-net/net.go connect", "06-net/net.go configureNetwork"},
		Read:    "ip-link(8), pid_namespaces(7)",
		Show: func(t *Trial) {
			// Ours counts up from its number.
			t.foreignBridge("cfs2")
			t.foreignBridge("cfs3")
			words := []string{"/probe", "first", t.Program.Path, "run", "probe", "serve", "0.0.0.0:" + servePort}
			a := t.served(t.launch(nil, nil, words...))
			b := t.served(t.launch(nil, nil, words...))
			t.ExpectThat(a.address != b.address, "two addresses", a.address+" twice")
			for _, s := range []Served{b, a} {
				t.Expect("connection refused", s.ask("tcp:"+s.gateway+":1"))
				s.end()
			}
		},
	},
	{
		Claim:   "an ordinary user has loopback alone, and is told",
		Holds:   "------+",
		Because: "the host's end of a cable is in the host's network namespace, where CAP_NET_ADMIN is root's",
		LookAt:  "what is done when the bridge is refused, and where lo is set up",
		Ours:    []string{"06-net/main.go run", "06-net/net.go configureNetwork", "05-user/user.go unlessOrdinary"},
		Read:    "network_namespaces(7), capabilities(7)",
		Show: func(t *Trial) {
			host := observe(t).Namespaces["net"]
			r := t.Launch("", "/probe", "as", "1000", t.Program.Path, "run", "sh", "-c", "probe; probe connect tcp:127.0.0.1:1")
			report, last, _ := strings.Cut(r.Stdout, "\n}\n")
			r.Stdout = report + "\n}\n"
			seen := t.report(r)
			t.ExpectThat(seen.Namespaces["net"] != host, "another network namespace than "+host, host)
			t.Expect("[{lo true  [127.0.0.1/8]}]", fmt.Sprint(made(seen.Interfaces)))
			t.Expect("connection refused", last)
			t.Expect("1 warning of the network", fmt.Sprintf("%d warning of the network", strings.Count(r.Warnings, "network")))
		},
	},
}
