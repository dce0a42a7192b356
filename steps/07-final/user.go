//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The container's ids are the host's from hostID on. No login has them, so that
// the container's root may do on the host what anybody may. (Where useradd(8)
// gave them to a user for his own containers, see subuid(5), they are his too.)
const hostID, ids = 100000, 65536

// privileged tells whether these ids are ours to give. An ordinary user has
// only his own, also as root of a user namespace, see user_namespaces(7).
func privileged() bool {
	idMap, _ := os.ReadFile("/proc/self/uid_map")
	return os.Geteuid() == 0 && string(idMap) == "         0          0 4294967295\n"
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

// prepareRootfs mounts the root filesystem of run in a mount namespace that
// belongs to us, and returns its directory. In the copy that the container's
// user namespace gets, mounts are locked: what is read-only stays so, see
// mount_namespaces(7).
func prepareRootfs() (dir string, err error) {
	dir = staging + "/merged"
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
		if err := unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &readOnly); err != nil {
			return "", fmt.Errorf("make %s read-only: %w", dir, err)
		}
		return dir, nil
	}
	if err == nil && privileged() {
		err = handOver()
	}
	return dir, err
}

// handOver gives the container's root what it needs of ours: / and, where they
// are pipes, the standard streams. It could not open /dev/stdout otherwise; who
// else could is kept from /proc/PID/fd, see proc_pid_fd(5).
func handOver() error {
	var fs unix.Statfs_t
	for fd := range 3 {
		if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PIPEFS_MAGIC {
			unix.Fchmod(fd, 0o666)
		}
	}
	return os.Chown(".", hostID, hostID)
}
