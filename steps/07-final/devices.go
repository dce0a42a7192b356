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

// deviceLinks are the names of /dev that lead elsewhere. The terminals are the
// container's own: those of the host could be read and typed into.
var deviceLinks = []struct{ name, target string }{
	{"ptmx", "pts/ptmx"},
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

// createDevices makes the default devices, devices, and the links beside them.
// Nothing is made in a /dev that is the host's.
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
	dev, err := r.create("/dev", inRoot, true)
	if err != nil {
		return fmt.Errorf("open /dev: %w", err)
	}
	defer unix.Close(dev)
	unix.Unlinkat(dev, "ptmx", 0) // the image's; the link tells if it stays
	for _, l := range deviceLinks {
		err := unix.Symlinkat(l.target, dev, l.name)
		if err != nil && (err != unix.EEXIST || l.name == "ptmx") {
			return fmt.Errorf("link /dev/%s: %w", l.name, err)
		}
	}
	return nil
}

// deviceMode is the type of d as st_mode has it, and its number. A fifo has
// none, whatever d says.
func deviceMode(d specs.LinuxDevice) (mode uint32, number uint64, err error) {
	number = unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	switch d.Type {
	case "c", "u":
		return unix.S_IFCHR, number, nil
	case "b":
		return unix.S_IFBLK, number, nil
	case "p":
		return unix.S_IFIFO, 0, nil
	}
	return 0, 0, fmt.Errorf("unknown type %q", d.Type)
}

// createDevice makes d, by mknod(2) or, where that is refused as to every user
// namespace, by a bind mount of the host's.
func (r *rootfs) createDevice(d specs.LinuxDevice, userns bool) error {
	kind, number, err := deviceMode(d)
	if err != nil {
		return err
	}
	name := path.Join("/", d.Path)
	dir, err := r.create(path.Dir(name), inRoot, true)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.EPERM
	if !userns || kind == unix.S_IFIFO {
		permissions := uint32(0o666)
		if d.FileMode != nil {
			permissions = uint32(*d.FileMode) & 0o7777 // docker's has the type, too
		}
		err = unix.Mknodat(dir, path.Base(name), kind|permissions, int(number))
	}
	switch {
	case err == unix.EPERM:
		return r.bindDevice(d, kind, number)
	case err == unix.EEXIST:
		return matchDevice(dir, path.Base(name), kind, number)
	case err == nil && (d.UID != nil || d.GID != nil):
		return unix.Fchownat(dir, path.Base(name), deviceOwner(d.UID), deviceOwner(d.GID), unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

// deviceOwner is id, or -1 for "as it is".
func deviceOwner(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// matchDevice tells whether name, in the open directory dir or with an empty
// name dir itself, is the device of that kind and number.
func matchDevice(dir int, name string, kind uint32, number uint64) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != kind || kind != unix.S_IFIFO && stat.Rdev != number {
		return errors.New("there is another file in its place")
	}
	return nil
}

// bindDevice mounts the host's node of d, which may have another name there.
func (r *rootfs) bindDevice(d specs.LinuxDevice, kind uint32, number uint64) error {
	numbered := fmt.Sprintf("/dev/%s/%d:%d", map[bool]string{true: "block", false: "char"}[kind == unix.S_IFBLK], d.Major, d.Minor)
	for _, host := range []string{d.Path, numbered} {
		node, err := cloneTree(host, mountOptions{})
		if err != nil {
			continue
		}
		defer unix.Close(node)
		if matchDevice(node, "", kind, number) != nil {
			continue
		}
		on, err := r.create(path.Join("/", d.Path), inRoot, false)
		if err != nil {
			return err
		}
		defer unix.Close(on)
		if matchDevice(on, "", kind, number) == nil {
			return nil // another mount brought it
		}
		if err := matchDevice(on, "", unix.S_IFREG, 0); err != nil {
			return err
		}
		return attach(node, on)
	}
	return errors.New("mknod is not permitted, and the host has no such device to bind")
}
