package probe

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Observe reports what this process sees. It needs /proc; what cannot be read
// goes to Errors and is no error of Observe.
func Observe() Report {
	r := Report{
		PID: os.Getpid(), PPID: os.Getppid(),
		UID: os.Getuid(), GID: os.Getgid(), EUID: os.Geteuid(), EGID: os.Getegid(),
		Namespaces: map[string]string{}, Devices: map[string]string{},
		Capabilities: map[string]string{}, Files: map[int]string{}, Errors: map[string]string{},
	}
	note := func(field string, err error) {
		if err != nil {
			r.Errors[field] = err.Error()
		}
	}
	var err error
	var name unix.Utsname
	note("Hostname", unix.Uname(&name))
	r.Hostname = unix.ByteSliceToString(name.Nodename[:])
	r.Domainname = unix.ByteSliceToString(name.Domainname[:])
	r.Groups, err = os.Getgroups()
	note("Groups", err)
	r.Cwd, err = os.Getwd()
	note("Cwd", err)
	r.Root, err = names("/")
	note("Root", err)
	note("Namespaces", r.readNamespaces())
	note("Processes", r.readProcesses())
	r.Mounts, err = Mounts()
	note("Mounts", err)
	note("Devices", r.readDevices())
	r.UIDMap, err = lines("/proc/self/uid_map")
	note("UIDMap", err)
	r.GIDMap, err = lines("/proc/self/gid_map")
	note("GIDMap", err)
	note("Capabilities", r.readCapabilities())
	r.Cgroup, err = lines("/proc/self/cgroup")
	note("Cgroup", err)
	r.Interfaces, err = Interfaces()
	note("Interfaces", err)
	r.Routes, err = Routes()
	note("Routes", err)
	note("Files", r.readFiles())
	return r
}

// names lists a directory, sorted.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, err
}

// lines reads a file of /proc, with runs of blanks folded into one.
func lines(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	var list []string
	for line := range strings.Lines(string(data)) {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	return list, err
}

// readNamespaces reads the links in /proc/self/ns.
func (r *Report) readNamespaces() error {
	kinds, err := names("/proc/self/ns")
	for _, kind := range kinds {
		r.Namespaces[kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	return err
}

// readProcesses lists the numbers in /proc: the processes of the PID namespace
// of whoever mounted it, see proc(5).
func (r *Report) readProcesses() error {
	all, err := names("/proc")
	for _, name := range all {
		if pid, err := strconv.Atoi(name); err == nil {
			r.Processes = append(r.Processes, pid)
		}
	}
	slices.Sort(r.Processes)
	return err
}

// Mounts reads this process's mounts, in the order of /proc/self/mountinfo.
func Mounts() ([]Mount, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return ParseMounts(string(table))
}

// unescape gives a path in mountinfo its blanks back.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// ParseMounts parses lines of mountinfo:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//	(1)(2)(3)  (4)   (5)   (6)        (7)     (8)(9)  (10)      (11)
func ParseMounts(table string) ([]Mount, error) {
	var mounts []Mount
	for line := range strings.Lines(table) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 6 || len(r) < 2 {
			return mounts, fmt.Errorf("parse mountinfo: %q", line)
		}
		m := Mount{Root: unescape.Replace(l[3]), Target: unescape.Replace(l[4]), Options: strings.Split(l[5], ","),
			Propagation: strings.Join(l[6:], " "), Type: r[0], Source: r[1]}
		m.ID, _ = strconv.Atoi(l[0])
		if len(r) > 2 {
			m.Super = strings.Split(r[2], ",")
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// readDevices walks /dev for device nodes, without following links and without
// crossing into devpts, whose nodes come and go.
func (r *Report) readDevices() error {
	return filepath.WalkDir("/dev", func(path string, d os.DirEntry, err error) error {
		if path == "/dev/pts" && d.IsDir() {
			return filepath.SkipDir
		}
		if err != nil {
			return nil // gone in the meantime
		}
		// Not d.Type(): a directory lists what lies below a bind mount.
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil // gone in the meantime
		}
		kind, ok := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
		if !ok {
			return nil
		}
		r.Devices[strings.TrimPrefix(path, "/dev/")] =
			fmt.Sprintf("%s %d:%d", kind, unix.Major(st.Rdev), unix.Minor(st.Rdev))
		return nil
	})
}

// readCapabilities reads the masks in /proc/self/status, see capabilities(7).
func (r *Report) readCapabilities() error {
	status, err := lines("/proc/self/status")
	for _, line := range status {
		name, value, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(name, "Cap") || name == "NoNewPrivs" || name == "Seccomp" {
			r.Capabilities[name] = value
		}
	}
	return err
}

// readFiles lists the open file descriptors, without the one that lists them.
func (r *Report) readFiles() error {
	fds, err := names("/proc/self/fd")
	for _, name := range fds {
		fd, _ := strconv.Atoi(name)
		if target, err := os.Readlink("/proc/self/fd/" + name); err == nil && !ownFile(target) {
			r.Files[fd] = target
		}
	}
	return err
}

// ownFile tells what Go's runtime opens for itself: the poller, and the files
// from which it reads its CPU limit in a cgroup.
func ownFile(target string) bool {
	return strings.HasPrefix(target, "anon_inode:[event") || strings.Contains(target, "/cpu.max") ||
		strings.Contains(target, "/cpu.cfs_")
}

// Interfaces lists the network interfaces, see netdevice(7). It asks the kernel
// itself: package net would take most of the probe's time to start.
func Interfaces() ([]Interface, error) {
	table, err := lines("/proc/self/net/dev")
	if err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(s)
	var list []Interface
	for _, line := range table[min(2, len(table)):] { // two lines of headings
		name, _, _ := strings.Cut(line, ":")
		i := Interface{Name: strings.TrimSpace(name)}
		req, err := unix.NewIfreq(i.Name)
		if err != nil {
			return list, fmt.Errorf("name %s: %w", i.Name, err)
		}
		if unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, req) == nil {
			i.Up = req.Uint16()&unix.IFF_UP != 0
		}
		if info, err := unix.IoctlGetEthtoolDrvinfo(s, i.Name); err == nil {
			i.Driver = unix.ByteSliceToString(info.Driver[:])
		}
		if unix.IoctlIfreq(s, unix.SIOCGIFADDR, req) == nil {
			if addr, err := req.Inet4Addr(); err == nil && unix.IoctlIfreq(s, unix.SIOCGIFNETMASK, req) == nil {
				mask, _ := req.Inet4Addr()
				i.Addrs = append(i.Addrs, fmt.Sprintf("%s/%d", dotted(addr), prefix(mask)))
			}
		}
		list = append(list, i)
	}
	return list, nil
}

// Routes reads the IPv4 routes from /proc/self/net/route, whose addresses are
// hexadecimal and in the machine's byte order, see proc_pid_net(5).
func Routes() ([]string, error) {
	table, err := lines("/proc/self/net/route")
	var routes []string
	for _, line := range table {
		f := strings.Fields(line)
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		route := fmt.Sprintf("%s/%d", dotted(address(f[1])), prefix(address(f[7])))
		if gateway := address(f[2]); dotted(gateway) != "0.0.0.0" {
			route += " via " + dotted(gateway)
		}
		routes = append(routes, route+" dev "+f[0])
	}
	return routes, err
}

// RoutesV6 reads the IPv6 routes that lead out of a link: no link-local ones, no
// multicast, and not those that the kernel itself gives lo, see
// /proc/net/ipv6_route in proc_pid_net(5).
func RoutesV6() ([]string, error) {
	table, err := lines("/proc/self/net/ipv6_route")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a kernel without IPv6
	}
	var routes []string
	for _, line := range table {
		// 20010db8…0000 40 000…0 00 fe80…0001 00000400 00000001 00000000 00000003 eth0
		f := strings.Fields(line)
		const up = "00000001" // and neither local nor rejecting
		if len(f) < 10 || f[9] == "lo" && f[8] != up || strings.HasPrefix(f[0], "fe80") || strings.HasPrefix(f[0], "ff") {
			continue
		}
		bits, _ := strconv.ParseUint(f[1], 16, 8)
		route := fmt.Sprintf("%v/%d", colons(f[0]), bits)
		if gateway := colons(f[4]); !gateway.IsUnspecified() {
			route += fmt.Sprint(" via ", gateway)
		}
		routes = append(routes, route+" dev "+f[9])
	}
	return routes, err
}

// colons is the IPv6 address of 32 digits.
func colons(digits string) netip.Addr {
	bytes, _ := hex.DecodeString(digits)
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// address turns "0100007F" into the bytes of 127.0.0.1.
func address(hex string) []byte {
	n, _ := strconv.ParseUint(hex, 16, 32)
	return binary.NativeEndian.AppendUint32(nil, uint32(n))
}

// dotted writes an IPv4 address.
func dotted(a []byte) string { return fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3]) }

// prefix is the length of a network mask.
func prefix(mask []byte) int { return bits.OnesCount32(binary.BigEndian.Uint32(mask)) }
