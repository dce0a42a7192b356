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
	recursive             bool        // rbind
	own, all              attributes  // of the mount itself; of those below it, too
	propagation           []uint64    // MS_SHARED and so on, with MS_REC
	super                 []string    // flags of every filesystem, as fsconfig(2) has them
	data                  []string    // what only this filesystem knows
	idmap                 idmapOption // idmap and ridmap
}

// attributes are what mount_setattr(2) sets and clears. What it is not told to
// change stays: so a bind mount keeps the nosuid of its source, and what a user
// namespace has locked is not touched.
type attributes struct{ set, clear uint64 }

type idmapOption int

const (
	noIDMap idmapOption = iota
	ownIDMap
	recursiveIDMap
)

// mountAttributes are the options that are attributes of a mount. With an r
// before the name they hold for all mounts below, too: rro, rnosuid.
// (norelatime is not among them: relatime is what the kernel does without it.)
var mountAttributes = []struct {
	name       string
	mask, bits uint64
}{
	{"ro", unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_RDONLY},
	{"rw", unix.MOUNT_ATTR_RDONLY, 0},
	{"nosuid", unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NOSUID},
	{"suid", unix.MOUNT_ATTR_NOSUID, 0},
	{"nodev", unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NODEV},
	{"dev", unix.MOUNT_ATTR_NODEV, 0},
	{"noexec", unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
	{"exec", unix.MOUNT_ATTR_NOEXEC, 0},
	{"nodiratime", unix.MOUNT_ATTR_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
	{"diratime", unix.MOUNT_ATTR_NODIRATIME, 0},
	{"nosymfollow", unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"symfollow", unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"noatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_NOATIME},
	{"strictatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_STRICTATIME},
	{"relatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	{"atime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	{"nostrictatime", unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	{"norelatime", 0, 0},
}

// propagations are the kinds of mount_namespaces(7); with an r they are those
// of all mounts below, too.
var propagations = []struct {
	name string
	flag uint64
}{
	{"private", unix.MS_PRIVATE},
	{"slave", unix.MS_SLAVE},
	{"shared", unix.MS_SHARED},
	{"unbindable", unix.MS_UNBINDABLE},
}

// parseMountOptions sorts options. Of two that contradict each other the last
// one holds, as with mount(8). What it does not know is for the filesystem.
func parseMountOptions(options []string) (o mountOptions, err error) {
	for _, option := range options {
		if strings.ContainsRune(option, 0) {
			return o, fmt.Errorf("option %q holds a zero byte", option)
		}
		switch option {
		case "", "defaults", "silent", "loud":
		case "iversion", "noiversion": // filesystems decide this themselves, since Linux 6.1
		case "bind", "rbind":
			o.bind, o.recursive = true, option == "rbind"
		case "remount":
			o.remount = true
		case "tmpcopyup":
			o.copyUp = true
		case "idmap":
			o.idmap = ownIDMap
		case "ridmap":
			o.idmap = recursiveIDMap
		case "sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand":
			o.super = append(o.super, option)
		case "acl": // for every filesystem that has them, by default
		default:
			if flag, ok := propagation(option); ok {
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
	plain := strings.TrimPrefix(name, "r")
	for _, p := range propagations {
		if p.name == name {
			return p.flag, true
		} else if p.name == plain {
			return p.flag | unix.MS_REC, true
		}
	}
	return 0, false
}

// attribute takes note of an attribute, and tells whether name is one.
func (o *mountOptions) attribute(name string) bool {
	plain, isRecursive := strings.CutPrefix(name, "r")
	for _, a := range mountAttributes {
		if a.name == name { // before the other: ro is not a recursive o
			o.own.change(a.mask, a.bits)
			return true
		} else if isRecursive && a.name == plain {
			o.all.change(a.mask, a.bits)
			return true
		}
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
		o, err := parseMountOptions(m.Options)
		if err == nil {
			err = validateMount(m, o, s)
		}
		if err != nil {
			return fmt.Errorf("mount %s on %q: %w", m.Source, m.Destination, err)
		}
	}
	return nil
}

// validateMount does so for one, whose options are o.
func validateMount(m specs.Mount, o mountOptions, s *specs.Spec) error {
	mapped := len(m.UIDMappings)+len(m.GIDMappings) != 0
	switch {
	case m.Destination == "":
		return errors.New("no destination")
	case strings.ContainsRune(m.Source+m.Destination+m.Type, 0):
		return errors.New("a zero byte in its names")
	case path.Join("/", m.Destination) == "/":
		return errors.New("the root filesystem is given by root.path")
	case o.bind && !o.remount && m.Source == "":
		return errors.New("a bind mount needs a source")
	case !o.bind && !o.remount && m.Type == "":
		return errors.New("no type")
	case o.copyUp && (o.bind || m.Type != "tmpfs"):
		return errors.New("tmpcopyup is for tmpfs")
	case (mapped || o.idmap != noIDMap) && !o.bind:
		return errors.New("idmap is for bind mounts")
	case (len(m.UIDMappings) == 0) != (len(m.GIDMappings) == 0):
		return errors.New("uidMappings and gidMappings belong together")
	case o.idmap != noIDMap && !mapped && !ownUserNamespace(s):
		return errors.New("idmap needs mappings, or a container with a user namespace")
	}
	for _, option := range o.data {
		if _, value, _ := strings.Cut(option, "="); !o.bind && len(value) > 255 {
			return fmt.Errorf("option %.20s… is longer than fsconfig(2) takes", option)
		}
	}
	return nil
}

// ownUserNamespace tells whether the container of s gets a new one.
func ownUserNamespace(s *specs.Spec) bool {
	return s.Linux != nil && slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.UserNamespace && n.Path == ""
	})
}
