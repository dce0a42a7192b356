//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// rootfs is the container's root, which init sees from outside until pivot.
// The image in it is another's work, and any name in it may be a link that
// leads to the host. So no name of it is used twice: each is opened once, by
// openat2(2), for which the rootfs is the root; all else is done with what was
// opened.
type rootfs struct {
	fd      int
	hostDev bool             // /dev is a bind mount: nothing is made there
	sources map[int]*os.File // of idmapped mounts, by their place in the list
}

const (
	// inRoot keeps a path below the rootfs, whatever links and ".." it has. The
	// links of /proc/PID/fd know no root: they are refused.
	inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	// noLinks is for /proc and /sys: with a link there an image would choose
	// what the runtime writes its settings to (CVE-2019-19921).
	noLinks = inRoot | unix.RESOLVE_NO_SYMLINKS
)

// openat2 is openat2(2). Its answer is EAGAIN when something was renamed on the
// machine in the meantime.
func openat2(dir int, name string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for range 128 {
		fd, err = unix.Openat2(dir, name, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

// open finds name in the rootfs. What it returns says what is there, but reads
// and writes nothing (O_PATH).
func (r *rootfs) open(name string, resolve uint64) (int, error) {
	return openat2(r.fd, name, unix.O_PATH, resolve)
}

// create is open that makes what is missing: directories, and at the end a
// directory or an empty file. name begins with a slash.
func (r *rootfs) create(name string, resolve uint64, directory bool) (int, error) {
	for range 40 { // as many links as the kernel follows
		fd, err := r.open(name, resolve)
		if err != unix.ENOENT {
			return fd, err
		}
		parent, base := path.Split(strings.TrimRight(name, "/"))
		dir, err := r.create(parent, resolve, true)
		if err != nil {
			return -1, err
		}
		target := make([]byte, unix.PathMax)
		switch n, linkErr := unix.Readlinkat(dir, base, target); {
		case linkErr == nil && target[0] == '/': // leads to what is missing
			name = string(target[:n])
		case linkErr == nil:
			name = parent + string(target[:n])
		case directory:
			err = unix.Mkdirat(dir, base, 0o755)
		default:
			fd, err = unix.Openat(dir, base, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
			unix.Close(fd)
		}
		unix.Close(dir)
		if err != nil && err != unix.EEXIST {
			return -1, err
		}
	}
	return -1, unix.ELOOP
}

// isOn tells whether the filesystem of fd is of the kind that magic stands for.
func isOn(fd int, magic int64) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && int64(fs.Type) == magic
}

// openProc opens a file of /proc, after pivot: neither a link nor a file that
// is mounted over it, which could be any other (CVE-2025-52881).
func openProc(name string, flags uint64) (int, error) {
	proc, err := openat2(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return -1, fmt.Errorf("open /proc: %w", err)
	}
	defer unix.Close(proc)
	if !isOn(proc, unix.PROC_SUPER_MAGIC) {
		return -1, errors.New("open /proc: it is not the kernel's")
	}
	fd, err := openat2(proc, name, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return -1, fmt.Errorf("open /proc/%s: %w", name, err)
	}
	return fd, nil
}

// chdirInside makes cwd the working directory, after pivot, and makes it where
// it is missing. A descriptor of the host's that was left open would be a way
// out by /proc/self/fd (CVE-2024-21626): the kernel must see it below the root.
func chdirInside(cwd string) error {
	root, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(root)
	dir, err := (&rootfs{fd: root}).create(path.Join("/", cwd), inRoot, true)
	if err != nil {
		return fmt.Errorf("enter %s: %w", cwd, err)
	}
	defer unix.Close(dir)
	if err := unix.Fchdir(dir); err != nil {
		return fmt.Errorf("enter %s: %w", cwd, err)
	}
	where := make([]byte, unix.PathMax)
	if n, err := unix.Getcwd(where); err != nil || n == 0 || where[0] != '/' {
		return fmt.Errorf("enter %s: it is outside of the container", cwd)
	}
	return nil
}

// copyTree copies what is in the directory from to the directory to, with
// owners and modes, and follows no link. It is for tmpcopyup.
func copyTree(from, to int) error {
	fd, err := unix.Openat(from, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), ".")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if err := copyFile(fd, to, name); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return err
}

// copyFile copies name, whatever it is, from one directory to another. Nobody
// else sees the other one yet: only in the first there can be traps.
func copyFile(from, to int, name string) error {
	var stat unix.Stat_t
	err := unix.Fstatat(from, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	kind := stat.Mode & unix.S_IFMT
	switch {
	case err != nil:
	case kind == unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, target); err == nil {
			err = unix.Symlinkat(string(target[:n]), to, name)
		}
	case kind == unix.S_IFREG || kind == unix.S_IFDIR:
		err = copyContent(from, to, name, kind)
	default:
		err = unix.Mknodat(to, name, stat.Mode, int(stat.Rdev))
	}
	if err != nil {
		return err
	}
	err = unix.Fchownat(to, name, int(stat.Uid), int(stat.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && err != unix.EINVAL { // the user namespace has no such id
		return err
	}
	if kind == unix.S_IFLNK {
		return nil
	}
	return unix.Fchmodat(to, name, stat.Mode&0o7777, 0) // after chown(2), which takes set-user-ID away
}

// copyContent copies what a file or a directory holds.
func copyContent(from, to int, name string, kind uint32) error {
	fd, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(fd), name)
	defer source.Close()
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
	if kind == unix.S_IFDIR {
		flags = unix.O_RDONLY | unix.O_DIRECTORY
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return err
		}
	}
	fd, err = unix.Openat(to, name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(fd), name)
	defer target.Close()
	if kind == unix.S_IFDIR {
		return copyTree(int(source.Fd()), fd)
	}
	_, err = io.Copy(target, source)
	return err
}
