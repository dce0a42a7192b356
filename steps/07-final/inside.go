//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootfs is the container's root, which init sees from outside until pivot.
// The image in it is another's work, and any name in it may be a link that
// leads to the host. So no name of it is used twice: each is opened once, by
// openat2(2), for which the rootfs is the root; all else is done with what was
// opened.
type rootfs struct {
	fd       int
	label    string   // of files in tmpfs, for SELinux
	hostDev  bool     // /dev is a bind mount: nothing is made there
	readonly []string // mounts that are to be so, when all is in them
	empty    int      // directory that masks others, if there is one yet
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

// writeProc writes text to a file of /proc, after pivot, where an image could
// have put another there, or mounts could: see CVE-2019-16884, CVE-2025-52881.
func writeProc(name, text string) error {
	proc, err := openat2(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	defer unix.Close(proc)
	if !isOn(proc, unix.PROC_SUPER_MAGIC) {
		return errors.New("open /proc: it is not the kernel's")
	}
	fd, err := openat2(proc, name, unix.O_WRONLY, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return fmt.Errorf("open /proc/%s: %w", name, err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return wrap(err, "write /proc/%s", name)
}

// chdirInside makes cwd the working directory, after pivot, and makes it where
// it is missing. A descriptor of the host's that was left open would be a way
// out by /proc/self/fd (CVE-2024-21626): the kernel must see it below the root.
func chdirInside(cwd string) error {
	dir, err := -1, os.Chdir("/")
	if err == nil {
		dir, err = (&rootfs{fd: unix.AT_FDCWD}).create(path.Join("/", cwd), inRoot, true)
	}
	if err == nil {
		defer unix.Close(dir)
		err = unix.Fchdir(dir)
	}
	if err != nil {
		return fmt.Errorf("enter %s: %w", cwd, err)
	}
	where := make([]byte, unix.PathMax)
	if n, err := unix.Getcwd(where); err != nil || n == 0 || where[0] != '/' {
		return fmt.Errorf("enter %s: it is outside of the container", cwd)
	}
	return nil
}

// enterDirectory makes process.cwd the working directory.
func (c *initHalf) enterDirectory() error { return chdirInside(c.Spec.Process.Cwd) }

// copyTree copies what is in the directory from to the directory to, with
// owners and modes, for tmpcopyup. No link leads out of either.
func copyTree(from, to int) error {
	source, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", from))
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", to))
	if err != nil {
		return err
	}
	defer target.Close()
	if err := os.CopyFS(target.Name(), source.FS()); err != nil {
		return err
	}
	return fs.WalkDir(source.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := source.Lstat(name)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		err = target.Lchown(name, int(stat.Uid), int(stat.Gid))
		if err != nil && !errors.Is(err, unix.EINVAL) { // the user namespace has no such id
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			return nil
		}
		return target.Chmod(name, info.Mode()) // after chown(2), which takes set-user-ID away
	})
}
