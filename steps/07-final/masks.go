//go:build linux

package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultMaskedPaths are the files of /proc and /sys that tell, or let one do,
// what concerns the whole machine.
func defaultMaskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
		"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// defaultReadonlyPaths are those that programs read, and root could change for
// the whole machine.
func defaultReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// finish does what can only be done when all is mounted, after pivot.
func (r *rootfs) finish(s *specs.Spec) error {
	if err := setSysctls(s.Linux.Sysctl); err != nil { // before /proc/sys is read-only
		return err
	}
	for _, name := range s.Linux.ReadonlyPaths {
		if err := r.makeReadonly(path.Join("/", name)); err != nil && err != unix.ENOENT {
			return fmt.Errorf("make read-only %s: %w", name, err)
		}
	}
	empty := -1
	for _, name := range s.Linux.MaskedPaths {
		if err := r.mask(path.Join("/", name), &empty); err != nil && err != unix.ENOENT {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	if flag, ok := propagation(s.Linux.RootfsPropagation); ok {
		if err := setPropagation(r.fd, flag); err != nil {
			return fmt.Errorf("set propagation of /: %w", err)
		}
	}
	for _, m := range []struct {
		name string
		is   bool
	}{{"/dev", r.readonlyDev}, {"/", s.Root.Readonly}} {
		if !m.is {
			continue
		}
		mnt, err := r.open(m.name, inRoot)
		if err == nil {
			err = changeMount(mnt, readOnly, false)
			unix.Close(mnt)
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", m.name, err)
		}
	}
	return nil
}

// readOnly is what makes a mount so.
var readOnly = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}

// makeReadonly lays a read-only copy of itself over name, with what is mounted
// below.
func (r *rootfs) makeReadonly(name string) error {
	on, err := r.open(name, inRoot)
	if err != nil {
		return err
	}
	defer unix.Close(on)
	mnt, err := cloneMount(on, "", true)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	if err := changeMount(mnt, readOnly, true); err != nil {
		return err
	}
	return attach(mnt, on)
}

// mask lays /dev/null over name if it is a file, and an empty directory if it
// is one: the first makes it, the others copy it, since only what is attached
// can be copied.
func (r *rootfs) mask(name string, empty *int) error {
	on, err := r.open(name, inRoot)
	if err != nil {
		return err
	}
	defer unix.Close(on)
	mnt := -1
	if matchFile(on, "", unix.S_IFDIR, 0) != nil {
		// A link of the image's in its place would be mounted, and open to
		// write, where a mask should be (CVE-2025-31133).
		null, err := r.open("/dev/null", noLinks)
		if err != nil {
			return fmt.Errorf("open /dev/null: %w", err)
		}
		defer unix.Close(null)
		if err := matchFile(null, "", unix.S_IFCHR, unix.Mkdev(1, 3)); err != nil {
			return fmt.Errorf("use /dev/null: %w", err)
		}
		mnt, err = cloneMount(null, "", false)
	} else if *empty < 0 {
		mnt, err = newFilesystem("tmpfs", "tmpfs", []string{"nr_blocks=1", "nr_inodes=1", "mode=755"},
			unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		*empty = mnt // closed by execve(2)
	} else {
		mnt, err = cloneMount(*empty, "", false)
	}
	if err != nil {
		return err
	}
	return attach(mnt, on)
}

// sysctlPath is the file below /proc/sys that name stands for. As with
// sysctl(8), the first separator tells which it is: net.ipv4.conf.eth0/1.mtu
// and net/ipv4/conf/eth0.1/mtu are the same.
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		return strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return name
}

// sysctlNamespace is the namespace whose own the sysctl in that file is, ""
// when it is the machine's.
func sysctlNamespace(file string) specs.LinuxNamespaceType {
	switch {
	case strings.HasPrefix(file, "net/"):
		return specs.NetworkNamespace
	case file == "kernel/hostname" || file == "kernel/domainname":
		return specs.UTSNamespace
	case file == "kernel/sem" || strings.HasPrefix(file, "kernel/shm") || strings.HasPrefix(file, "kernel/msg") ||
		strings.HasPrefix(file, "fs/mqueue/"):
		return specs.IPCNamespace
	}
	return ""
}

// validateSysctls finds a sysctl that is not the container's alone.
func validateSysctls(s *specs.Spec) error {
	for name := range s.Linux.Sysctl {
		file := sysctlPath(name)
		if path.Clean("/"+file) != "/"+file {
			return fmt.Errorf("sysctl %q: it is no name", name)
		}
		kind := sysctlNamespace(file)
		if kind == "" {
			return fmt.Errorf("sysctl %s: it is the whole machine's", name)
		}
		if !hasNamespace(s, kind) {
			return fmt.Errorf("sysctl %s: the container has no %s namespace", name, kind)
		}
	}
	return nil
}

// setSysctls writes those that validateSysctls has seen, after pivot: neither
// through a link nor to a file that is mounted over one, which could be any
// other (CVE-2025-52881).
func setSysctls(values map[string]string) error {
	proc, err := openat2(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	defer unix.Close(proc)
	if len(values) > 0 && (err != nil || !isOn(proc, unix.PROC_SUPER_MAGIC)) {
		return errors.New("set sysctls: /proc is not the kernel's")
	}
	for name, value := range values {
		fd, err := openat2(proc, "sys/"+sysctlPath(name), unix.O_WRONLY,
			unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
		if err == nil {
			_, err = unix.Write(fd, []byte(value))
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	return nil
}
