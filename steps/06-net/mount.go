//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// staging is where the new root is put together. The container has a
	// mount namespace, so the host's /tmp is only covered, and only here.
	staging = "/tmp"
	// size ends what a container may write before it fills the host's memory,
	// or reaches the limit of step 04: then it would be killed.
	size = "size=32m,nr_inodes=64k"
)

// mount is mount(2) with an error that names the act.
func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// makeMountsPrivate cuts the ties to the host's mount namespace. systemd makes
// / shared: without this, each mount and unmount below also happens on the
// host, and pivotRoot fails with EINVAL, see mount_namespaces(7).
func makeMountsPrivate() error {
	return mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// mountRootfs stacks an empty writable layer on the root filesystem that
// ROOTFS names, by default the host's own, and enters the result. What the
// container writes is gone with it; what it may read, it still can.
func mountRootfs() error {
	// The lower layer is "." to the overlay: then it may lie below staging,
	// and its name may hold a colon or a comma, which separate options.
	if err := os.Chdir(cmp.Or(os.Getenv("ROOTFS"), "/")); err != nil {
		return fmt.Errorf("enter root filesystem: %w", err)
	}
	if err := mount("tmpfs", staging, "tmpfs", 0, size); err != nil {
		return err
	}
	defer unix.Umask(unix.Umask(0)) // upper becomes /: others must get in
	for _, dir := range []string{"upper", "work", "merged"} {
		os.Mkdir(staging+"/"+dir, 0o755) // the mount tells if one is missing
	}
	options := "lowerdir=.,upperdir=" + staging + "/upper,workdir=" + staging + "/work"
	if ids, _ := os.ReadFile("/proc/self/uid_map"); string(ids) != "         0          0 4294967295\n" {
		options += ",userxattr" // no trusted.* in a user namespace: rm -r fails
	}
	err := mount("overlay", staging+"/merged", "overlay", 0, options)
	if errors.Is(err, unix.EINVAL) { // overlays on overlays, or locked mounts
		return fmt.Errorf("%w (its lower layer cannot be used here: name another ROOTFS)", err)
	} else if err != nil {
		return err
	}
	return os.Chdir(staging + "/merged")
}

// pivotRoot makes the working directory the root. The old root then lies on
// top of it: "/.." leads there, until leaveOldRoot, see pivot_root(2).
func pivotRoot() error {
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w (the new root is no mount, or one above it is shared)", err)
	}
	return nil
}

// filesystems are what every program expects to find besides files. There is
// no /sys: it shows the host's hardware, and until step 05 root may write it.
var filesystems = []struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}{
	// The processes of the PID namespace of whoever mounts it. From step 05 on
	// it needs the host's /proc in sight, so the old root is still there.
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	// Devices: the host's own nodes, and only harmless ones. (Root can still
	// make any other with mknod(2), until step 05.)
	{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=755," + size},
	{"/../dev/null", "/dev/null", "", unix.MS_BIND, ""},
	{"/../dev/zero", "/dev/zero", "", unix.MS_BIND, ""},
	{"/../dev/full", "/dev/full", "", unix.MS_BIND, ""},
	{"/../dev/random", "/dev/random", "", unix.MS_BIND, ""},
	{"/../dev/urandom", "/dev/urandom", "", unix.MS_BIND, ""},
	{"/../dev/tty", "/dev/tty", "", unix.MS_BIND, ""},
	// Terminals of its own: the host's could be read and typed into.
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "mode=1777," + size},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777," + size},
}

// mountFilesystems mounts them, on directories and files that it makes where
// they are missing.
func mountFilesystems() error {
	for _, m := range filesystems {
		// An image may have a link such as /proc -> ../proc. The mount would
		// follow it into the old root and be gone with that.
		os.Remove(m.target) // in the upper layer; a directory with files stays
		if m.flags == unix.MS_BIND {
			os.WriteFile(m.target, nil, 0o666) // the mount tells if it is missing
		} else if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, "/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

// leaveOldRoot detaches the host's filesystems, the last way out.
func leaveOldRoot() error {
	if err := unix.Unmount("/..", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach old root: %w", err)
	}
	return nil
}
