//go:build linux

package main

import (
	"cmp"
	"os"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDevices(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	mode, uid := os.FileMode(0o20640), uint32(7)
	devices := []specs.LinuxDevice{
		{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: &mode, UID: &uid, GID: &uid},
		{Path: "/dir/block", Type: "b", Major: 7, Minor: 3},
		{Path: "/dir/pipe", Type: "p", Major: 8, Minor: 666},
		{Path: "/dev/null", Type: "u", Major: 1, Minor: 3},
	}
	dir := newRootfs(t, "dev/stdin -> /nowhere", "dev/ptmx", "dev/file", "link -> /etc")
	r := openTestRootfs(t, dir, "")
	for range 2 { // what is there already is what it should be
		require.NoError(t, r.createDevices(devices, false))
	}
	for name, want := range map[string]unix.Stat_t{
		"/dev/fuse":  {Mode: unix.S_IFCHR | 0o640, Rdev: unix.Mkdev(10, 229), Uid: 7, Gid: 7},
		"/dir/block": {Mode: unix.S_IFBLK | 0o666, Rdev: unix.Mkdev(7, 3)},
		"/dir/pipe":  {Mode: unix.S_IFIFO | 0o666},
		"/dev/null":  {Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)},
		"/dev/tty":   {Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(5, 0)},
	} {
		var stat unix.Stat_t
		require.NoError(t, unix.Lstat(dir+name, &stat), name)
		require.Equal(t, want, unix.Stat_t{Mode: stat.Mode, Rdev: stat.Rdev, Uid: stat.Uid, Gid: stat.Gid}, name)
	}
	for name, want := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/nowhere"} {
		link, err := os.Readlink(dir + "/dev/" + name)
		require.NoError(t, err)
		require.Equal(t, want, link)
	}
	for want, d := range map[string]specs.LinuxDevice{
		"create device /dev/file: there is another file in its place": {Path: "/dev/file", Type: "c", Major: 1, Minor: 3},
		"create device /dev/zero: there is another file in its place": {Path: "/dev/zero", Type: "c", Major: 1, Minor: 3},
		"create device /x: unknown type \"s\"":                        {Path: "/x", Type: "s"},
	} {
		require.EqualError(t, r.createDevices([]specs.LinuxDevice{d}, false), want)
	}
	require.EqualError(t, r.createDevices([]specs.LinuxDevice{{Path: "/x", Type: "c", Major: 4242, Minor: 1}}, true),
		"create device /x: mknod is not permitted, and the host has no such device to bind")
}

func TestNothingIsMadeInTheHostsDev(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	before := tree(t, "/dev")
	r := openTestRootfs(t, newRootfs(t), "")
	require.NoError(t, r.mountAll([]specs.Mount{{Destination: "dev/", Source: "/dev", Options: []string{"rbind"}}}, cgroup{}, true))
	require.NoError(t, r.createDevices([]specs.LinuxDevice{{Path: "/dev/mine", Type: "p"}, {Path: "/mine", Type: "p"}}, false))
	require.Equal(t, before, tree(t, "/dev"))
	_, err := os.Stat("/dev/mine")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTmpfs(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	dir := newRootfs(t, "full/sub/file", "full/link -> /etc/passwd", "strict/", "fifo/")
	require.NoError(t, os.Chmod(dir+"/strict", 0o710))
	require.NoError(t, unix.Chmod(dir+"/full/sub/file", 0o4711))
	require.NoError(t, os.Lchown(dir+"/full/sub", 7, 8))
	require.NoError(t, unix.Mkfifo(dir+"/fifo/fifo", 0o600))
	enter(t, dir, &specs.Spec{Mounts: withProc(
		specs.Mount{Destination: "/full", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "ro"}},
		specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid"}},
		specs.Mount{Destination: "/strict", Type: "tmpfs", Source: "tmpfs"},
		specs.Mount{Destination: "/new/dir", Type: "tmpfs", Source: "tmpfs"},
		specs.Mount{Destination: "/full", Type: "none", Options: []string{"remount", "nodev"}},
	)}, false)
	require.Contains(t, mountLine(t, "/full"), "/full ro,nodev,relatime - tmpfs rw")
	require.Contains(t, mountLine(t, "/dev"), "/dev ro,nosuid,relatime - tmpfs")
	_, err := os.Stat("/dev/null")
	require.NoError(t, err)
	for name, want := range map[string]unix.Stat_t{
		"/full":          {Mode: unix.S_IFDIR | 0o755},
		"/full/sub":      {Mode: unix.S_IFDIR | 0o755, Uid: 7, Gid: 8},
		"/full/sub/file": {Mode: unix.S_IFREG | 0o4711},
		"/full/link":     {Mode: unix.S_IFLNK | 0o777},
		"/strict":        {Mode: unix.S_IFDIR | 0o710},
		"/new/dir":       {Mode: unix.S_IFDIR | 0o1777},
	} {
		var stat unix.Stat_t
		require.NoError(t, unix.Lstat(name, &stat), name)
		require.Equal(t, want, unix.Stat_t{Mode: stat.Mode, Uid: stat.Uid, Gid: stat.Gid}, name)
	}
	data, err := os.ReadFile("/full/sub/file")
	require.NoError(t, err)
	require.Equal(t, "full/sub/file\n", string(data))
}

func TestTheFilesystemSaysWhatIsWrong(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	r := openTestRootfs(t, newRootfs(t), "")
	err := r.mountAll([]specs.Mount{{Destination: "/m", Type: "tmpfs", Source: "tmpfs", Options: []string{"colour=red"}}}, cgroup{}, true)
	require.EqualError(t, err, "mount tmpfs on /m: option colour=red: invalid argument (tmpfs: Unknown parameter 'colour')")
	err = r.mountAll([]specs.Mount{{Destination: "/m", Type: "nofs", Source: "x"}}, cgroup{}, true)
	require.EqualError(t, err, "mount x on /m: open filesystem nofs: no such device")
	err = r.mountAll([]specs.Mount{{Destination: "/m", Source: "/missing", Options: []string{"bind"}}}, cgroup{}, true)
	require.EqualError(t, err, "mount /missing on /m: open source: no such file or directory")
}

// TestMasksUseNoNullButTheKernels is CVE-2025-31133 and the like.
func TestMasksUseNoNullButTheKernels(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"a link", "mask /proc/version: open /dev/null: too many levels of symbolic links"},
		{"a file", "mask /proc/version: use /dev/null: there is another file in its place"},
		{"none", "mask /proc/version: open /dev/null: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !inNamespaces(t, 0) {
				return
			}
			dir := newRootfs(t, map[string]string{"a link": "dev/null -> /proc/sys/kernel/core_pattern", "a file": "dev/null", "none": "x"}[test.name])
			r := openTestRootfs(t, dir, "")
			require.NoError(t, r.mountAll(withProc(), cgroup{}, true))
			require.NoError(t, pivot(r))
			require.EqualError(t, finish(r, &specs.Spec{Root: &specs.Root{}, Linux: &specs.Linux{MaskedPaths: []string{"/missing", "/proc/version"}}}), test.want)
		})
	}
}

func TestMaskedAndReadonlyPathsStayInside(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	dir := newRootfs(t, "one/file", "two/file", "file", "link -> ../../one", "ro/file", "ro/below/")
	enter(t, dir, &specs.Spec{
		Mounts: withProc(specs.Mount{Destination: "/ro/below", Type: "tmpfs", Source: "tmpfs"}),
		Linux:  &specs.Linux{MaskedPaths: []string{"/link", "/two", "/file", "/missing/x"}, ReadonlyPaths: []string{"/ro", "/missing"}},
	}, false)
	for _, empty := range []string{"/one", "/two"} {
		names, err := os.ReadDir(empty)
		require.NoError(t, err)
		require.Empty(t, names)
		require.ErrorIs(t, os.Mkdir(empty+"/x", 0o755), unix.EROFS)
	}
	data, err := os.ReadFile("/file")
	require.NoError(t, err)
	require.Empty(t, data)
	require.ErrorIs(t, os.WriteFile("/ro/file", nil, 0o644), unix.EROFS)
	require.ErrorIs(t, os.WriteFile("/ro/below/file", nil, 0o644), unix.EROFS)
	require.NoError(t, os.WriteFile("/rw", nil, 0o644))
}

// TestSysctlsGoToNoOtherFile is CVE-2025-52881.
func TestSysctlsGoToNoOtherFile(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	s := &specs.Spec{Mounts: withProc(specs.Mount{Destination: "/proc/sys/net/ipv4/ip_default_ttl", Source: "/box/checks.test", Options: []string{"bind"}}),
		Linux: &specs.Linux{Sysctl: map[string]string{"net.ipv4.ip_default_ttl": "1"}, Namespaces: []specs.LinuxNamespace{{Type: "network"}}}}
	r := openTestRootfs(t, newRootfs(t), "")
	require.NoError(t, r.mountAll(s.Mounts, cgroup{}, true))
	require.NoError(t, pivot(r))
	require.EqualError(t, finish(r, s), "sysctl net.ipv4.ip_default_ttl: open /proc/sys/net/ipv4/ip_default_ttl: invalid cross-device link")
}

// TestTheWorkingDirectoryIsInside is CVE-2024-21626.
func TestTheWorkingDirectoryIsInside(t *testing.T) {
	if !inNamespaces(t, 0) {
		return
	}
	host, err := unix.Open("/", unix.O_PATH, 0) // left open by mistake
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(host, 99, 0))
	enter(t, newRootfs(t, "there/", "link -> /proc/self/fd/99"), &specs.Spec{Mounts: withProc()}, false)
	for cwd, want := range map[string]string{"/there": "/there", "/proc/self/fd/99": "", "/proc/self/fd/99/box/new": "", "/link": ""} {
		err := chdirInside(cwd)
		require.Equal(t, want != "", err == nil, cwd)
		dir, err := os.Getwd()
		require.NoError(t, err)
		require.Equal(t, cmp.Or(want, "/"), dir)
	}
}

// TestLockedAttributesStay has a source that the host made read-only.
func TestLockedAttributesStay(t *testing.T) {
	for _, test := range []struct{ option, want string }{
		{"nodev", "/m ro,nosuid,nodev,relatime"},
		{"rw", ""},
	} {
		t.Run(test.option, func(t *testing.T) {
			source := "/box/locked"
			if _, err := os.Stat("/box/bin"); err == nil && os.Getenv("MOUNT_TEST") == "" {
				require.NoError(t, os.MkdirAll(source, 0o755))
				require.NoError(t, unix.Mount("tmpfs", source, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID, ""))
				defer unix.Unmount(source, unix.MNT_DETACH)
				require.NoError(t, os.MkdirAll("/box/mounttest", 0o777))
				require.NoError(t, os.Chmod("/box/mounttest", 0o777))
			}
			if !inNamespaces(t, syscall.CLONE_NEWUSER) {
				return
			}
			r := openTestRootfs(t, newRootfs(t), "")
			err := r.mountAll(withProc(specs.Mount{Destination: "/m", Source: source, Options: []string{"bind", test.option}}), cgroup{}, true)
			if test.want == "" {
				require.ErrorContains(t, err, "change what the host has locked")
				return
			}
			require.NoError(t, err)
			require.NoError(t, pivot(r))
			require.Contains(t, mountLine(t, "/m"), test.want)
		})
	}
}
