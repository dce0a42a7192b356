//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
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

// openRootfs makes dir a mount of its own, so that it can become the root, and
// opens it. Before that, it cuts the ties to the host's mount namespace:
// systemd makes / shared, and each mount would also happen there. As a slave,
// the container still hears of what the host mounts, where propagation and the
// options of a mount want it. Only for "shared", which engines ask for when a
// volume is to tell the host of mounts, the ties stay until pivot. Without a
// mount namespace of the container's own it is the host's: nothing is cut.
func openRootfs(dir, propagation string, own bool) (*rootfs, error) {
	var err error
	if !own {
	} else if strings.TrimPrefix(propagation, "r") != "shared" {
		err = mount("none", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	} else if dir, err = filepath.EvalSymlinks(dir); err == nil {
		err = unix.EINVAL // "not a mount point"; nothing is to appear where dir lies
		for parent := dir; err == unix.EINVAL; parent = path.Dir(parent) {
			err = unix.Mount("", parent, "", unix.MS_PRIVATE, "")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cut the ties of mounts to the host: %w", err)
	}
	root, err := cloneMount(unix.AT_FDCWD, dir, true)
	if err != nil {
		return nil, fmt.Errorf("clone mount of %s: %w", dir, err)
	}
	kept := uint64(unix.MS_PRIVATE)
	if strings.TrimPrefix(propagation, "r") == "slave" {
		kept = unix.MS_SLAVE
	}
	if err := setPropagation(root, kept); err != nil {
		return nil, err
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("mount %s on itself: %w", dir, err)
	}
	return &rootfs{fd: root}, nil
}

// mountAll makes mounts in their order. What type cgroup becomes depends on the
// container's cgroup and on whether it has a cgroup namespace.
func (r *rootfs) mountAll(mounts []specs.Mount, c cgroup, ownCgroupNS bool) error {
	defer unix.Umask(unix.Umask(0))
	for _, m := range mounts {
		o, err := parseMountOptions(m.Options)
		list := []specs.Mount{m}
		if err == nil && m.Type == "cgroup" && !o.bind {
			list, err = cgroupMounts(m, c, ownCgroupNS)
		}
		for _, m := range list {
			if err == nil {
				err = r.mount(m)
			}
		}
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", cmp.Or(m.Source, m.Type), m.Destination, err)
		}
	}
	return nil
}

// mount makes one mount.
func (r *rootfs) mount(m specs.Mount) error {
	o, err := parseMountOptions(m.Options)
	if err != nil {
		return err
	}
	target := path.Join("/", m.Destination)
	how := uint64(inRoot)
	if isBelow(target, "/proc") || isBelow(target, "/sys") || isBelow(target, "/dev") {
		how = noLinks
	}
	mnt, isDir := -1, true
	if o.bind && !o.remount {
		// EINVAL if it is unbindable, or would uncover what a user namespace
		// has locked: that needs rbind.
		if mnt, err = cloneMount(unix.AT_FDCWD, m.Source, o.recursive); err != nil {
			return fmt.Errorf("open source: %w", err)
		}
		defer unix.Close(mnt)
		isDir = matchFile(mnt, "", unix.S_IFDIR, 0) == nil
	}
	on, err := r.open(target, how)
	existed := err == nil
	if err == unix.ENOENT && !o.remount {
		on, err = r.create(target, how, isDir)
	}
	if err == unix.ELOOP {
		return fmt.Errorf("the image has a symbolic link in its place: %w", err)
	} else if err != nil {
		return fmt.Errorf("open the mount point: %w", err)
	}
	defer unix.Close(on)
	if how == inRoot && (isOn(on, unix.PROC_SUPER_MAGIC) || isOn(on, unix.SYSFS_MAGIC)) {
		return errors.New("a link of the image leads to /proc or /sys")
	}
	if o.remount {
		mnt = on
	} else if !o.bind {
		if r.label != "" && m.Type == "tmpfs" {
			o.data = append(o.data, "context="+r.label)
		}
		if mnt, err = o.fill(m, on, existed); err != nil {
			return err
		}
		defer unix.Close(mnt)
		if target == "/dev" && o.readOnly() {
			r.readonly = append(r.readonly, target)
			o.own.set &^= unix.MOUNT_ATTR_RDONLY
			o.all.set &^= unix.MOUNT_ATTR_RDONLY
		}
	}
	// The runtime writes settings to /proc: it must be the kernel's.
	if target == "/proc" && !isOn(mnt, unix.PROC_SUPER_MAGIC) {
		return errors.New("only a proc filesystem may lie there")
	}
	r.hostDev = r.hostDev || o.bind && target == "/dev"
	err = setAttributes(mnt, o)
	if err == nil && !o.remount {
		err = attach(mnt, on)
	}
	for _, flag := range o.propagation {
		if err == nil {
			err = setPropagation(mnt, flag)
		}
	}
	return err
}

// fill makes the filesystem of m, which is to lie on the file on of the rootfs,
// unless that was only made for it.
func (o mountOptions) fill(m specs.Mount, on int, existed bool) (int, error) {
	if m.Type != "tmpfs" {
		data := o.data
		if o.readOnly() {
			data = append(data, "ro") // of a device that is read-only itself
		}
		return newFilesystem(m.Type, m.Source, data, o.own.set|o.all.set)
	}
	// As the directory that it covers, unless a later option says otherwise.
	data := o.data
	if existed {
		var below unix.Stat_t
		if err := unix.Fstat(on, &below); err != nil {
			return -1, err
		}
		data = append([]string{fmt.Sprintf("mode=%o", below.Mode&0o7777)}, data...)
	}
	mnt, err := newFilesystem(m.Type, m.Source, data, 0)
	if err == nil && o.copyUp && existed {
		if err = copyTree(on, mnt); err != nil {
			unix.Close(mnt)
		}
	}
	return mnt, err
}

// isBelow tells whether name is dir or lies below it.
func isBelow(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// enter makes the rootfs the root of a container in the host's mount namespace,
// where the root must stay what it is.
func (r *rootfs) enter() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("enter root filesystem: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return nil
}

// pivot makes the rootfs the root, and detaches the host's filesystems, the
// last way out, see pivot_root(2).
func (r *rootfs) pivot() error {
	old, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("open old root: %w", err)
	}
	defer unix.Close(old)
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("enter root filesystem: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root (a mount, below one that is not shared): %w", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("enter old root: %w", err)
	}
	// What is still shared with the host would be unmounted there as well.
	if err := mount("none", ".", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach old root: %w", err)
	}
	return os.Chdir("/")
}
