//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// needsIDMap tells whether the files of m are to show other owners.
func needsIDMap(m specs.Mount, o mountOptions) bool {
	return o.idmap != noIDMap || len(m.UIDMappings) != 0
}

// idmappedSources makes the idmapped mounts of s, which init then only
// attaches: for the filesystem's sake it takes the host's root. It belongs
// before init is started; a new mount namespace is not needed. The keys are
// places in s.Mounts.
func idmappedSources(s *specs.Spec) (map[int]*os.File, error) {
	var sources map[int]*os.File
	for i, m := range s.Mounts {
		o, err := parseMountOptions(m.Options)
		if err != nil || !needsIDMap(m, o) {
			continue // validateMounts has told
		}
		if sources == nil {
			sources = map[int]*os.File{}
		}
		if sources[i], err = idmappedSource(m, o, s); err != nil {
			return nil, fmt.Errorf("idmapped mount of %s on %s: %w", m.Source, m.Destination, err)
		}
	}
	return sources, nil
}

// idmappedSource makes one. It is a slave of the host's mount: the container
// must not mount there.
func idmappedSource(m specs.Mount, o mountOptions, s *specs.Spec) (*os.File, error) {
	uids, gids := m.UIDMappings, m.GIDMappings
	if len(uids) == 0 && s.Linux != nil {
		uids, gids = s.Linux.UIDMappings, s.Linux.GIDMappings
	}
	userns, err := userNamespace(uids, gids)
	if err != nil {
		return nil, err
	}
	defer userns.Close()
	mnt, err := cloneTree(m.Source, o)
	if err != nil {
		return nil, err
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if o.idmap == recursiveIDMap {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err = unix.MountSetattr(mnt, "", flags, &attr); err != nil {
		err = fmt.Errorf("%w (the filesystem, or this user, cannot)", err)
	} else {
		err = setPropagation(mnt, []uint64{unix.MS_SLAVE | unix.MS_REC})
	}
	if err != nil {
		unix.Close(mnt)
		return nil, err
	}
	return os.NewFile(uintptr(mnt), m.Source), nil
}

// userNamespace makes a user namespace for its mappings alone: with a process
// that is stopped before it runs, and ended when the namespace is open.
func userNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	if len(uids) == 0 || len(gids) == 0 {
		return nil, errors.New("no mappings")
	}
	holder := exec.Command("/proc/self/exe")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Ptrace: true,
		UidMappings: systemMappings(uids), GidMappings: systemMappings(gids)}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("create user namespace: %w", err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
}

// systemMappings are mappings as package syscall has them.
func systemMappings(mappings []specs.LinuxIDMapping) (list []syscall.SysProcIDMap) {
	for _, m := range mappings {
		list = append(list, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return list
}

// idmappedFiles is idmappedSources as two lists: places in s.Mounts, and files.
func idmappedFiles(s *specs.Spec) (places []int, files []*os.File, err error) {
	sources, err := idmappedSources(s)
	for place, file := range sources {
		places, files = append(places, place), append(files, file)
	}
	return places, files, err
}
