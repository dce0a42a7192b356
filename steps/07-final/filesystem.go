//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// setPropagation gives the mount mnt what private, rslave and so on stand for.
func setPropagation(mnt int, flags []uint64) error {
	for _, flag := range flags {
		attr, recursive := unix.MountAttr{Propagation: flag &^ unix.MS_REC}, uint(0)
		if flag&unix.MS_REC != 0 {
			recursive = unix.AT_RECURSIVE
		}
		if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH|recursive, &attr); err != nil {
			return fmt.Errorf("set propagation: %w", err)
		}
	}
	return nil
}

// setAttributes changes the attributes of the mount mnt as o says.
func setAttributes(mnt int, o mountOptions) error {
	for i, a := range []attributes{o.all, o.own} {
		if a == (attributes{}) {
			continue
		}
		flags := []uint{unix.AT_EMPTY_PATH | unix.AT_RECURSIVE, unix.AT_EMPTY_PATH}[i]
		attr := unix.MountAttr{Attr_set: a.set, Attr_clr: a.clear}
		if err := unix.MountSetattr(mnt, "", flags, &attr); err == unix.EPERM {
			return fmt.Errorf("change what the host has locked, see mount_namespaces(7): %w", err)
		} else if err != nil {
			return fmt.Errorf("set attributes: %w", err)
		}
	}
	return nil
}

// cloneSource makes a bind mount of m's source, and tells whether it is a
// directory.
func (r *rootfs) cloneSource(m specs.Mount, o mountOptions, i int) (mnt int, isDir bool, err error) {
	if f, ok := r.sources[i]; ok {
		mnt, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	} else if needsIDMap(m, o) {
		err = errors.New("the runtime prepared no idmapped source")
	} else {
		mnt, err = cloneTree(m.Source, o)
	}
	if err != nil {
		return -1, false, err
	}
	var stat unix.Stat_t
	if err = unix.Fstat(mnt, &stat); err == nil {
		err = setAttributes(mnt, o)
	}
	if err != nil {
		unix.Close(mnt)
	}
	return mnt, stat.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

// cloneTree is a copy of the mount that source lies on, from there on.
func cloneTree(source string, o mountOptions) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if o.recursive {
		flags |= unix.AT_RECURSIVE
	}
	mnt, err := unix.OpenTree(unix.AT_FDCWD, source, flags)
	if err == unix.EINVAL && !o.recursive { // or it is unbindable
		return -1, fmt.Errorf("open source: %w (what a user namespace keeps covered needs rbind)", err)
	} else if err != nil {
		return -1, fmt.Errorf("open source: %w", err)
	}
	return mnt, nil
}

// newFilesystem makes a mount of m's type, which is to lie on the file on of
// the rootfs, unless that was only made for it.
func newFilesystem(m specs.Mount, o mountOptions, target string, on int, existed bool) (int, error) {
	attrs := o.own.set | o.all.set
	if m.Type == "tmpfs" && existed {
		var below unix.Stat_t
		if err := unix.Fstat(on, &below); err != nil {
			return -1, err
		}
		// As the directory that it covers, unless a later option says
		// otherwise.
		o.data = append([]string{fmt.Sprintf("mode=%o", below.Mode&0o7777)}, o.data...)
	}
	writable := o.copyUp || target == "/dev" // until all is in it, see finishRootfs
	if writable {
		attrs &^= unix.MOUNT_ATTR_RDONLY
	} else if o.readOnly() {
		o.super = append(o.super, "ro") // of a device that is read-only itself
	}
	fs, err := unix.Fsopen(m.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open filesystem %s: %w", m.Type, err)
	}
	defer unix.Close(fs)
	if m.Source != "" {
		err = unix.FsconfigSetString(fs, "source", m.Source)
	}
	if err == nil {
		err = configure(fs, o)
	}
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	mnt := -1
	if err == nil {
		mnt, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrs))
	}
	if err == unix.EPERM && m.Type == "sysfs" {
		return -1, fmt.Errorf("%w (sysfs is for who owns the network namespace, and has an uncovered /sys: bind /sys instead)", err)
	} else if err != nil {
		return -1, explainFilesystem(fs, err)
	}
	if o.copyUp && existed {
		err = copyTree(on, mnt)
	}
	if err == nil && o.copyUp && target != "/dev" {
		err = setAttributes(mnt, o)
	}
	if err != nil {
		unix.Close(mnt)
	}
	return mnt, err
}

// configure passes the options on to a filesystem that is being made.
func configure(fs int, o mountOptions) error {
	for _, option := range append(o.super, o.data...) {
		key, value, hasValue := strings.Cut(option, "=")
		var err error
		if hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return fmt.Errorf("option %s: %w", option, err)
		}
	}
	return nil
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

// remount changes a mount that is there: its attributes and, if it is not only
// a bind mount that is meant, its filesystem's options.
func remount(on int, o mountOptions) error {
	if !o.bind && len(o.super)+len(o.data) != 0 {
		fs, err := unix.Fspick(on, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
		if err != nil {
			return err
		}
		defer unix.Close(fs)
		if err := configure(fs, o); err != nil {
			return explainFilesystem(fs, err)
		}
		if err := unix.FsconfigReconfigure(fs); err != nil {
			return explainFilesystem(fs, err)
		}
	}
	if err := setAttributes(on, o); err != nil {
		return err
	}
	return setPropagation(on, o.propagation)
}
