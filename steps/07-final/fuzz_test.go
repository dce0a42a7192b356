//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// treeBut lists the names below dir, without those below skip.
func treeBut(t *testing.T, dir, skip string) (names []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		names = append(names, path)
		if path == skip {
			return filepath.SkipDir
		}
		return err
	}))
	return names
}

// FuzzID makes a container's state of any id: one directory, directly below the
// root, or an error and nothing.
func FuzzID(f *testing.F) {
	for _, id := range []string{"web-1", "..", "../x", "a/b", "", ".", "a\x00b", "\x1b[31m", "~", "web~", strings.Repeat("a", 300)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		s, err := newState(root, id)
		if err != nil {
			require.NotContains(t, err.Error(), "\x1b", "an id reaches a terminal quoted")
			require.Subset(t, []string{top, root}, treeBut(t, top, ""), "nothing but the root itself")
			return
		}
		require.Equal(t, root, filepath.Dir(s.dir))
		require.Equal(t, id, filepath.Base(s.dir))
		require.Empty(t, cmp.Diff([]string{top, root, s.dir}, treeBut(t, top, s.dir)))
		_, err = newState(root, id)
		require.ErrorContains(t, err, "exists")
	})
}

// FuzzInside opens and makes any name in a rootfs whose links lead anywhere:
// nothing outside of it is opened or made.
func FuzzInside(f *testing.F) {
	for _, seed := range [][3]string{
		{"/etc/hosts", "x", "y"}, {"/link/new", "../outside", "/"}, {"/link/secret", "/../../outside", ".."},
		{"/dir/link/made", "link", "../../outside"}, {"/link", "/dir/link", "/link"}, {"/dir/../../outside/new", ".", "."},
		{"/link/self/cwd", "/proc", "/proc/self/root"}, {"/link", "missing/../../outside/new", "."}, {"//", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], true)
		f.Add(seed[0], seed[1], seed[2], false)
	}
	f.Fuzz(func(t *testing.T, name, link, deeper string, directory bool) {
		if len(name) > 500 || strings.Count(name, "/") > 50 { // a deep tree takes long to remove
			return
		}
		top := t.TempDir()
		dir, outside := filepath.Join(top, "rootfs"), filepath.Join(top, "outside")
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "dir"), 0o700))
		require.NoError(t, os.Mkdir(outside, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600))
		_ = os.Symlink(link, filepath.Join(dir, "link")) // the kernel may refuse its text
		_ = os.Symlink(deeper, filepath.Join(dir, "dir", "link"))
		before := treeBut(t, top, dir)

		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		for _, resolve := range []uint64{inRoot, noLinks} {
			made, err := (&rootfs{fd: fd}).create("/"+name, resolve, directory)
			if err == nil {
				where, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(made))
				require.NoError(t, err)
				require.True(t, where == dir || strings.HasPrefix(where, dir+"/"), "%q is opened", where)
				unix.Close(made)
			}
		}
		require.Empty(t, cmp.Diff(before, treeBut(t, top, dir)), "outside of the rootfs")
	})
}

// FuzzMappings feeds validate any ID mappings: what is valid reaches the kernel
// as it was written.
func FuzzMappings(f *testing.F) {
	f.Add([]byte(`[{"containerID": 0, "hostID": 100000, "size": 65536}]`))
	f.Add([]byte(`[{"containerID": 4294967295, "hostID": 4294967295, "size": 4294967295}]`))
	f.Add([]byte(`[{"size": 0}, {"containerID": 1, "hostID": 1, "size": 1}]`))
	f.Add([]byte(`[{"containerID": -1}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var mappings []specs.LinuxIDMapping
		if json.Unmarshal(text, &mappings) != nil {
			return
		}
		spec := defaultSpec([]string{"sh"})
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = mappings, mappings
		if err := validate(spec); err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, mappings, "a user namespace without mappings has no root")
		for i, m := range idMap(mappings) {
			require.Equal(t, mappings[i], specs.LinuxIDMapping{ContainerID: uint32(m.ContainerID), HostID: uint32(m.HostID), Size: uint32(m.Size)})
			require.True(t, m.ContainerID >= 0 && m.HostID >= 0 && m.Size >= 0)
		}
	})
}
