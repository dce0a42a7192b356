// Package isolation draws the map of isolation: what each step shares with the
// host, and what it has of its own. It measures nothing itself: a
// probe.Measurement comes in, and a table for the terminal (Terminal), a picture
// (Picture) or a page (Page) goes out, the same for the same measurement.
//
//	isolation.go the rows: what is read off a measurement
//	table.go     rows and columns
//	terminal.go  the table as text
//	picture.go   one drawing of all steps, for the README
//	drawing.go   one drawing per step, for the page
//	page.go      the page: page.html filled in
package isolation

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"containers-from-scratch/harness/probe"
)

// A Sharing tells whose something is that a command has.
type Sharing int

const (
	Shared Sharing = iota // the host's own
	Partly                // some of it
	Own                   // the container's
)

// Mark is how a Sharing is shown without colour.
func (s Sharing) Mark() string { return []string{"○", "◐", "●"}[s] }

// String is how it is told, and a class in the page.
func (s Sharing) String() string { return []string{"shared", "partly", "own"}[s] }

// A fact is a row: how it is read off a column.
type fact struct {
	name string
	read string // the man page that explains it
	// value is what is shown, as short as it can be.
	value func(c probe.Column) string
	// sharing compares a column with the host's.
	sharing func(c, host probe.Column) Sharing
	// picture is what a drawing says, nil where the row is not drawn. It says
	// nothing that differs from one measurement to the next.
	picture func(c probe.Column, s Sharing) string
	// beside is what a drawing says of the host beside what is the container's,
	// where the value says nothing there.
	beside string
	// onlyDrawn is for a row of drawings that sums up several of the table.
	onlyDrawn bool
	// counts is for a value that counts the command itself, or its number: what
	// is the host's is then the command's all the same, and another each time.
	counts bool
	// own is shown instead of the value of what is the container's.
	own string
	// dealt is for a value that the kernel or the program deals out anew each
	// time: it tells nothing but that it is another than the host's.
	dealt bool
}

// namespace tells whether a column has a namespace of its own. The host looks
// at both while they live: the kernel gives numbers again.
func namespace(kind string) func(c, host probe.Column) Sharing {
	return func(c, host probe.Column) Sharing {
		return own(c.Outside.Namespaces[kind] != host.Outside.Namespaces[kind])
	}
}

// own is Own where a condition holds, else Shared.
func own(is bool) Sharing {
	if is {
		return Own
	}
	return Shared
}

// differs compares what a row shows.
func differs(value func(probe.Column) string) func(c, host probe.Column) Sharing {
	return func(c, host probe.Column) Sharing { return own(value(c) != value(host)) }
}

// hosts is a drawing's word for what is shared, and mine for what is not.
func hosts(mine func(c probe.Column) string, host string) func(probe.Column, Sharing) string {
	return func(c probe.Column, s Sharing) string {
		if s == Shared {
			return host
		}
		return mine(c)
	}
}

// say is a value that is the same of all columns.
func say(text string) func(probe.Column) string { return func(probe.Column) string { return text } }

// theHosts is shown where a value would tell nothing.
const theHosts = "the host's"

// facts are the rows, in the order of the steps.
var facts = []fact{
	{name: "hostname", read: "uts_namespaces(7)", value: hostname, sharing: namespace("uts"),
		picture: func(c probe.Column, _ Sharing) string { return hostname(c) }},
	{name: "process number", read: "pid_namespaces(7)", value: number, sharing: namespace("pid"), counts: true,
		picture: hosts(number, "one of the host's")},
	{name: "processes in sight", read: "proc(5)", value: count(func(c probe.Column) int { return len(c.Inside.Processes) }),
		sharing: sight, counts: true, picture: hosts(processes, "all of the host's")},
	{name: "mounts", read: "mount_namespaces(7)", value: count(func(c probe.Column) int { return len(c.Inside.Mounts) }),
		sharing: namespace("mnt"), picture: hosts(say("a tree of its own"), "the host's tree")},
	{name: "root filesystem", read: "pivot_root(2)", value: root, sharing: rootSharing},
	{name: "the host's files", read: "overlayfs.rst", value: reach, sharing: files, picture: filesPicture},
	{name: "device nodes", read: "null(4)", value: count(func(c probe.Column) int { return len(c.Inside.Devices) }),
		sharing: rootSharing},
	{name: "memory", read: "cgroups(7)", value: memory, sharing: differs(memory)},
	{name: "processes", read: "cgroups(7)", value: pids, sharing: differs(pids)},
	{name: "CPUs", read: "cgroups(7)", value: cpus, sharing: differs(cpus)},
	{name: "limits", read: "cgroups(7)", value: limits, sharing: differs(limits),
		picture: hosts(limits, "none: all that the host has"), onlyDrawn: true},
	{name: "its user outside", read: "user_namespaces(7)", value: user, sharing: namespace("user"),
		picture: hosts(func(c probe.Column) string { return "uid " + user(c) + " outside" }, "root inside is root outside"), beside: "root"},
	{name: "ids it can be", read: "user_namespaces(7)", value: ids, sharing: namespace("user")},
	{name: "capabilities", read: "capabilities(7)", value: capabilities, sharing: differs(capabilities)},
	{name: "interfaces", read: "network_namespaces(7)", value: interfaces, sharing: namespace("net"),
		picture: hosts(interfaces, "the host's interfaces and ports")},
	{name: "address", read: "veth(4)", value: address, sharing: namespace("net"), dealt: true},
	{name: "default route", read: "rtnetlink(7)", value: route, sharing: namespace("net")},
	{name: "no new privileges", read: "PR_SET_NO_NEW_PRIVS(2const)", value: set("NoNewPrivs"), sharing: differs(set("NoNewPrivs"))},
	{name: "seccomp filter", read: "seccomp(2)", value: set("Seccomp"), sharing: differs(set("Seccomp")),
		picture: hosts(say("filtered"), "all that the kernel has"), beside: "all"},
	identity("uts"), identity("pid"), identity("mnt"), identity("cgroup"), identity("user"), identity("net"),
	{name: "ipc namespace", read: "ipc_namespaces(7)", value: say(theHosts), sharing: namespace("ipc"), own: "its own",
		picture: hosts(say("its own"), "the host's message queues")},
	identity("time"),
}

// identity is the row of a namespace. It does not show the number: the kernel
// gives those of the dead again, and another machine's mean nothing here.
func identity(kind string) fact {
	page := map[string]string{"mnt": "mount", "net": "network"}[kind]
	if page == "" {
		page = kind
	}
	return fact{name: kind + " namespace", read: page + "_namespaces(7)", value: say(theHosts), sharing: namespace(kind), own: "its own"}
}

func hostname(c probe.Column) string { return c.Inside.Hostname }
func number(c probe.Column) string   { return strconv.Itoa(c.Inside.PID) }

func count(of func(c probe.Column) int) func(probe.Column) string {
	return func(c probe.Column) string { return strconv.Itoa(of(c)) }
}

// sight is Own when the command's number on the host is none of those in its
// /proc. With a PID namespace and the host's /proc it is among them.
func sight(c, _ probe.Column) Sharing {
	return own(!slices.Contains(c.Inside.Processes, c.Outside.PID) || len(c.Inside.Processes) == 1)
}

func processes(c probe.Column) string {
	if n := len(c.Inside.Processes); n != 1 {
		return fmt.Sprintf("%d, all inside", n)
	}
	return "itself alone"
}

// rootMount is the mount on /, the last of those stacked there.
func rootMount(c probe.Column) (m probe.Mount) {
	for _, other := range c.Inside.Mounts {
		if other.Target == "/" {
			m = other
		}
	}
	return m
}

// root is the type of the root filesystem.
func root(c probe.Column) string {
	m := rootMount(c)
	if byMount, byFilesystem := m.ReadOnly(); byMount || byFilesystem {
		return m.Type + ", ro"
	}
	return m.Type
}

// rootSharing is Own where another filesystem, or another directory, is on /.
func rootSharing(c, host probe.Column) Sharing {
	ours, theirs := rootMount(c), rootMount(host)
	return own(ours.Type != theirs.Type || ours.Source != theirs.Source || ours.Root != theirs.Root)
}

// reach tells what of the host's files the command reached.
func reach(c probe.Column) string {
	switch {
	case c.Outside.Reads && c.Outside.Writes:
		return "read, write"
	case c.Outside.Reads:
		return "read"
	case c.Outside.Writes:
		return "write"
	}
	return "none"
}

func files(c, _ probe.Column) Sharing {
	switch {
	case c.Outside.Writes:
		return Shared
	case c.Outside.Reads:
		return Partly
	}
	return Own
}

func filesPicture(_ probe.Column, s Sharing) string {
	return []string{"reads and writes the host's", "reads the host's, writes stay inside", "its own only"}[s]
}

// noLimit is what a limit of 0 is called.
const noLimit = "no limit"

func memory(c probe.Column) string {
	if n := c.Outside.Limits.Memory; n > 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return noLimit
}

func pids(c probe.Column) string {
	if n := c.Outside.Limits.Pids; n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return noLimit
}

func cpus(c probe.Column) string {
	if n := c.Outside.Limits.CPUs; n > 0 {
		return strconv.FormatFloat(n, 'g', 3, 64)
	}
	return noLimit
}

// limits is memory, processes and CPUs in one phrase.
func limits(c probe.Column) string {
	var parts []string
	for _, limit := range []struct{ text, unit string }{
		{memory(c), ""}, {pids(c), " processes"}, {cpus(c), " CPU"},
	} {
		if limit.text != noLimit {
			parts = append(parts, limit.text+limit.unit)
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func user(c probe.Column) string { return strconv.Itoa(c.Outside.UID) }

// ids counts the user ids that are mapped; all but one of 2^32 are "all".
func ids(c probe.Column) string {
	total := 0
	for _, line := range c.Inside.UIDMap { // "0 100000 65536"
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.Atoi(f[2])
			total += n
		}
	}
	if total == 1<<32-1 {
		return "all"
	}
	return strconv.Itoa(total)
}

// capabilities counts the effective ones. In a user namespace of its own they
// hold over what belongs to that, and over nothing of the host's.
func capabilities(c probe.Column) string {
	mask, _ := strconv.ParseUint(c.Inside.Capabilities["CapEff"], 16, 64)
	n := strconv.Itoa(bits.OnesCount64(mask))
	if ids(c) != "all" {
		return n + " inside"
	}
	return n
}

// set is a line of /proc/self/status that is 0 or not.
func set(name string) func(c probe.Column) string {
	return func(c probe.Column) string {
		if v := c.Inside.Capabilities[name]; v == "" || v == "0" {
			return "no"
		}
		return "yes"
	}
}

func interfaces(c probe.Column) string {
	var names []string
	for _, i := range c.Inside.Interfaces {
		names = append(names, i.Name)
	}
	if len(names) > 3 {
		names = append(names[:2], fmt.Sprintf("+%d", len(names)-2))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, " ")
}

// address is the first that is not loopback's.
func address(c probe.Column) string {
	for _, i := range c.Inside.Interfaces {
		for _, a := range i.Addrs {
			if ip, _, _ := strings.Cut(a, "/"); !strings.HasPrefix(ip, "127.") {
				return ip
			}
		}
	}
	return "none"
}

func route(c probe.Column) string {
	for _, r := range c.Inside.Routes {
		if strings.HasPrefix(r, "0.0.0.0/0 ") {
			return "yes"
		}
	}
	return "no"
}
