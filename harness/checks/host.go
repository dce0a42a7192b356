//go:build linux

package checks

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"containers-from-scratch/harness/probe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// host is everything of the machine that a container may not change: a list
// of lines per kind, so that a comparison can name what is new or gone.
type host map[string][]string

// pristine is the machine before the first trial. Each trial starts from it.
var pristine host

// othersBridges are those that no program under test has made, by name: what the
// machine had before the first trial, and what facts put there.
var othersBridges = map[string]bool{}

// settings are the files whose content counts: what attacks write.
var settings = []string{
	"/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname",
	"/proc/sys/kernel/core_pattern", "/proc/sys/vm/laptop_mode",
	"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding",
	"/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ping_group_range",
	"/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv4/conf/default/rp_filter",
	"/proc/sys/net/ipv4/conf/all/proxy_arp", "/proc/sys/net/ipv4/conf/default/proxy_arp",
	"/proc/sys/net/ipv4/conf/all/route_localnet", "/proc/sys/net/ipv4/conf/default/route_localnet",
	"/proc/sys/net/ipv4/conf/default/forwarding",
	callIptables, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", "/proc/sys/net/bridge/bridge-nf-call-arptables",
}

// directories are those where a program could leave a file.
var directories = []string{"/", "/tmp", "/run", "/dev", "/dev/shm", "/var/tmp"}

// observeHost reads the state of the machine.
func observeHost() host {
	h := host{}
	mounts, _ := probe.Mounts()
	for _, m := range mounts {
		propagation, _, _ := strings.Cut(m.Propagation, ":") // the group's number says nothing
		h["mount"] = append(h["mount"], fmt.Sprintf("%s on %s %s %s", m.Type, m.Target, strings.Join(m.Options, ","), propagation))
	}
	slices.Sort(h["mount"])
	for _, path := range settings {
		value, err := os.ReadFile(path)
		if err == nil {
			h["setting"] = append(h["setting"], path+" = "+strings.TrimSpace(string(value)))
		}
	}
	for _, dir := range directories {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			h["file"] = append(h["file"], filepath.Join(dir, e.Name()))
		}
	}
	if os.Getenv("SANDBOX_CGROUP") != "none" { // else the tree is the machine's, and others use it too
		for _, tree := range cgroupTrees() {
			h["cgroup"] = appendCgroups(h["cgroup"], tree)
		}
	}
	h["firewall"] = observeFirewall()
	h.observeWhatSettles()
	return h
}

// observeFirewall tells what can be seen of a network namespace's firewall at
// little cost. The kernel counts what is committed to the rules of nftables,
// those that iptables-nft writes among them; nobody has yet at 1. To ask would
// load nf_tables: where it is a module that is not loaded it has no rules. Of
// the older iptables a table is there from its first use on, its rules are not
// seen.
func observeFirewall() (list []string) {
	if exists("/sys/module/nf_tables") || !exists("/proc/modules") {
		ask := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
		ask.AddData(&nl.Nfgenmsg{Version: nl.NFNETLINK_V0})
		answers, _ := ask.Execute(unix.NETLINK_NETFILTER, 0) // an error: not in this kernel
		for _, answer := range answers {
			attributes, _ := nl.ParseRouteAttr(answer[nl.SizeofNfgenmsg:])
			for _, a := range attributes {
				if a.Attr.Type == unix.NFTA_GEN_ID && binary.BigEndian.Uint32(a.Value) > 1 {
					list = append(list, fmt.Sprint("change ", binary.BigEndian.Uint32(a.Value)-1, " of nftables' rules"))
				}
			}
		}
	}
	for _, family := range []string{"ip", "ip6", "arp"} {
		tables, _ := os.ReadFile("/proc/net/" + family + "_tables_names")
		for _, table := range strings.Fields(string(tables)) {
			list = append(list, family+"tables' table "+table)
		}
	}
	return list
}

// observeWhatSettles reads anew what a program that has ended may still have, for
// a moment: processes, interfaces and their routes.
func (h host) observeWhatSettles() {
	h["interface"], h["process"] = nil, nil
	shared := "" // the bridge that runs may share, and leave, says the contract
	links, _ := probe.Interfaces()
	for _, l := range links {
		if pristine == nil && l.Driver == "bridge" {
			othersBridges[l.Name] = true
		}
		if shared == "" && l.Driver == "bridge" && !othersBridges[l.Name] {
			shared = l.Name
			continue
		}
		h["interface"] = append(h["interface"], fmt.Sprint(l.Name, " ", l.Up, " ", l.Addrs))
	}
	routes, _ := probe.Routes()
	h["route"] = slices.DeleteFunc(routes, func(route string) bool { // to its own subnet
		return shared != "" && strings.HasSuffix(route, " dev "+shared) && !strings.Contains(route, " via ")
	})
	more, _ := probe.RoutesV6()
	h["route"] = append(h["route"], more...)
	for _, p := range processes() {
		h["process"] = append(h["process"], fmt.Sprintf("%d %s", p.pid, p.name))
	}
}

// cgroupTrees are the roots of the hierarchies: one in version 2, several mounts
// in version 1, and links to them.
var cgroupTrees = sync.OnceValue(func() (trees []string) {
	const top = "/sys/fs/cgroup"
	if exists(top + "/cgroup.procs") {
		return []string{top}
	}
	entries, _ := os.ReadDir(top)
	for _, e := range entries {
		if e.IsDir() {
			trees = append(trees, filepath.Join(top, e.Name()))
		}
	}
	return trees
})

// appendCgroups appends the cgroups below dir, children first. A cgroup is full
// of files; that it has no directory is in its link count, see inode(7).
func appendCgroups(list []string, dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Nlink <= 2 {
		return list
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			child := filepath.Join(dir, e.Name())
			list = append(appendCgroups(list, child), child)
		}
	}
	return list
}

type process struct {
	pid  int
	name string // its command line, or "(zombie)"
}

// kernelThreads are the numbers that were threads of the kernel at the last
// look: reading all of them each time would take most of the time of a run. The
// number of one that has ended may be given to a process.
var kernelThreads = map[int]bool{}

// processes lists the machine's processes without the kernel's own threads,
// which come and go.
func processes() []process {
	entries, _ := os.ReadDir("/proc")
	known := kernelThreads
	kernelThreads = map[int]bool{}
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if known[pid] {
			kernelThreads[pid] = true
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		// "17 (a name) S 1 …": the name may hold blanks and parentheses.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		const kthread = 0x00200000 // PF_KTHREAD, see "flags" in proc_pid_stat(5)
		if flags, _ := strconv.Atoi(fields[6]); flags&kthread != 0 {
			kernelThreads[pid] = true
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		name := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		if fields[0] == "Z" {
			name = "(zombie)"
		}
		list = append(list, process{pid, name})
	}
	return list
}

// settling is how long a program's last processes and interfaces may take to
// go. Their end is the kernel's work, and quick.
var settling = 2 * time.Second

// changed tells what of the machine is not as it was: "+" for new, "-" for
// gone. What is left of a program after its end can only change as long as a
// process of it is about to end, or an interface about to go with its
// namespace: for these it waits, and looks at nothing else meanwhile, since that
// would keep the kernel from it. One worker of the kernel takes all network
// namespaces away, those of the whole machine, and may be behind for a while.
func (before host) changed() []string {
	after := observeHost()
	for start := time.Now(); !before.equal(after); {
		diff := before.difference(after)
		wait := time.Duration(0)
		for _, line := range diff {
			switch {
			case strings.HasPrefix(line, "+ process"):
				wait = max(wait, settling)
			case strings.HasPrefix(line, "+ interface"), strings.HasPrefix(line, "+ route"):
				wait = max(wait, 5*settling)
			}
		}
		if time.Since(start) >= wait {
			return diff
		}
		now, looking := host{}, time.Duration(0)
		for ok := false; !ok && time.Since(start) < wait; ok = before.settled(now) {
			time.Sleep(max(between(looking), time.Since(start)/8))
			begun := time.Now()
			now.observeWhatSettles()
			looking = time.Since(begun)
		}
		after = observeHost()
	}
	return nil
}

// between is how long to wait until the next look, when the last one took that
// long: in a machine without KVM, which has one slow CPU, whoever looks all the
// time keeps what it waits for from happening.
func between(looking time.Duration) time.Duration { return max(2*time.Millisecond, 3*looking) }

// settled compares what observeWhatSettles reads.
func (before host) settled(after host) bool {
	return !slices.ContainsFunc([]string{"interface", "route", "process"}, func(kind string) bool {
		return !slices.Equal(before[kind], after[kind])
	})
}

// equal compares without go-cmp's reflection, which took a third of the time of
// a run in a machine without KVM.
func (before host) equal(after host) bool { return maps.EqualFunc(before, after, slices.Equal) }

// difference names the lines that are only in one of two states. Mounts come
// first: without the host's /proc, its processes seem to be gone as well.
func (before host) difference(after host) []string {
	var list []string
	for _, kind := range []string{"mount", "process", "file", "cgroup", "interface", "route", "setting", "firewall"} {
		for _, line := range after[kind] {
			if !slices.Contains(before[kind], line) {
				list = append(list, "+ "+kind+" "+line)
			}
		}
		for _, line := range before[kind] {
			if !slices.Contains(after[kind], line) {
				list = append(list, "- "+kind+" "+line)
			}
		}
	}
	if list == nil {
		list = []string{"the same things in another number or order"}
	}
	return list
}

// restore undoes what a command did to the machine where the program had no
// namespace for it: the opening attacks of the next step. Of mounts that are
// gone it can bring back /proc; without others the machine is not fit for more.
func (before host) restore() error {
	if !exists("/proc/self") {
		_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	for range 100 {
		after := observeHost()
		if before.equal(after) {
			return nil
		}
		diff := before.difference(after)
		for _, line := range diff {
			what, rest, _ := strings.Cut(line, " ")
			kind, thing, _ := strings.Cut(rest, " ")
			switch {
			case what == "+" && kind == "process":
				pid, _, _ := strings.Cut(thing, " ")
				n, _ := strconv.Atoi(pid)
				_ = syscall.Kill(n, syscall.SIGKILL)
				_, _ = syscall.Wait4(n, nil, syscall.WNOHANG, nil) // if it was ours
			case what == "+" && kind == "mount":
				if target := mountpoint(thing); after.mountsOn(target) > before.mountsOn(target) {
					_ = unix.Unmount(target, unix.MNT_DETACH)
				} else { // the same mounts with another propagation
					_ = unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "")
				}
			case what == "+" && kind == "file":
				_ = os.RemoveAll(thing)
				_ = unix.Rmdir(thing)
			case what == "+" && kind == "cgroup":
				_ = unix.Rmdir(thing) // EBUSY until its processes, killed above, are gone
			case what == "+" && kind == "interface":
				removeInterface(thing)
			case what == "-" && kind == "interface":
				upInterface(thing)
			case kind == "firewall": // what is counted has no way back; its rules are of this machine alone
				before[kind] = after[kind]
			case what == "-" && kind == "setting":
				path, value, _ := strings.Cut(thing, " = ")
				restoreSetting(path, value)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the test machine cannot be put right: %s", oneLine(before.difference(observeHost())))
}

// mountpoint is where a line of kind mount says that something is mounted.
func mountpoint(line string) string {
	_, target, _ := strings.Cut(line, " on ")
	target, _, _ = strings.Cut(target, " ")
	return target
}

// mountsOn counts the mounts on target, one on top of the other.
func (h host) mountsOn(target string) (n int) {
	for _, line := range h["mount"] {
		if mountpoint(line) == target {
			n++
		}
	}
	return n
}

// removeInterface removes the interface that a line names: of a veth pair both
// ends go, and with each its routes. The loopback interface refuses.
func removeInterface(line string) {
	if link, err := netlink.LinkByName(strings.Fields(line)[0]); err == nil {
		_ = netlink.LinkDel(link)
	}
}

// upInterface sets an interface up that was so; the loopback interface gets its
// addresses back with that.
func upInterface(line string) {
	if link, err := netlink.LinkByName(strings.Fields(line)[0]); err == nil && strings.Contains(line, " true ") {
		_ = netlink.LinkSetUp(link)
	}
}

// restoreSetting writes a value back; names go by their own system calls,
// which work where /proc/sys is read-only.
func restoreSetting(path, value string) {
	switch filepath.Base(path) {
	case "hostname":
		_ = unix.Sethostname([]byte(value))
	case "domainname":
		_ = unix.Setdomainname([]byte(value))
	default:
		_ = os.WriteFile(path, []byte(value), 0)
	}
}
