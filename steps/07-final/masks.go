//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
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

// finishRootfs does what can only be done when all is mounted, after pivot.
func finishRootfs(s *specs.Spec) error {
	root, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(root)
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	for _, finish := range []func(*rootfs, *specs.Spec) error{
		(*rootfs).setSysctls,       // before /proc/sys is read-only
		(*rootfs).makeReadonly,     //
		(*rootfs).mask,             //
		(*rootfs).makeDevReadonly,  // now that all is in it
		(*rootfs).propagate,        //
		(*rootfs).makeRootReadonly, //
	} {
		if err := finish(&rootfs{fd: root}, s); err != nil {
			return err
		}
	}
	return nil
}

// forEach calls change for each of paths that exists.
func forEach(paths []string, act string, change func(name string) error) error {
	for _, p := range paths {
		if err := change(path.Join("/", p)); err != nil && err != unix.ENOENT {
			return fmt.Errorf("%s %s: %w", act, p, err)
		}
	}
	return nil
}

// makeReadonly lays a read-only copy of itself over each of the read-only
// paths, and of what is mounted below.
func (r *rootfs) makeReadonly(s *specs.Spec) error {
	return forEach(s.Linux.ReadonlyPaths, "make read-only", r.makePathReadonly)
}

// makePathReadonly does so for one.
func (r *rootfs) makePathReadonly(name string) error {
	on, err := r.open(name, inRoot)
	if err != nil {
		return err
	}
	defer unix.Close(on)
	mnt, err := unix.OpenTree(on, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	if err := setAttributes(mnt, mountOptions{all: attributes{set: unix.MOUNT_ATTR_RDONLY}}); err != nil {
		return err
	}
	return attach(mnt, on)
}

// mask lays /dev/null over each of the masked paths that is a file, and one
// empty directory over all that are directories.
func (r *rootfs) mask(s *specs.Spec) error {
	empty := -1
	defer func() { unix.Close(empty) }()
	return forEach(s.Linux.MaskedPaths, "mask", func(name string) error { return r.maskPath(name, &empty) })
}

// maskPath masks one. The first directory makes empty, the others copy it.
func (r *rootfs) maskPath(name string, empty *int) error {
	on, err := r.open(name, inRoot)
	if err != nil {
		return err
	}
	defer unix.Close(on)
	var stat unix.Stat_t
	if err := unix.Fstat(on, &stat); err != nil {
		return err
	}
	source := *empty
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		// A link of the image's in its place would be mounted, and open to
		// write, where a mask should be (CVE-2025-31133).
		if source, err = r.open("/dev/null", noLinks); err != nil {
			return fmt.Errorf("open /dev/null: %w", err)
		}
		defer unix.Close(source)
		if err := matchDevice(source, "", unix.S_IFCHR, unix.Mkdev(1, 3)); err != nil {
			return fmt.Errorf("use /dev/null: %w", err)
		}
	} else if source < 0 {
		o := mountOptions{own: attributes{set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID |
			unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}, data: []string{"nr_blocks=1", "nr_inodes=1", "mode=755"}}
		*empty, err = newFilesystem(specs.Mount{Type: "tmpfs", Source: "tmpfs"}, o, name, on, false)
		if err != nil {
			return err
		}
		return attach(*empty, on)
	}
	mnt, err := unix.OpenTree(source, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return attach(mnt, on)
}

// makeDevReadonly makes /dev read-only if its mount is to be.
func (r *rootfs) makeDevReadonly(s *specs.Spec) error {
	for _, m := range s.Mounts {
		o, err := parseMountOptions(m.Options)
		if err != nil || path.Join("/", m.Destination) != "/dev" || !o.readOnly() {
			continue
		}
		dev, err := r.open("/dev", inRoot)
		if err == nil {
			err = setAttributes(dev, o)
			unix.Close(dev)
		}
		if err != nil {
			return fmt.Errorf("make /dev read-only: %w", err)
		}
	}
	return nil
}

// propagate gives / the propagation of rootfsPropagation.
func (r *rootfs) propagate(s *specs.Spec) error {
	if s.Linux.RootfsPropagation == "" {
		return nil
	}
	flag, ok := propagation(s.Linux.RootfsPropagation)
	if !ok {
		return fmt.Errorf("unknown rootfsPropagation %q", s.Linux.RootfsPropagation)
	}
	return setPropagation(r.fd, []uint64{flag})
}

// makeRootReadonly makes / read-only if it is to be.
func (r *rootfs) makeRootReadonly(s *specs.Spec) error {
	if s.Root == nil || !s.Root.Readonly {
		return nil
	}
	if err := setAttributes(r.fd, mountOptions{own: attributes{set: unix.MOUNT_ATTR_RDONLY}}); err != nil {
		return fmt.Errorf("make / read-only: %w", err)
	}
	return nil
}

// sysctlPath is the file below /proc/sys that name stands for. As with
// sysctl(8), the first separator tells which it is: net.ipv4.conf.eth0/1.mtu
// and net/ipv4/conf/eth0.1/mtu are the same.
func sysctlPath(name string) (string, error) {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.Map(func(c rune) rune {
			switch c {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return c
		}, name)
	}
	if path.Clean("/"+name) != "/"+name || strings.ContainsRune(name, 0) {
		return "", errors.New("it is no name")
	}
	return name, nil
}

// sysctlNamespace is the namespace whose own the sysctl in that file is, ""
// when it is the machine's.
func sysctlNamespace(file string) specs.LinuxNamespaceType {
	switch dir, base := path.Split(file); {
	case strings.HasPrefix(file, "net/"):
		return specs.NetworkNamespace
	case strings.HasPrefix(file, "fs/mqueue/"):
		return specs.IPCNamespace
	case dir == "kernel/" && (base == "hostname" || base == "domainname"):
		return specs.UTSNamespace
	case dir == "kernel/" && (base == "sem" || strings.HasPrefix(base, "shm") || strings.HasPrefix(base, "msg")):
		return specs.IPCNamespace
	}
	return ""
}

// validateSysctls finds a sysctl that is not the container's alone.
func validateSysctls(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Linux.Sysctl)) {
		file, err := sysctlPath(name)
		if err != nil {
			return fmt.Errorf("sysctl %q: %w", name, err)
		}
		kind := sysctlNamespace(file)
		if kind == "" {
			return fmt.Errorf("sysctl %s: it is the whole machine's", name)
		}
		if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind }) {
			return fmt.Errorf("sysctl %s: the container has no %s namespace", name, kind)
		}
	}
	return nil
}

// setSysctls writes the sysctls of s.
func (r *rootfs) setSysctls(s *specs.Spec) error {
	if err := validateSysctls(s); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Linux.Sysctl)) {
		file, err := sysctlPath(name)
		fd := -1
		if err == nil {
			fd, err = openProc("sys/"+file, unix.O_WRONLY)
		}
		if err == nil {
			_, err = unix.Write(fd, []byte(s.Linux.Sysctl[name]))
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	return nil
}
