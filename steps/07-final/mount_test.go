//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inNamespaces runs the test once more, as another process in namespaces of its
// own, where / is shared as on a real machine. It returns true there. Outside
// of a sandbox it skips: a broken program would mount on the machine.
func inNamespaces(t *testing.T, flags uintptr) bool {
	t.Helper()
	if _, err := os.Stat("/box/bin"); err != nil || os.Getenv("SANDBOX_KIND") == "" {
		t.Skip("mounts, so it needs a sandbox: go test -exec '.build/harness exec' ./steps/07-final")
	}
	if os.Getenv("MOUNT_TEST") == t.Name() {
		runtime.LockOSThread()
		return true
	}
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	before := mountinfo(t)
	child := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	child.Env = append(os.Environ(), "MOUNT_TEST="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC |
		syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | flags}
	if flags&syscall.CLONE_NEWUSER != 0 {
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: hostID, Size: 65536}}
		child.SysProcAttr.GidMappings = child.SysProcAttr.UidMappings
		child.SysProcAttr.GidMappingsEnableSetgroups = true
		child.SysProcAttr.Credential = &syscall.Credential{}
	}
	out, err := child.CombinedOutput()
	require.Empty(t, cmp.Diff(before, mountinfo(t)), "the mounts of the host")
	require.NoError(t, err, "%s", out)
	return false
}

// mountinfo lists "PATH TYPE OPTIONS SUPER" of each mount, with its tags.
func mountinfo(t *testing.T) (list []string) {
	t.Helper()
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		left, right, _ := strings.Cut(strings.Join(f[4:], " "), " - ")
		r := strings.Fields(right)
		list = append(list, left+" "+r[0]+" "+r[len(r)-1])
	}
	return list
}

// mountOf is the line of mountinfo of the last mount on target, "" if there is
// none.
func mountOf(t *testing.T, target string) (line string) {
	t.Helper()
	for _, l := range mountinfo(t) {
		if strings.HasPrefix(l, target+" ") {
			line = l
		}
	}
	return line
}

// newRootfs makes an image with these files: "dir/", "link -> target", "file".
func newRootfs(t *testing.T, files ...string) string {
	t.Helper()
	// On a filesystem of its own: what the test covers is still there after it.
	require.NoError(t, os.MkdirAll("/box/mounttest", 0o755))
	dir, err := os.MkdirTemp("/box/mounttest", "rootfs")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, file := range files {
		name, target, isLink := strings.Cut(file, " -> ")
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case isLink:
			require.NoError(t, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			require.NoError(t, os.MkdirAll(path, 0o755))
		default:
			require.NoError(t, os.WriteFile(path, []byte(name+"\n"), 0o644))
		}
	}
	return dir
}

// openTestRootfs is enterRootfs for a test.
func openTestRootfs(t *testing.T, dir, propagation string) *rootfs {
	t.Helper()
	c := &initHalf{initConfig: initConfig{Spec: &specs.Spec{Root: &specs.Root{Path: dir}, Linux: &specs.Linux{
		RootfsPropagation: propagation, Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}}}
	require.NoError(t, c.enterRootfs())
	return c.root
}

// pivot is pivotRoot to r.
func pivot(r *rootfs) error {
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}
	return (&initHalf{initConfig: initConfig{Spec: spec}, root: r}).pivotRoot()
}

// finish is finishRootfs of r.
func finish(r *rootfs, s *specs.Spec) error {
	return (&initHalf{initConfig: initConfig{Spec: s}, root: r}).finishRootfs()
}

// enter does all that the runtime does, with the mounts of s in the image.
func enter(t *testing.T, dir string, s *specs.Spec, userns bool) {
	t.Helper()
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	if s.Root == nil {
		s.Root = &specs.Root{}
	}
	require.NoError(t, validateMounts(s))
	r := openTestRootfs(t, dir, s.Linux.RootfsPropagation)
	require.NoError(t, r.mountAll(s.Mounts, cgroup{}, true))
	require.NoError(t, r.createDevices(s.Linux.Devices, userns))
	require.NoError(t, pivot(r))
	require.NoError(t, finish(r, s))
}

// withProc are mounts after that of proc.
func withProc(mounts ...specs.Mount) []specs.Mount {
	return append([]specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}}, mounts...)
}

func TestMountOptionsAreSeenInMountinfo(t *testing.T) {
	for _, test := range []struct {
		options []string
		want    string // of mountinfo, as far as it tells
	}{
		{[]string{"ro"}, "/m ro,relatime - tmpfs"},
		{[]string{"rw"}, "/m rw,relatime - tmpfs"},
		{[]string{"ro", "rw"}, "/m rw,relatime - tmpfs"},
		{[]string{"nosuid", "nodev", "noexec"}, "/m rw,nosuid,nodev,noexec,relatime - tmpfs"},
		{[]string{"nosuid", "suid", "nodev", "dev", "noexec", "exec"}, "/m rw,relatime - tmpfs"},
		{[]string{"noatime", "nodiratime"}, "/m rw,noatime,nodiratime - tmpfs"},
		{[]string{"strictatime"}, "/m rw - tmpfs"},
		{[]string{"noatime", "atime"}, "/m rw,relatime - tmpfs"},
		{[]string{"strictatime", "nostrictatime", "diratime"}, "/m rw,relatime - tmpfs"},
		{[]string{"relatime", "norelatime", "iversion", "noiversion", "loud", "silent", "defaults", "acl"}, "/m rw,relatime - tmpfs"},
		{[]string{"nosymfollow"}, "/m rw,relatime,nosymfollow - tmpfs"},
		{[]string{"nosymfollow", "symfollow"}, "/m rw,relatime - tmpfs"},
		{[]string{"sync", "dirsync", "lazytime"}, "/m rw,relatime - tmpfs rw,sync,dirsync,lazytime"},
		{[]string{"sync", "async", "lazytime", "nolazytime", "nomand"}, "/m rw,relatime - tmpfs rw"},
		{[]string{"size=64k,mode=711", "nr_inodes=7"}, "/m rw,relatime - tmpfs rw,size=64k,nr_inodes=7,mode=711"},
		{[]string{"shared"}, "/m rw,relatime shared:N - tmpfs"},
		{[]string{"unbindable"}, "/m rw,relatime unbindable - tmpfs"},
		{[]string{"rprivate"}, "/m rw,relatime - tmpfs"},
		{[]string{"rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"}, "/m ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow - tmpfs"},
	} {
		t.Run(strings.Join(test.options, ","), func(t *testing.T) {
			if !inNamespaces(t, 0) {
				return
			}
			dir := newRootfs(t)
			enter(t, dir, &specs.Spec{Mounts: withProc(specs.Mount{Destination: "/m", Type: "tmpfs", Source: "tmpfs", Options: test.options})}, false)
			require.Contains(t, withoutNumbers(mountLine(t, "/m")), test.want)
		})
	}
}

// mountLine is a line of mountinfo from the target on.
func mountLine(t *testing.T, target string) (line string) {
	t.Helper()
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	for l := range strings.Lines(string(data)) {
		if f := strings.Fields(l); f[4] == target {
			line = strings.Join(f[4:], " ")
		}
	}
	line, super, _ := strings.Cut(line, " - ")
	f := strings.Fields(super)
	if len(f) == 3 {
		super = f[0] + " " + f[2]
	}
	return line + " - " + super
}

// withoutNumbers replaces the numbers of peer groups.
func withoutNumbers(line string) string {
	for _, tag := range []string{"shared:", "master:", "propagate_from:"} {
		before, after, ok := strings.Cut(line, tag)
		if ok {
			line = before + tag + "N" + strings.TrimLeft(after, "0123456789")
		}
	}
	return line
}

func TestBindMounts(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []string
		want    []string // of /m and of /m/below
	}{
		{"keeps the attributes of the source", []string{"bind"}, []string{"/m rw,nosuid,nodev,relatime master:N - tmpfs", ""}},
		{"adds to them", []string{"bind", "ro"}, []string{"/m ro,nosuid,nodev,relatime master:N - tmpfs", ""}},
		{"clears what is named", []string{"bind", "dev", "suid"}, []string{"/m rw,relatime master:N - tmpfs", ""}},
		{"ignores data", []string{"bind", "size=1k", "mode=700"}, []string{"/m rw,nosuid,nodev,relatime master:N - tmpfs", ""}},
		{"has no mounts below", []string{"bind"}, []string{"/m rw,", ""}},
		{"has mounts below", []string{"rbind", "ro"}, []string{"/m ro,nosuid,nodev,relatime master:N - tmpfs", "/m/below rw,relatime master:N - tmpfs"}},
		{"is read-only below, too", []string{"rbind", "rro"}, []string{"/m ro,nosuid,nodev,relatime master:N - tmpfs", "/m/below ro,relatime master:N - tmpfs"}},
		{"is a slave", []string{"rbind", "rslave"}, []string{"/m rw,nosuid,nodev,relatime master:N - tmpfs", "/m/below rw,relatime master:N - tmpfs"}},
		{"is private", []string{"rbind", "rprivate"}, []string{"/m rw,nosuid,nodev,relatime - tmpfs", "/m/below rw,relatime - tmpfs"}},
		{"is private at the top", []string{"rbind", "private"}, []string{"/m rw,nosuid,nodev,relatime - tmpfs", "/m/below rw,relatime master:N - tmpfs"}},
		{"is shared", []string{"rbind", "rprivate", "rshared"}, []string{"/m rw,nosuid,nodev,relatime shared:N - tmpfs", "/m/below rw,relatime shared:N - tmpfs"}},
		{"all recursive ones", []string{"rbind", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"},
			[]string{"/m rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow master:N - tmpfs", "/m/below rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow master:N - tmpfs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !inNamespaces(t, 0) {
				return
			}
			source := newRootfs(t)
			require.NoError(t, unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""))
			require.NoError(t, unix.Mount("tmpfs", source, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ""))
			require.NoError(t, os.Mkdir(source+"/below", 0o755))
			require.NoError(t, unix.Mount("tmpfs", source+"/below", "tmpfs", 0, ""))
			require.NoError(t, unix.Mount("", source, "", unix.MS_SHARED|unix.MS_REC, ""))
			// The host's side stays as it is, in the namespace that is left.
			host, err := os.Open("/proc/thread-self/ns/mnt")
			require.NoError(t, err)
			defer host.Close()
			require.NoError(t, unix.Unshare(unix.CLONE_NEWNS))
			enter(t, newRootfs(t), &specs.Spec{Mounts: withProc(specs.Mount{Destination: "/m", Source: source, Options: test.options})}, false)
			require.Contains(t, withoutNumbers(mountLine(t, "/m")), test.want[0])
			if test.want[1] == "" {
				require.Empty(t, mountOf(t, "/m/below"))
			} else {
				require.Contains(t, withoutNumbers(mountLine(t, "/m/below")), test.want[1])
			}
		})
	}
}

func TestAnImageCannotLeadMountsElsewhere(t *testing.T) {
	tmpfs := func(target string) specs.Mount {
		return specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs"}
	}
	for _, test := range []struct {
		name  string
		image []string
		mount specs.Mount
		at    string // where it is in the image, "" if it is refused
	}{
		{"a link to the host", []string{"data -> VICTIM"}, tmpfs("/data"), "VICTIM"},
		{"a link in the middle", []string{"a -> VICTIM"}, tmpfs("/a/b/c"), "VICTIM/b/c"},
		{"a relative link", []string{"a/b -> ../../../../../../../../VICTIM"}, tmpfs("/a/b"), "VICTIM"},
		{"a chain of links", []string{"a -> b", "b -> c/d", "c -> /e", "e -> VICTIM"}, tmpfs("/a/x"), "VICTIM/d/x"},
		{"dots in the destination", nil, tmpfs("/../../..VICTIM"), "VICTIM"},
		{"links in a circle", []string{"a -> b", "b -> a"}, tmpfs("/a"), ""},
		{"a file in the middle", []string{"a"}, tmpfs("/a/b"), ""},
		{"a magic link", []string{"a -> /proc/1/root/VICTIM"}, tmpfs("/a"), ""},
		{"/proc a link", []string{"proc -> dir", "dir/"}, specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"}, ""},
		{"/sys a link", []string{"sys -> dir", "dir/"}, specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs"}, ""},
		{"a link below /sys", []string{"sys/fs -> VICTIM"}, tmpfs("/sys/fs/cgroup"), ""},
		{"a link to /proc", []string{"data -> proc"}, tmpfs("/data"), ""},
		{"a link into /proc", []string{"data -> proc/sys"}, tmpfs("/data"), ""},
		{"something else as /proc", []string{"proc/"}, tmpfs("/proc"), ""},
		{"a file of the host", []string{"etc/resolv.conf -> VICTIM/file"},
			specs.Mount{Destination: "/etc/resolv.conf", Source: "/box/checks.test", Options: []string{"bind"}}, "VICTIM/file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !inNamespaces(t, 0) {
				return
			}
			victim := newRootfs(t, "dir/")
			before := tree(t, victim)
			for i, f := range test.image {
				test.image[i] = strings.ReplaceAll(f, "VICTIM", victim)
			}
			dir := newRootfs(t, test.image...)
			test.mount.Destination = strings.ReplaceAll(test.mount.Destination, "VICTIM", victim)
			r := openTestRootfs(t, dir, "")
			if test.mount.Destination != "/proc" {
				require.NoError(t, r.mountAll(withProc(), cgroup{}, true))
			}
			err := r.mountAll([]specs.Mount{test.mount}, cgroup{}, true)
			require.Empty(t, cmp.Diff(before, tree(t, victim)), "what lies outside")
			if test.at == "" {
				require.ErrorContains(t, err, "mount "+test.mount.Source+" on "+test.mount.Destination)
				return
			}
			require.NoError(t, err)
			at := dir + strings.ReplaceAll(test.at, "VICTIM", victim)
			require.NotEmpty(t, mountOf(t, at), "%s among\n%s", at, strings.Join(mountinfo(t), "\n"))
		})
	}
}

// tree lists what is in dir.
func tree(t *testing.T, dir string) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		info, infoErr := d.Info()
		list = append(list, fmt.Sprint(path, info.Mode(), info.Size()))
		return errors.Join(err, infoErr)
	}))
	return list
}

func TestPivotLeavesTheHostBehind(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags uintptr
		prop  string
	}{{"root", 0, ""}, {"shared", 0, "shared"}, {"slave", 0, "rslave"}, {"private", 0, "private"}, {"unbindable", 0, "unbindable"}, {"user namespace", syscall.CLONE_NEWUSER, ""}} {
		t.Run(test.name, func(t *testing.T) {
			userns := test.flags != 0
			if userns && os.Getenv("MOUNT_TEST") == "" {
				require.NoError(t, os.MkdirAll("/box/mounttest", 0o777))
				require.NoError(t, os.Chmod("/box/mounttest", 0o777))
			}
			if !inNamespaces(t, test.flags) {
				return
			}
			s := &specs.Spec{
				Root:   &specs.Root{Readonly: true},
				Mounts: defaultSpec(nil).Mounts,
				Linux: &specs.Linux{RootfsPropagation: test.prop, MaskedPaths: defaultSpec(nil).Linux.MaskedPaths, ReadonlyPaths: defaultSpec(nil).Linux.ReadonlyPaths,
					Sysctl:     map[string]string{"net.ipv4.ip_default_ttl": "33", "kernel/domainname": "domain", "kernel.shmmni": "17"},
					Namespaces: []specs.LinuxNamespace{{Type: "network"}, {Type: "uts"}, {Type: "ipc"}}},
			}
			if userns {
				// Files of the host's root: shmmni until Linux 6.6.
				delete(s.Linux.Sysctl, "kernel.shmmni")
				delete(s.Linux.Sysctl, "kernel/domainname")
			}
			enter(t, newRootfs(t, "inside"), s, userns)
			entries, err := os.ReadDir("/..")
			require.NoError(t, err)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			require.Equal(t, []string{"dev", "inside", "proc", "sys", "tmp"}, names)
			lines := mountinfo(t)
			t.Log(strings.Join(lines, "\n"))
			for _, l := range lines {
				require.NotContains(t, l, "/box")
			}
			root := strings.Replace(mountLine(t, "/"), ",relatime", "", 1) // which an initramfs has not
			require.Contains(t, root, map[string]string{"": "/ ro - ", "shared": "/ ro shared:", "rslave": "/ ro master:",
				"private": "/ ro - ", "unbindable": "/ ro unbindable - "}[test.prop])
			require.ErrorIs(t, os.WriteFile("/file", nil, 0o666), unix.EROFS)
			require.ErrorIs(t, os.WriteFile("/proc/sys/net/ipv4/ip_default_ttl", []byte("1"), 0), unix.EROFS)
			ttl, err := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
			require.NoError(t, err)
			require.Equal(t, "33\n", string(ttl))
			masked, err := os.ReadFile("/proc/timer_list")
			require.NoError(t, err)
			require.Empty(t, masked)
			require.Contains(t, mountLine(t, "/sys/firmware"), "/sys/firmware ro,nosuid,nodev,noexec,relatime - tmpfs")
			for _, d := range defaultDevices() {
				var stat unix.Stat_t
				require.NoError(t, unix.Lstat(d.Path, &stat))
				require.Equal(t, unix.Mkdev(uint32(d.Major), uint32(d.Minor)), stat.Rdev, d.Path)
				require.EqualValues(t, unix.S_IFCHR|0o666, stat.Mode, d.Path)
			}
			link, err := os.Readlink("/dev/ptmx")
			require.NoError(t, err)
			require.Equal(t, "pts/ptmx", link)
			require.NoError(t, chdirInside("tmp/new/dir"))
			dir, err := os.Getwd()
			require.NoError(t, err)
			require.Equal(t, "/tmp/new/dir", dir)
		})
	}
}
