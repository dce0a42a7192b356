package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// GuestVM is process 1 of the VM: call it first of all when os.Getpid() is 1
// and os.Args[0] is "/init". It makes the kernel's empty room a machine, then
// runs the host's jobs one after another. It does not return; where a real
// init would panic the kernel it says why on the console and switches off.
func GuestVM() {
	err := guestVM()
	fmt.Fprintf(os.Stderr, guestComplaint+"%v\n", err)
	time.Sleep(100 * time.Millisecond) // for the console
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// guestVM is GuestVM up to the first error.
func guestVM() error {
	if err := makeRootMovable(); err != nil {
		return err
	}
	for _, m := range guestMounts {
		if err := m.mount(); err != nil {
			return err
		}
	}
	cgroup, err := kernelParameter(cgroupParameter)
	if err != nil {
		return err
	}
	if err := mountCgroups(cgroup); err != nil {
		return err
	}
	if err := keepCgroups(cgroup); err != nil {
		return err
	}
	if err := loadModules("/" + moduleDir); err != nil {
		return err
	}
	if err := finishMachine(); err != nil {
		return err
	}
	// As systemd does; the kernel's own hard limit of 4096 is below what
	// container engines set.
	limit := unix.Rlimit{Cur: 1024, Max: 524288}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("set RLIMIT_NOFILE: %w", err)
	}
	if err := letTimersWait(); err != nil {
		return err
	}
	saveTime()
	ports, err := openPorts()
	if err != nil {
		return err
	}
	g, err := newGuest(ports, cgroup)
	if err != nil {
		return err
	}
	return g.serve()
}

// makeRootMovable puts / on a mount of its own. The kernel unpacks the first
// file system into rootfs, which pivot_root(2) refuses to move away; a bind
// mount of the same files it accepts.
func makeRootMovable() error {
	if err := unix.Mount("/", "/newroot", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind / to /newroot: %w", err)
	}
	if err := unix.Chdir("/newroot"); err != nil {
		return err
	}
	if err := unix.Mount("/newroot", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move /newroot to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to the moved root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return os.Remove("/newroot")
}

// A guestMount is a row of mount(8).
type guestMount struct {
	kind, target string
	flags        uintptr
	data         string
}

// guestMounts are what every Linux machine has.
var guestMounts = []guestMount{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=755"},
	{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=620,gid=5,ptmxmode=666"},
	{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
}

// mount makes the mount point and the mount.
func (m guestMount) mount() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
	}
	return nil
}

// kernelParameter returns the value of a parameter on the kernel's command line.
func kernelParameter(name string) (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	for _, word := range strings.Fields(string(line)) {
		if value, ok := strings.CutPrefix(word, name); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("no %s on the kernel's command line", name)
}

const cgroupFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// cgroupControllers are all that a machine's programs are promised. (What else
// the kernel has is left alone.)
var cgroupControllers = []string{"memory", "pids", "cpu", "io", "cpuset"}

// v1Hierarchies are the mounts that systemd makes on a v1 or hybrid machine,
// see cgroups(7).
var v1Hierarchies = []string{
	"memory", "pids", "cpu,cpuacct", "cpuset", "blkio", "freezer", "devices", "net_cls,net_prio", "perf_event", "hugetlb",
}

// mountCgroups mounts cgroups as a machine with systemd has them: "v2", "v1",
// or "hybrid", which is v1 with an empty v2 tree for processes beside it.
func mountCgroups(mode string) error {
	if mode == "v2" {
		m := guestMount{"cgroup2", "/sys/fs/cgroup", cgroupFlags, "nsdelegate,memory_recursiveprot"}
		if err := m.mount(); err != nil {
			return err
		}
		return enableControllers()
	}
	rows := []guestMount{
		{"tmpfs", "/sys/fs/cgroup", cgroupFlags, "mode=755"},
		{"cgroup", "/sys/fs/cgroup/systemd", cgroupFlags, "none,name=systemd"},
	}
	if mode == "hybrid" {
		rows = append(rows, guestMount{"cgroup2", "/sys/fs/cgroup/unified", cgroupFlags, "nsdelegate"})
	}
	known, err := os.ReadFile("/proc/cgroups") // name, hierarchy, number, enabled
	if err != nil {
		return err
	}
	for _, hierarchy := range v1Hierarchies {
		var here []string
		for name := range strings.SplitSeq(hierarchy, ",") {
			if strings.Contains("\n"+string(known), "\n"+name+"\t") {
				here = append(here, name)
			}
		}
		if len(here) > 0 {
			names := strings.Join(here, ",")
			rows = append(rows, guestMount{"cgroup", "/sys/fs/cgroup/" + names, cgroupFlags, names})
		}
	}
	for _, m := range rows {
		if err := m.mount(); err != nil {
			return err
		}
		if names := strings.Split(filepath.Base(m.target), ","); len(names) > 1 {
			for _, name := range names { // cpu -> cpu,cpuacct
				if err := os.Symlink(filepath.Base(m.target), "/sys/fs/cgroup/"+name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// keepCgroups makes cgroups with limits and nobody in them, as init.scope is on a
// machine with systemd. The kernel writes jumps into its own code when the first
// cgroup or quota comes, and takes them out when the last one goes: without these
// that is each container's, and TCG must translate the code again each time.
func keepCgroups(mode string) error {
	const top = "/sys/fs/cgroup/"
	limits := map[string]string{top + "init.scope/cpu.max": "50000 100000"}
	if mode != "v2" {
		limits = map[string]string{
			top + "memory/init.scope/memory.limit_in_bytes": "64M",
			top + "cpu/init.scope/cpu.cfs_quota_us":         "50000",
		}
	}
	for file, limit := range limits {
		if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := writeCgroup(file, limit); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers lets the root's children have their limits.
func enableControllers() error {
	for _, c := range cgroupControllers {
		const file = "/sys/fs/cgroup/cgroup.subtree_control"
		if err := writeCgroup(file, "+"+c); err != nil {
			return fmt.Errorf("enable the %s controller: %w", c, err)
		}
	}
	return nil
}

// loadModules loads what the host put into dir, in the order of the names, and
// removes it: the machine's root is memory.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) { // built in
			return fmt.Errorf("load module %s: %w", e.Name(), err)
		}
	}
	return os.RemoveAll(dir)
}

// letTimersWait lets every sleep in the machine end up to a millisecond late,
// when something else wakes the CPU: children inherit it, see
// PR_SET_TIMERSLACK(2const). A thread of each Go program sleeps for 20
// microseconds again and again while it starts, and under TCG the interrupt
// costs more than that: they took a quarter of a container's time.
func letTimersWait() error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0)
	if errno != 0 {
		return fmt.Errorf("set the timer slack: %w", errno)
	}
	return nil
}

// saveTime sets what makes a machine quicker without KVM, and changes nothing
// else. A page fault in a program's file maps a MiB around it, as far as that is
// in memory: all of the machine is, and each fault costs more than the pages. A
// huge page costs more than it saves: a Go program touches little of one and
// lives for milliseconds. The end of a namespace waits for all CPUs to have been
// elsewhere, see RCU in the kernel's documentation: this one is told to hurry. A
// kernel that knows no such setting is slower, and as good.
func saveTime() {
	const debug = "/sys/kernel/debug"
	if unix.Mount("debugfs", debug, "debugfs", 0, "") == nil {
		_ = os.WriteFile(debug+"/fault_around_bytes", []byte("1048576"), 0)
		_ = unix.Unmount(debug, 0)
	}
	_ = os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("never"), 0)
	_ = os.WriteFile("/sys/kernel/rcu_expedited", []byte("1"), 0)
}

// openPorts waits for the channels and opens them.
func openPorts() (map[string]*os.File, error) {
	ports := map[string]*os.File{}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, file := range names {
			content, _ := os.ReadFile(file) // empty while the name is on its way
			name, ok := strings.CutPrefix(strings.TrimSpace(string(content)), portPrefix)
			if !ok || ports[name] != nil {
				continue
			}
			if ports[name], err = openPort("/dev/" + filepath.Base(filepath.Dir(file))); err != nil {
				return nil, err
			}
		}
		if len(ports) == len(vmPorts) {
			return ports, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d virtio-serial ports are there", len(ports), len(vmPorts))
		}
	}
}

// openPort opens a port, once the kernel knows that the host has its end: until
// then a read says end-of-file, which later means that the host is gone.
func openPort(dev string) (*os.File, error) {
	// Blocking, which spares the poller's two system calls per read.
	fd, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dev, err)
	}
	for range 5000 {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 0); err == nil && fds[0].Revents&unix.POLLHUP == 0 {
			return os.NewFile(uintptr(fd), dev), nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, fmt.Errorf("%s: the host did not open its end", dev)
}

// newGuest prepares for jobs and tells the host.
func newGuest(ports map[string]*os.File, cgroup string) (*guest, error) {
	g := &guest{ports: ports, cgroup: cgroup, jobs: make(chan *vmJob), say: json.NewEncoder(ports["ctl"])}
	mounts, err := mountIDs()
	if err != nil {
		return nil, err
	}
	g.mounts = mounts
	go g.listen()
	return g, g.say.Encode(fromGuest{Ready: true})
}

// listen takes what the host says. When it says no more its process is gone,
// and the machine has no reason to be: that is what ends the VM on hosts
// without a parent death signal.
func (g *guest) listen() {
	for d := json.NewDecoder(g.ports["ctl"]); ; {
		var m toGuest
		if err := d.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
			}
			fmt.Fprintf(os.Stderr, guestComplaint+"read ctl: %v\n", err)
			_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
		if m.Wake != nil {
			wakeUp(*m.Wake)
			_ = g.say.Encode(fromGuest{Ready: true}) // nobody else speaks before the first job
		}
		if m.Size != nil {
			g.resize(*m.Size)
		}
		if m.Job != nil {
			g.jobs <- m.Job
		}
	}
}

// wakeUp sets the clock, which stood still, and gives the kernel's random numbers
// another beginning than those of other machines from the same file.
func wakeUp(w vmWake) {
	now := unix.NsecToTimeval(w.Now.UnixNano())
	_ = unix.Settimeofday(&now)
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.Write(w.Seed)
	_ = unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0)
}
