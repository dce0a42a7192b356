//go:build linux

package main

import (
	"cmp"
	"fmt"
	"strings"

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
	} else if err != nil {
		return fmt.Errorf("set attributes: %w", err)
	}
	return nil
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
