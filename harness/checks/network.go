//go:build linux

package checks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"containers-from-scratch/harness/probe"

	"github.com/vishvananda/netlink"
)

// What a fact about networks needs is put on stage here. The machine's network
// namespace is the sandbox's own: whatever is changed in it, nobody else sees.

// callIptables is where br_netfilter, if the kernel has it, is told to show
// bridged packets to the firewall: each network namespace has its own, and
// starts with 1.
const callIptables = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// FirewallSeesBridges sets that for the length of the trial, and tells whether
// it can be set here.
func (t *Trial) FirewallSeesBridges(yes bool) (there bool) {
	before, err := os.ReadFile(callIptables)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	t.must(err)
	t.AtEnd(func() { _ = os.WriteFile(callIptables, before, 0) })
	t.must(os.WriteFile(callIptables, []byte(map[bool]string{true: "1", false: "0"}[yes]), 0))
	return true
}

// Service serves on the host, for the length of the trial, at an address that
// it returns: whoever connects is told a secret.
func (t *Trial) Service(network, address string) string {
	listener, err := net.Listen(network, address)
	t.must(err)
	t.AtEnd(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			_, _ = c.Read(make([]byte, 1000)) // or closing would be a reset
			_, _ = io.WriteString(c, "a secret of the host\n")
			_ = c.Close()
		}
	}()
	address = listener.Addr().String()
	said, err := dial(network, address, "")
	t.Control(err == nil && said == "a secret of the host", "%s says %q on the host, %v", address, said, err)
	return address
}

// dial sends a line to a service and returns its answer.
func dial(network, address, line string) (answer string, err error) {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	said, err := io.ReadAll(c)
	return strings.TrimSpace(string(said)), err
}

// say sends one packet.
func say(network, address, words string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, words)
	return err
}

// servePort is where probe serves in a container.
const servePort = "7777"

// A Served is a container in which probe serves.
type Served struct {
	*Running
	report          probe.Report
	address, subnet string // of eth0: 172.30.0.9, 172.30.0.0/16
	gateway         string // the host, as seen from inside: 172.30.0.1
	bridge          string // the interface that has this address: cfs0
}

// Serve starts the program with a probe that serves.
func (t *Trial) Serve() Served { return t.served(t.Start("probe", "serve", "0.0.0.0:"+servePort)) }

// served waits until the probe of a run serves, and tells where.
func (t *Trial) served(run *Running) Served {
	s := Served{Running: run}
	if err := json.NewDecoder(strings.NewReader(run.Output("serving"))).Decode(&s.report); err != nil {
		t.fail([]string{"a report of the probe"}, []string{err.Error()}, false)
	}
	for _, i := range s.report.Interfaces {
		if ip, subnet, err := net.ParseCIDR(strings.Join(i.Addrs, " ")); i.Name == "eth0" && err == nil {
			s.address, s.subnet = ip.String(), subnet.String()
		}
	}
	t.ExpectThat(s.address != "", "eth0 with an address", fmt.Sprint(s.report.Interfaces))
	for _, route := range s.report.Routes {
		if via, ok := strings.CutPrefix(route, "0.0.0.0/0 via "); ok {
			s.gateway, _, _ = strings.Cut(via, " ")
		}
	}
	t.ExpectThat(s.gateway != "", "a default route", fmt.Sprint(s.report.Routes))
	onHost := interfaceWith(s.gateway)
	t.ExpectThat(onHost != nil, "the gateway "+s.gateway+" on the host", "no such address there")
	s.bridge = onHost.Name
	return s
}

// ask sends the probe a line of targets, from the host.
func (s Served) ask(targets string) string {
	said, err := dial("tcp4", net.JoinHostPort(s.address, servePort), targets)
	if err != nil {
		s.t.fail([]string{"an answer from " + s.address}, []string{err.Error()}, false)
	}
	return said
}

// end ends the probe, and with it the container.
func (s Served) end() {
	s.ask("end")
	s.t.ExpectStatus(0, s.Wait())
}

// network runs a container that reaches its gateway, and unplugs the bridge
// that stays of it, so that the next run must make it anew.
func (t *Trial) network() Served {
	s := t.Serve()
	t.Expect("connection refused", s.ask("tcp:"+s.gateway+":1"))
	s.end()
	t.AtEnd(func() { t.unplug(s.bridge) })
	t.unplug(s.bridge)
	return s
}

// unplug deletes an interface, if it is there.
func (t *Trial) unplug(name string) {
	_ = netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}})
	delete(othersBridges, name)
	t.seen = nil
}

// foreignBridge makes a bridge of somebody else's for the length of the trial,
// with routes to subnets. No run may change it, see observeWhatSettles.
func (t *Trial) foreignBridge(name string, subnets ...string) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	othersBridges[name] = true
	t.must(netlink.LinkAdd(bridge))
	t.AtEnd(func() { t.unplug(name) })
	t.must(netlink.LinkSetUp(bridge))
	for _, subnet := range subnets {
		_, dst, err := net.ParseCIDR(subnet)
		t.must(err)
		t.must(netlink.RouteAdd(&netlink.Route{LinkIndex: bridge.Index, Dst: dst, Scope: netlink.SCOPE_LINK}))
	}
}

// address gives an interface one more address.
func (t *Trial) address(name, address string) {
	link, err := netlink.LinkByName(name)
	t.must(err)
	a, err := netlink.ParseAddr(address)
	t.must(err)
	t.must(netlink.AddrAdd(link, a))
}

// readdress gives an interface one address instead of those that it has.
func (t *Trial) readdress(name, address string) {
	link, err := netlink.LinkByName(name)
	t.must(err)
	old, err := netlink.AddrList(link, netlink.FAMILY_V4)
	t.must(err)
	for _, a := range old {
		t.must(netlink.AddrDel(link, &a))
	}
	t.address(name, address)
}

// fallbacks are the interfaces that the modules of tunnels, where they are loaded,
// put into each new network namespace, see fb_tunnels_only_for_init_net in the
// kernel's admin-guide/sysctl/net.rst.
var fallbacks = []string{"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}

// made are the interfaces of a network namespace without those that the kernel
// puts there, and that are down.
func made(list []probe.Interface) []probe.Interface {
	return slices.DeleteFunc(slices.Clone(list), func(i probe.Interface) bool { return !i.Up && slices.Contains(fallbacks, i.Name) })
}

// ExpectNetwork expects lo and eth0, up, and a way to everywhere.
func (t *Trial) ExpectNetwork(r probe.Report) {
	var interfaces, everywhere []string
	for _, i := range made(r.Interfaces) {
		interfaces = append(interfaces, fmt.Sprint(i.Name, " up ", i.Up))
	}
	t.Expect("eth0 up true\nlo up true", sorted(interfaces))
	for _, route := range r.Routes {
		if strings.HasPrefix(route, "0.0.0.0/0 via ") {
			everywhere = append(everywhere, route)
		}
	}
	t.ExpectThat(len(everywhere) == 1, "one default route", sorted(r.Routes))
}

// interfaceWith returns the host's interface that has an address, or nil.
func interfaceWith(address string) *net.Interface {
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.String() == address {
				return &i
			}
		}
	}
	return nil
}

// sorted joins lines in their order.
func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), "\n") }
