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

// mountAttributes are the options that are attributes of a mount. With an r
// before the name they hold for all mounts below, too: rro, rnosuid. Without
// any of the last six, the kernel does as with relatime.
var mountAttributes = map[string]attributes{
	"ro": {set: unix.MOUNT_ATTR_RDONLY}, "rw": {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid": {set: unix.MOUNT_ATTR_NOSUID}, "suid": {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev": {set: unix.MOUNT_ATTR_NODEV}, "dev": {clear: unix.MOUNT_ATTR_NODEV},
	"noexec": {set: unix.MOUNT_ATTR_NOEXEC}, "exec": {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime": {set: unix.MOUNT_ATTR_NODIRATIME}, "diratime": {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW}, "symfollow": {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"noatime": {unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME}, "atime": {clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME}, "nostrictatime": {clear: unix.MOUNT_ATTR__ATIME},
	"relatime": {unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME}, "norelatime": {clear: unix.MOUNT_ATTR__ATIME},
}

// propagations are the kinds of mount_namespaces(7); with an r they are those
// of all mounts below, too.
var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// parseMountOptions sorts options. Of two that contradict each other the last
// one holds, as with mount(8). What it does not know is for the filesystem.
func parseMountOptions(options []string) (o mountOptions, err error) {
	for _, option := range options {
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
			if flag, ok := propagations[option]; ok {
				o.propagation = append(o.propagation, flag)
			} else if own, ok := mountAttributes[option]; ok {
				o.own.change(own)
			} else if all, ok := mountAttributes[strings.TrimPrefix(option, "r")]; ok {
				o.all.change(all)
			} else {
				o.data = append(o.data, splitData(option)...)
			}
		}
	}
	return o, nil
}

// change adds to a what b changes.
func (a *attributes) change(b attributes) {
	a.set = a.set&^b.set&^b.clear | b.set
	a.clear |= b.set | b.clear
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
	if _, ok := propagations[s.Linux.RootfsPropagation]; !ok && s.Linux.RootfsPropagation != "" {
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
