//go:build linux

package main

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// finishRootfs does what can only be done when all is mounted, after pivotRoot.
func (c *initHalf) finishRootfs() error {
	r, s := c.root, c.Spec
	if err := setSysctls(s.Linux.Sysctl); err != nil { // before /proc/sys is read-only
		return err
	}
	if err := r.each("make read-only", s.Linux.ReadonlyPaths, coverReadonly); err != nil {
		return err
	}
	if err := r.each("mask", s.Linux.MaskedPaths, r.mask); err != nil {
		return err
	}
	if flag, ok := propagations[s.Linux.RootfsPropagation]; ok {
		if err := setPropagation(r.fd, flag); err != nil {
			return fmt.Errorf("set propagation of /: %w", err)
		}
	}
	if s.Root.Readonly {
		r.readonly = append(r.readonly, "/")
	}
	return r.each("make read-only", r.readonly, func(on int) error { return changeMount(on, readOnly, false) })
}

// each calls change for each of names that exists.
func (r *rootfs) each(act string, names []string, change func(on int) error) error {
	for _, name := range names {
		on, err := r.open(path.Join("/", name), inRoot)
		if err == unix.ENOENT {
			continue
		}
		if err == nil {
			err = change(on)
			unix.Close(on)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", act, name, err)
		}
	}
	return nil
}

// readOnly is what makes a mount so.
var readOnly = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}

// coverReadonly lays a read-only copy of itself over the file on, with what is
// mounted below.
func coverReadonly(on int) error {
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

// mask lays /dev/null over on if it is a file, and an empty directory if it is
// one: the first is made, the others are copies, since only what is attached
// can be copied.
func (r *rootfs) mask(on int) error {
	source := r.empty
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
		source = null
	} else if source == 0 {
		var err error
		r.empty, err = newFilesystem("tmpfs", "tmpfs", []string{"nr_blocks=1", "nr_inodes=1", "mode=755"},
			unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return err
		}
		return attach(r.empty, on)
	}
	mnt, err := cloneMount(source, "", false)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return attach(mnt, on)
}
