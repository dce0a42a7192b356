//go:build linux || darwin

package sandbox

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxTarFile bounds one file that comes out of a machine, which cannot have
// more memory than that: a sparse header costs its sender nothing.
const maxTarFile = 1 << 30

// packTar writes files (path in the archive -> file or directory on disk) as a
// tar: modes are kept, owners are not. Everything but files, directories and
// symbolic links is left out.
func packTar(w io.Writer, files map[string]string) error {
	tw := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		root, err := filepath.EvalSymlinks(files[name])
		if err != nil {
			return err
		}
		err = filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			return packFile(tw, path.Join(name, filepath.ToSlash(rel)), file)
		})
		if err != nil {
			return fmt.Errorf("pack %s: %w", files[name], err)
		}
	}
	return tw.Close()
}

// packFile adds one file, link or directory.
func packFile(tw *tar.Writer, name, file string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	var link string
	switch {
	case info.Mode().IsRegular(), info.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if h.Name == "" {
		return nil // the root itself: it is there
	}
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}

// unpackTar reads one archive to its end, and not a byte more, into dir. An
// os.Root keeps every path, whatever links it goes through, below dir.
//
// With links false only directories and plain files are made, and no mode but
// permissions: that is for archives that come out of a machine, where a link
// to /etc/shadow would be followed by whoever reads the results.
func unpackTar(r io.Reader, dir string, links bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		if err := unpackEntry(root, h, tr, links); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

// unpackEntry makes one directory, file or link.
func unpackEntry(root *os.Root, h *tar.Header, content io.Reader, links bool) error {
	name := path.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return errors.New("path leads out of the directory")
	}
	if h.Size > maxTarFile {
		return fmt.Errorf("%d bytes are too many", h.Size)
	}
	mode := h.FileInfo().Mode()
	if !links {
		mode = mode.Type() | mode.Perm()
	}
	if name == "." {
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch {
	case mode.IsDir():
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		if !links {
			mode |= 0o700 // a directory we cannot enter would stop the next entry
		}
		return root.Chmod(name, mode&^fs.ModeDir)
	case h.Typeflag == tar.TypeReg: // a hard link calls itself regular, too
		return unpackFile(root, name, mode, content)
	case mode.Type() == fs.ModeSymlink && links:
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, name)
	}
	return nil
}

// unpackFile replaces what is at name: it is removed first, so that a link
// there, or a program that is running, is not written through.
func unpackFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}
