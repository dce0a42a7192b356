//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
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
	fd          int
	hostDev     bool // /dev is a bind mount: nothing is made there
	readonlyDev bool // when all is in it
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
	return fs.WalkDir(source.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := source.Lstat(name)
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			err = target.Mkdir(name, 0o700)
		case fs.ModeSymlink:
			var link string
			if link, err = source.Readlink(name); err == nil {
				err = target.Symlink(link, name)
			}
		case 0:
			err = copyFile(source, target, name)
		default:
			err = errors.New("tmpcopyup is for files, directories and links")
		}
		stat := info.Sys().(*syscall.Stat_t)
		if err == nil {
			err = target.Lchown(name, int(stat.Uid), int(stat.Gid))
			if errors.Is(err, unix.EINVAL) { // the user namespace has no such id
				err = nil
			}
		}
		if err == nil && info.Mode().Type() != fs.ModeSymlink {
			err = target.Chmod(name, info.Mode()) // after chown(2), which takes set-user-ID away
		}
		return err
	})
}

// copyFile copies a regular file. If it is now a fifo, opening does not wait.
func copyFile(source, target *os.Root, name string) error {
	in, err := source.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := target.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
