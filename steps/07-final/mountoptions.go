//go:build linux

package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountOptions are the options of one mount, sorted by what they act on.
type mountOptions struct {
	bind, remount, copyUp bool
	recursive             bool       // rbind
	own, all              attributes // of the mount itself; of those below it, too
	propagation           []uint64   // MS_SHARED and so on, with MS_REC
	data                  []string   // for the filesystem
}

// attributes are what mount_setattr(2) sets and clears. What it is not told to
// change stays: so a bind mount keeps the nosuid of its source, and what a user
// namespace has locked is not touched.
type attributes struct{ set, clear uint64 }

// mountAttributes are the options that are attributes of a mount, each with its
// opposite. With an r before the name they hold for all mounts below, too: rro,
// rnosuid. Without any of the last three, the kernel does as with relatime.
var mountAttributes = []struct {
	on, off    string
	mask, bits uint64
}{
	{"ro", "rw", unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_RDONLY},
	{"nosuid", "suid", unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NOSUID},
	{"nodev", "dev", unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NODEV},
	{"noexec", "exec", unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
	{"nodiratime", "diratime", unix.MOUNT_ATTR_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", "symfollow", unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"noatime", "atime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_NOATIME},
	{"strictatime", "nostrictatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_STRICTATIME},
	{"relatime", "norelatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
}

// propagations are the kinds of mount_namespaces(7); with an r they are those
// of all mounts below, too.
var propagations = []struct {
	name string
	flag uint64
}{
	{"private", unix.MS_PRIVATE}, {"slave", unix.MS_SLAVE},
	{"shared", unix.MS_SHARED}, {"unbindable", unix.MS_UNBINDABLE},
}

// parseMountOptions sorts options. Of two that contradict each other the last
// one holds, as with mount(8). What it does not know is for the filesystem.
func parseMountOptions(options []string) (o mountOptions, err error) {
	for _, option := range options {
		flag, isPropagation := propagation(option)
		switch option {
		case "", "defaults", "silent", "loud", "acl", "iversion", "noiversion": // Linux does without
		case "bind", "rbind":
			o.bind, o.recursive = true, option == "rbind"
		case "remount":
			o.remount = true
		case "tmpcopyup":
			o.copyUp = true
		case "idmap", "ridmap":
			return o, fmt.Errorf("option %s is not supported", option)
		default:
			if isPropagation {
				o.propagation = append(o.propagation, flag)
			} else if !o.attribute(option) {
				o.data = append(o.data, splitData(option)...)
			}
		}
	}
	return o, nil
}

// propagation is the flag that name stands for, such as MS_REC|MS_SLAVE.
func propagation(name string) (flag uint64, ok bool) {
	for _, p := range propagations {
		switch name {
		case p.name:
			return p.flag, true
		case "r" + p.name:
			return p.flag | unix.MS_REC, true
		}
	}
	return 0, false
}

// attribute takes note of an attribute, and tells whether name is one.
func (o *mountOptions) attribute(name string) bool {
	for _, a := range mountAttributes {
		switch name {
		case a.on:
			o.own.change(a.mask, a.bits)
		case a.off:
			o.own.change(a.mask, 0)
		case "r" + a.on:
			o.all.change(a.mask, a.bits)
		case "r" + a.off:
			o.all.change(a.mask, 0)
		default:
			continue
		}
		return true
	}
	return false
}

// change makes bits the value of mask.
func (a *attributes) change(mask, bits uint64) {
	a.clear |= mask
	a.set = a.set&^mask | bits
}

// readOnly tells whether ro or rro was asked for.
func (o mountOptions) readOnly() bool {
	return (o.own.set|o.all.set)&unix.MOUNT_ATTR_RDONLY != 0
}

// splitData divides "mode=755,size=1k" as mount(2) would. A comma in quotes or
// behind a backslash belongs to a value, of SELinux or of an overlay.
func splitData(option string) []string {
	list := []string{strings.ReplaceAll(option, `"`, "")}
	if !strings.ContainsAny(option, `"\`) {
		list = strings.Split(option, ",")
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// validateMounts finds what cannot be right in the mounts of s before anything
// is made.
func validateMounts(s *specs.Spec) error {
	for _, m := range s.Mounts {
		if err := validateMount(m); err != nil {
			return fmt.Errorf("mount %s on %q: %w", m.Source, m.Destination, err)
		}
	}
	if _, ok := propagation(s.Linux.RootfsPropagation); !ok && s.Linux.RootfsPropagation != "" {
		return fmt.Errorf("unknown rootfsPropagation %q", s.Linux.RootfsPropagation)
	}
	return nil
}

// validateMount does so for one.
func validateMount(m specs.Mount) error {
	o, err := parseMountOptions(m.Options)
	switch {
	case err != nil:
		return err
	case path.Join("/", m.Destination) == "/":
		return errors.New("the root filesystem is given by root.path")
	case o.bind && !o.remount && m.Source == "":
		return errors.New("a bind mount needs a source")
	case o.copyUp && (o.bind || o.remount || m.Type != "tmpfs"):
		return errors.New("tmpcopyup is for tmpfs")
	case o.remount && !o.bind && len(o.data) != 0:
		return fmt.Errorf("option %s is not supported by remount: it is the filesystem's", o.data[0])
	case len(m.UIDMappings)+len(m.GIDMappings) != 0:
		return errors.New("uidMappings and gidMappings of a mount are not supported")
	}
	return nil
}
