//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The container's ids are the host's from hostID on. No login has them, so that
// the container's root may do on the host what anybody may. (But useradd(8) may
// have given them to a user for his containers, see subuid(5), or a directory
// server to its users: what is theirs is the container's, too.)
const hostID = 100000

// privileged tells whether these ids are ours to give. An ordinary user has
// only his own, also as root of a user namespace, see user_namespaces(7). If
// the map cannot be read we go for all: what is not ours the kernel refuses.
func privileged() bool {
	idMap, err := os.ReadFile("/proc/self/uid_map")
	return os.Geteuid() == 0 && (err != nil || string(idMap) == "         0          0 4294967295\n")
}

// unlessOrdinary returns err to root. To an ordinary user it is a warning: this
// is what he cannot have.
func unlessOrdinary(what string, err error) error {
	if err == nil || privileged() {
		return err
	}
	warn(fmt.Sprintf("no %s: %v", what, err))
	return nil
}

// mapOwnIDs makes root inside the user that we are outside, and nobody else.
func mapOwnIDs(linux *specs.Linux) {
	linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
	linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
}

// asRoot makes who is born with attr the root of a new user namespace with the
// mappings of linux.
func asRoot(attr *syscall.SysProcAttr, linux *specs.Linux) {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings, attr.GidMappings = idMap(linux.UIDMappings), idMap(linux.GIDMappings)
	// A user who could leave a group would get at what is kept from the group.
	attr.GidMappingsEnableSetgroups = maySetGroups()
	// Only root keeps capabilities in execve(2), see capabilities(7).
	attr.Credential = &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: !attr.GidMappingsEnableSetgroups}
}

// maySetGroups tells whether this process may change its groups, and so let a
// user namespace do that.
func maySetGroups() bool {
	said, _ := os.ReadFile("/proc/self/setgroups")
	return os.Geteuid() == 0 && string(said) != "deny\n"
}

// idMap is mappings as the syscall package has them.
func idMap(mappings []specs.LinuxIDMapping) (m []syscall.SysProcIDMap) {
	for _, ids := range mappings {
		m = append(m, syscall.SysProcIDMap{ContainerID: int(ids.ContainerID), HostID: int(ids.HostID), Size: int(ids.Size)})
	}
	return m
}

// setUser gives up what init is: groups first, for the user may not change
// them. The capabilities stay until they are set: dropBounding saw to that.
func setUser(u specs.User) error {
	if u.Umask != nil {
		unix.Umask(int(*u.Umask))
	}
	// All this is done to this thread only, as to the capabilities: execve(2)
	// ends the others. The functions of package syscall stop every thread.
	groups := u.AdditionalGids
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
	// An ordinary user's namespace denies it, and says so: no other refusal may
	// leave the command the groups of who started it.
	if errno != 0 && (len(groups) > 0 || errno != unix.EPERM || maySetGroups()) {
		return fmt.Errorf("set additional groups to %v: %w", groups, errno)
	}
	uid, gid := uintptr(u.UID), uintptr(u.GID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("set group to %d: %w", u.GID, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("set user to %d: %w", u.UID, errno)
	}
	return nil
}

// runAsRoot runs this program again for an ordinary user. As root of a user
// namespace of his own, and of a mount namespace for it, he may mount: there
// all goes on as for root.
func runAsRoot() (status int, err error) {
	exe, err := os.Executable() // by its path: /proc/self/exe is of the host's mounts
	if err != nil {
		return 0, err
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS}
	linux := new(specs.Linux)
	mapOwnIDs(linux)
	asRoot(attr, linux)
	process, err := os.StartProcess(exe, os.Args, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: attr})
	if err != nil {
		return 0, explain(fmt.Errorf("create user namespace: %w", err))
	}
	c := &container{process: process, signals: notify(), started: make(chan error, 1)}
	return c.wait(func() error { return nil })
}

// prepareRootfs mounts the root filesystem of run in a mount namespace that
// belongs to us, and returns its directory. In the copy that the container's
// user namespace gets, mounts are locked: what is read-only stays so, see
// mount_namespaces(7).
func prepareRootfs(mounts []specs.Mount) (dir string, err error) {
	dir = staging + "/merged"
	if _, err := sealedExecutable(); err != nil { // which is of the mounts that we leave
		return "", err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("create mount namespace: %w", err)
	}
	if err := makeMountsPrivate(); err != nil {
		return "", err
	}
	err = mountRootfs()
	if errors.Is(err, unix.EINVAL) {
		// An ordinary user's copy is locked too. An overlay would show what the
		// mounts below / cover: he gets / with them, to read.
		if err := unlessOrdinary("writable root", err); err != nil {
			return "", err
		}
		if err := mount(".", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", err
		}
		readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		return dir, cmp.Or(
			os.NewSyscallError("make "+dir+" read-only", unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &readOnly)),
			handOver())
	}
	if err == nil {
		err = removeLinks(mounts)
	}
	if err == nil { // else dir may be another's, on the host
		err = handOver()
	}
	return dir, err
}

// handOver gives the container's root what it needs of ours: / and, where they
// are pipes, the standard streams. It could not open /dev/stdout otherwise; who
// else could is kept from /proc/PID/fd, see proc_pid_fd(5).
func handOver() error {
	if !privileged() { // the container's root is who we are
		return unlessOrdinary("ids but 0", errors.New("only the host's root gets others, and root inside is you"))
	}
	var fs unix.Statfs_t
	for fd := range 3 {
		if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PIPEFS_MAGIC {
			unix.Fchmod(fd, 0o666)
		}
	}
	return os.Chown(staging+"/merged", hostID, hostID)
}
