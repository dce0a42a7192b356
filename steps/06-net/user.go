//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// The container's ids are the host's from hostID on. No login has them, so that
// the container's root may do on the host what anybody may. (But useradd(8) may
// have given them to a user for his containers, see subuid(5), or a directory
// server to its users: what is theirs is the container's, too.)
const hostID, ids = 100000, 65536

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
	fmt.Fprintf(os.Stderr, "container: warning: no %s: %v\n", what, err)
	return nil
}

// asRoot makes who is born with attr the root of a new user namespace.
func asRoot(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	uid, gid, size := hostID, hostID, ids
	if !privileged() {
		uid, gid, size = os.Geteuid(), os.Getegid(), 1 // more needs CAP_SETUID
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: size}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: size}}
	// A user who could leave a group would get at what is kept from the group.
	attr.GidMappingsEnableSetgroups = privileged()
	// Only root keeps capabilities in execve(2), see capabilities(7).
	attr.Credential = &syscall.Credential{Uid: 0, Gid: 0}
	return attr
}

// runAsRoot runs the container for an ordinary user. As root of a user
// namespace of his own he may mount: there run runs again, and all goes on as
// for root.
func runAsRoot(command []string) (status int, err error) {
	interrupts := make(chan os.Signal, 16)
	if !signal.Ignored(unix.SIGINT) {
		signal.Notify(interrupts, unix.SIGINT)
	}
	c, err := reexec("rerun", command, asRoot(&syscall.SysProcAttr{}))
	if err != nil {
		return 0, explain(fmt.Errorf("create user namespace: %w", err))
	}
	// Who sends SIGINT to this process only, sends it to nobody else. From a
	// terminal rerun gets it twice, and passes on neither.
	go func() {
		for sig := range interrupts {
			c.process.Process.Signal(sig)
		}
	}()
	return c.wait(), nil
}

// rerun is run in that user namespace.
func rerun(command []string) (status int, err error) {
	if err := awaitRelease(); err != nil {
		return 0, err
	}
	unix.Close(3) // then signals are passed on to this process, see handles
	return run(command)
}

// prepareRootfs mounts the root filesystem in a mount namespace that belongs to
// us. In the copy that the container's user namespace gets, mounts are locked:
// what is read-only stays so, see mount_namespaces(7).
func prepareRootfs() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("create mount namespace: %w", err)
	}
	if err := makeMountsPrivate(); err != nil {
		return err
	}
	err := mountRootfs()
	if errors.Is(err, unix.EINVAL) && !privileged() {
		// An ordinary user's copy is locked too. An overlay would show what the
		// mounts below / cover: he gets / with them, to read.
		unlessOrdinary("writable root", err)
		merged := staging + "/merged"
		if err := mount(".", merged, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		err = cmp.Or(
			os.NewSyscallError("make "+merged+" read-only", unix.MountSetattr(unix.AT_FDCWD, merged, unix.AT_RECURSIVE, &readOnly)),
			// The container's own mounts come on top, and can be taken off
			// again: below must not be the host's processes and devices.
			mount("tmpfs", merged+"/proc", "tmpfs", unix.MS_RDONLY, ""),
			mount("tmpfs", merged+"/dev", "tmpfs", unix.MS_RDONLY, ""),
			os.Chdir(merged))
	}
	if err != nil {
		return err
	}
	return handOver()
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

// unlockRootfs mounts the root filesystem on itself: what is locked,
// pivot_root(2) refuses.
func unlockRootfs() error {
	merged := staging + "/merged"
	return cmp.Or(mount(merged, merged, "", unix.MS_BIND|unix.MS_REC, ""), os.Chdir(merged))
}
