// Package probe describes what a process sees of the machine it runs on. The
// command harness/cmd/probe prints the description as JSON; the checks compare
// the one from inside a container with the one from the host.
package probe

import "slices"

// A Report is what one process sees. Fields are added as steps need them and
// never change their meaning; a field that could not be read is empty and has
// its reason in Errors.
type Report struct {
	Hostname   string            // uts_namespaces(7)
	Domainname string            // the NIS name, the same namespace
	Namespaces map[string]string // "uts" -> "uts:[4026531838]", see namespaces(7)

	PID, PPID int   // getpid(2): numbers in the process's own PID namespace
	Processes []int // the numbers in /proc, sorted

	Root    []string          // names in /, sorted
	Cwd     string            // getcwd(2)
	Mounts  []Mount           // /proc/self/mountinfo, in its order
	Devices map[string]string // name below /dev -> "c 1:3" or "b 8:0"

	UID, GID, EUID, EGID int      // getresuid(2)
	Groups               []int    // supplementary groups
	UIDMap, GIDMap       []string // lines of /proc/self/uid_map, blanks folded

	// Capabilities are the masks of /proc/self/status: CapInh, CapPrm, CapEff,
	// CapBnd and CapAmb, and beside them NoNewPrivs and Seccomp.
	Capabilities map[string]string

	Cgroup []string // lines of /proc/self/cgroup

	Interfaces []Interface
	Routes     []string // "0.0.0.0/0 via 172.30.0.1 dev eth0"

	Files map[int]string // open file descriptors and where they lead

	Errors map[string]string `json:",omitempty"` // field -> why it is empty
}

// A Mount is one line of /proc/self/mountinfo, see proc_pid_mountinfo(5).
type Mount struct {
	ID                         int `json:"-"` // means something where it was read
	Root, Target, Type, Source string
	Options                    []string // per mount, such as "nosuid"
	Super                      []string // per filesystem, such as "lowerdir=."
	Propagation                string   // "shared:1", "master:2", or "" when private
}

// ReadOnly tells whether nothing can be written there: by the mount, as a bind
// mount may be, or by the whole filesystem.
func (m Mount) ReadOnly() (mount, filesystem bool) {
	return slices.Contains(m.Options, "ro"), slices.Contains(m.Super, "ro")
}

// An Interface is one network interface of the network namespace.
type Interface struct {
	Name   string
	Up     bool
	Driver string   // "veth", "bridge"
	Addrs  []string // with their prefix length: "127.0.0.1/8"
}
