// Package kit makes the archive of make kit: all that make test-step needs of
// the network, for machines that have none, or no Debian. It is unpacked in the
// repository, where the Makefile finds it:
//
//	.kit/mod      Go's module cache (GOMODCACHE)
//	.kit/cache    kernel and root of the virtual machine (CFS_CACHE)
package kit

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is where a kit is unpacked to, in the repository.
const Dir = ".kit"

// Modules returns the files of Go's download cache that the module in the
// current directory needs, by their place below a module cache. They are
// collected in dir; what the user's own cache has is not fetched again.
func Modules(dir string) (map[string]string, error) {
	get := func(name string) (string, error) {
		out, err := exec.Command("go", "env", name).Output()
		return strings.TrimSpace(string(out)), err
	}
	cache, err := get("GOMODCACHE")
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	proxy, err := get("GOPROXY")
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	cmd := exec.Command("go", "mod", "download")
	cmd.Env = append(os.Environ(), "GOMODCACHE="+dir, "GOFLAGS=-modcacherw", // or it could not be removed
		"GOPROXY=file://"+filepath.ToSlash(cache)+"/cache/download,"+proxy)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go mod download: %w: %s", err, out)
	}
	files := map[string]string{}
	download := filepath.Join(dir, "cache", "download")
	err = filepath.WalkDir(download, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch ext := filepath.Ext(path); {
		case d.IsDir() && d.Name() == "sumdb":
			return filepath.SkipDir // go.sum has the sums
		case ext == ".info" || ext == ".mod" || ext == ".zip" || ext == ".ziphash":
			files[filepath.ToSlash(rel)] = path
		}
		return nil
	})
	return files, err
}

// Write writes an archive with files (place in the archive -> file on disk).
// The same files give the same bytes: neither times nor owners are kept, and
// the order is that of the names.
func Write(w io.Writer, files map[string]string) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := add(t, name, files[name]); err != nil {
			return fmt.Errorf("pack %s: %w", files[name], err)
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// add writes one file; only whether it can be executed is kept of its mode.
func add(t *tar.Writer, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644, Format: tar.FormatPAX}
	if info.Mode()&0o111 != 0 {
		h.Mode = 0o755
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
