//go:build linux

package main

import (
	"errors"
	"fmt"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultDevices are those that config-linux.md promises to every container.
func defaultDevices() []specs.LinuxDevice {
	return []specs.LinuxDevice{
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
		{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
		{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
		{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
		{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
		{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
	}
}

// createDevices makes the default devices, devices, and the links beside them.
// Nothing is made in a /dev that is the host's. The terminals are the
// container's own: those of the host could be read and typed into.
func (r *rootfs) createDevices(devices []specs.LinuxDevice, userns bool) error {
	defer unix.Umask(unix.Umask(0))
	for _, d := range append(defaultDevices(), devices...) {
		if r.hostDev && isBelow(path.Join("/", d.Path), "/dev") {
			continue
		}
		if err := r.createDevice(d, userns); err != nil {
			return fmt.Errorf("create device %s: %w", d.Path, err)
		}
	}
	if r.hostDev {
		return nil
	}
	dev, err := r.create("/dev", noLinks, true)
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer unix.Close(dev)
	unix.Unlinkat(dev, "ptmx", 0) // the image's; the link tells if it stays
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		err := unix.Symlinkat(target, dev, name)
		if err != nil && (err != unix.EEXIST || name == "ptmx") {
			return fmt.Errorf("link /dev/%s: %w", name, err)
		}
	}
	return nil
}

// createDevice makes d, by mknod(2) or, where that is refused as to every user
// namespace, by a bind mount of the host's.
func (r *rootfs) createDevice(d specs.LinuxDevice, userns bool) error {
	kind, known := map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}[d.Type]
	if !known {
		return fmt.Errorf("unknown type %q", d.Type)
	}
	number := unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	if kind == unix.S_IFIFO {
		number = 0 // whatever d says
	}
	name := path.Join("/", d.Path)
	if userns && kind != unix.S_IFIFO {
		return r.bindDevice(name, kind, number)
	}
	dir, err := r.create(path.Dir(name), noLinks, true)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	permissions := uint32(0o666)
	if d.FileMode != nil {
		permissions = uint32(*d.FileMode) & 0o7777 // docker's has the type, too
	}
	switch err := unix.Mknodat(dir, path.Base(name), kind|permissions, int(number)); err {
	case nil:
		return unix.Fchownat(dir, path.Base(name), int(given(d.UID)), int(given(d.GID)), unix.AT_SYMLINK_NOFOLLOW)
	case unix.EEXIST:
		return matchFile(dir, path.Base(name), kind, number)
	case unix.EPERM:
		return r.bindDevice(name, kind, number)
	default:
		return err
	}
}

// matchFile tells whether name, in the open directory dir or with an empty name
// dir itself, is a file of that kind and, for a device, number.
func matchFile(dir int, name string, kind uint32, number uint64) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != kind || stat.Rdev != number {
		return errors.New("there is another file in its place")
	}
	return nil
}

// bindDevice mounts the host's node of that name, if it is the same device.
func (r *rootfs) bindDevice(name string, kind uint32, number uint64) error {
	node, err := cloneMount(unix.AT_FDCWD, name, false)
	if err == nil {
		defer unix.Close(node)
		err = matchFile(node, "", kind, number)
	}
	if err != nil {
		return errors.New("mknod is not permitted, and the host has no such device to bind")
	}
	on, err := r.create(name, noLinks, false)
	if err != nil {
		return err
	}
	defer unix.Close(on)
	if matchFile(on, "", kind, number) == nil {
		return nil // another mount brought it
	}
	if err := matchFile(on, "", unix.S_IFREG, 0); err != nil {
		return err
	}
	return attach(node, on)
}

// createDevices makes those of config.json and the default ones.
func (c *initHalf) createDevices() error {
	return c.root.createDevices(c.Spec.Linux.Devices, hasNamespace(c.Spec, specs.UserNamespace))
}
