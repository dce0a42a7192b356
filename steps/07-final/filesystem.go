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

// Mounts are made by fsopen(2), or open_tree(2) for a bind mount, as an open
// file that nobody sees. There they get their attributes and contents; then
// move_mount(2) puts them on a target that is open, too: no path is looked up
// twice, and none at all while the kernel mounts.

// cloneMount is a copy of the mount that name lies on, from there on; for an
// empty name it is the file dir itself. A recursive one has the mounts below.
func cloneMount(dir int, name string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.OpenTree(dir, name, flags)
}

// newFilesystem makes a mount of the type kind.
func newFilesystem(kind, source string, options []string, attrs uint64) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open filesystem %s: %w", kind, err)
	}
	defer unix.Close(fs)
	for _, option := range append([]string{"source=" + cmp.Or(source, "none")}, options...) {
		if key, value, hasValue := strings.Cut(option, "="); hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return -1, explainFilesystem(fs, fmt.Errorf("option %s: %w", option, err))
		}
	}
	mnt, err := -1, unix.FsconfigCreate(fs)
	if err == nil {
		mnt, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrs))
	}
	if err == unix.EPERM && kind == "sysfs" {
		return -1, fmt.Errorf("%w (sysfs is for who owns the network namespace, and has an uncovered /sys: bind /sys instead)", err)
	} else if err != nil {
		return -1, explainFilesystem(fs, err)
	}
	return mnt, nil
}

// explainFilesystem adds what the kernel has to say, such as "e tmpfs: Bad
// value for 'size'" (e is for error).
func explainFilesystem(fs int, err error) error {
	message := make([]byte, 256)
	if n, _ := unix.Read(fs, message); n > 2 {
		return fmt.Errorf("%w (%s)", err, strings.TrimSpace(string(message[2:n])))
	}
	return err
}

// changeMount is mount_setattr(2) of the mount mnt; a recursive one changes
// those below, too.
func changeMount(mnt int, attr unix.MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if attr == (unix.MountAttr{}) {
		return nil
	}
	err := unix.MountSetattr(mnt, "", flags, &attr)
	if err == unix.EPERM {
		return fmt.Errorf("change what the host has locked, see mount_namespaces(7): %w", err)
	}
	return os.NewSyscallError("set attributes", err)
}

// setAttributes gives the mount mnt those of o.
func setAttributes(mnt int, o mountOptions) error {
	err := changeMount(mnt, unix.MountAttr{Attr_set: o.all.set, Attr_clr: o.all.clear}, true)
	if err == nil {
		err = changeMount(mnt, unix.MountAttr{Attr_set: o.own.set, Attr_clr: o.own.clear}, false)
	}
	return err
}

// setPropagation gives the mount mnt what private, rslave and so on stand for.
func setPropagation(mnt int, flag uint64) error {
	return changeMount(mnt, unix.MountAttr{Propagation: flag &^ unix.MS_REC}, flag&unix.MS_REC != 0)
}

// attach puts the mount mnt on the file on.
func attach(mnt, on int) error {
	return unix.MoveMount(mnt, "", on, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// cutTies cuts the ties to the host's mount namespace: systemd makes / shared,
// and each mount would also happen there. As a slave, the container still hears
// of what the host mounts, where propagation and the options of a mount want
// it. Only for "shared", which engines ask for when a volume is to tell the
// host of mounts, the ties stay until pivot. Without a mount namespace of the
// container's own it is the host's: nothing is cut.
func cutTies(spec *specs.Spec) error {
	if !hasNamespace(spec, specs.MountNamespace) {
		return nil
	}
	if strings.TrimPrefix(spec.Linux.RootfsPropagation, "r") != "shared" {
		return mount("none", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	dir, err := filepath.EvalSymlinks(spec.Root.Path)
	if err != nil {
		return err
	}
	err = unix.EINVAL // "not a mount point"; nothing is to appear where dir lies
	for ; err == unix.EINVAL; dir = path.Dir(dir) {
		err = unix.Mount("", dir, "", unix.MS_PRIVATE, "")
	}
	return err
}

// removeLinks removes the links that the root filesystem has where something
// is to be mounted: /proc -> ../proc would lead outside. It removes them in the
// layer that takes the writes; those of a bundle stay, and create refuses them.
func removeLinks(mounts []specs.Mount) error {
	for _, m := range mounts {
		name := m.Destination[1:]
		if _, err := os.Readlink(name); err != nil || strings.Contains(name, "/") {
			continue // no link, or below one of the others
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// mountFilesystems mounts what config.json lists.
func (c *initHalf) mountFilesystems() error {
	return c.root.mountAll(c.Spec.Mounts, c.Cgroup, hasNamespace(c.Spec, specs.CgroupNamespace))
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
	return os.NewSyscallError("change root", unix.Chroot("."))
}
