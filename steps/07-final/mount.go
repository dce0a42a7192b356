//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	// staging is where the new root of run is put together. It has a mount
	// namespace, so the host's /tmp is only covered, and only there.
	staging = "/tmp"
	// size ends what a container may write before it fills the host's memory,
	// or reaches its own limit: then it would be killed.
	size = "size=32m,nr_inodes=64k"
)

// makeMountsPrivate cuts the ties to the host's mount namespace. systemd makes
// / shared: without this, each mount and unmount below also happens on the
// host, and pivotRoot fails with EINVAL, see mount_namespaces(7).
func makeMountsPrivate() error {
	return mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// mount is mount(2) with an error that names the act.
func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
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
	if !privileged() {
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

// enterRootfs makes the root filesystem a mount of its own, in a mount
// namespace with no ties to the host's, so that it can become the root.
func (c *initHalf) enterRootfs() error {
	if err := cutTies(c.Spec); err != nil {
		return fmt.Errorf("cut the ties of mounts to the host: %w", err)
	}
	dir := c.Spec.Root.Path
	root, err := cloneMount(unix.AT_FDCWD, dir, true)
	if err != nil {
		return fmt.Errorf("clone mount of %s: %w", dir, err)
	}
	kept := uint64(unix.MS_PRIVATE)
	if strings.TrimPrefix(c.Spec.Linux.RootfsPropagation, "r") == "slave" {
		kept = unix.MS_SLAVE
	}
	if err := setPropagation(root, kept); err != nil {
		return err
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s on itself: %w", dir, err)
	}
	c.root = &rootfs{fd: root, label: c.Spec.Linux.MountLabel}
	return nil
}

// pivotRoot makes the root filesystem the root, and detaches the host's
// filesystems, the last way out, see pivot_root(2).
func (c *initHalf) pivotRoot() error {
	if !hasNamespace(c.Spec, specs.MountNamespace) {
		return c.root.enter()
	}
	old, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("open old root: %w", err)
	}
	defer unix.Close(old)
	if err := unix.Fchdir(c.root.fd); err != nil {
		return fmt.Errorf("enter root filesystem: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w (the new root is no mount, or one above it is shared)", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("enter old root: %w", err)
	}
	// What is still shared with the host would be unmounted there as well.
	if err := mount("none", ".", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	return cmp.Or(os.NewSyscallError("detach old root", unix.Unmount(".", unix.MNT_DETACH)), os.Chdir("/"))
}
