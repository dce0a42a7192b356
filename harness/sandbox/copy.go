package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// copyIn copies src, a file or a directory of this machine, to the path at
// below dst.
func copyIn(dst *os.Root, at, src string) error {
	at = below(at)
	info, err := os.Stat(src)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return copyTree(dst, at, os.DirFS(src))
	}
	if err := dst.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	return copyFile(dst, at, os.DirFS(filepath.Dir(src)), filepath.Base(src), info)
}

// copyTree copies all of src to the directory at below dst: directories,
// regular files and symbolic links, with their permission bits. A set-user-ID
// bit is not kept, nor is anything else: devices, sockets and pipes are of use
// only where they were made. dst is an os.Root because the tree may come from
// a machine that a test has spoilt: no link in it leads the copy elsewhere.
func copyTree(dst *os.Root, at string, src fs.FS) error {
	return fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := path.Join(at, name)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			if err := dst.MkdirAll(to, 0o755); err != nil {
				return err
			}
			if name == "." {
				return nil
			}
			return dst.Chmod(to, info.Mode().Perm()|0o700)
		case fs.ModeSymlink:
			target, err := fs.ReadLink(src, name)
			if err != nil {
				return err
			}
			if err := dst.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return dst.Symlink(target, to)
		case 0:
			return copyFile(dst, to, src, name, info)
		}
		return nil
	})
}

// copyFile copies one regular file.
func copyFile(dst *os.Root, to string, src fs.FS, name string, info fs.FileInfo) error {
	from, err := src.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := dst.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dst.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, from); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return f.Close()
}

// below makes an absolute path of a machine one relative to its root.
func below(p string) string {
	return path.Join(".", strings.TrimLeft(path.Clean("/"+p), "/"))
}
