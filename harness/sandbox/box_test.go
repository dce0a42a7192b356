package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFindingSaysWhyABoxCannotBeMadeAndWhatMendsIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere every box needs Linux")
	}
	no := fmt.Errorf("make the box's namespaces: %w", syscall.EPERM)
	for name, c := range map[string]struct {
		facts facts
		want  Finding
	}{
		"host works": {
			facts{place: "host", root: true},
			Finding{OK: true, Reason: "namespaces on this machine, as root"},
		},
		"user works, whatever the settings": {
			facts{place: "user", apparmor: "1"},
			Finding{OK: true, Reason: "a user namespace on this machine, without root"},
		},
		"host without root": {
			facts{place: "host"},
			Finding{Reason: "needs root", Fix: "sudo -v && make test SANDBOX=host"},
		},
		"another architecture": {
			facts{place: "user", spec: Spec{Arch: "s390x"}},
			Finding{Reason: "this machine is " + runtime.GOARCH, Fix: "make test SANDBOX=vm ARCH=s390x"},
		},
		"other cgroups": {
			facts{place: "host", root: true, spec: Spec{Cgroup: "v1"}},
			Finding{Reason: "has the cgroups this machine has", Fix: "make test SANDBOX=vm CGROUP=v1"},
		},
		"Debian before 11": {
			facts{place: "user", err: no, refused: true, usernsClone: "0"},
			Finding{Reason: "user namespaces are for root only here", Fix: "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		},
		"no user namespaces at all": {
			facts{place: "user", err: fmt.Errorf("clone: %w", syscall.ENOSPC), refused: true, maxUserns: "0"},
			Finding{Reason: "user namespaces are switched off", Fix: "sudo sysctl -w user.max_user_namespaces=10000"},
		},
		"Ubuntu from 23.10": {
			facts{place: "user", err: guestError(failure(no)), refused: true, apparmor: "1", usernsClone: "1"},
			Finding{Reason: "AppArmor restricts user namespaces", Fix: "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		},
		"a masked proc": {
			facts{place: "user", err: no, refused: true, maskedProc: true, insideAnother: true},
			Finding{Reason: "parts of /proc are masked, so the kernel refuses a fresh one", Fix: freshContainer},
		},
		"root of a container": {
			facts{place: "host", root: true, err: no, refused: true, withoutAdmin: true, maskedProc: true},
			Finding{Reason: "root without CAP_SYS_ADMIN, as in an unprivileged container", Fix: freshContainer},
		},
		"a full disk is not AppArmor's doing": {
			facts{place: "user", err: errors.New("write: no space"), apparmor: "1", insideAnother: true},
			Finding{Reason: "write: no space"},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, explain(c.facts)) })
	}
}

func TestAnErrnoSurvivesTheReport(t *testing.T) {
	err := failure(fmt.Errorf("mount proc: %w", syscall.EACCES)).err()
	require.EqualError(t, err, "mount proc: permission denied")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.NotErrorIs(t, failure(errors.New("odd")).err(), fs.ErrPermission)
	require.NoError(t, report{Status: 7}.err())
}

func TestACopyKeepsWhatItShouldAndNoMore(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(src, "d/empty"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "d/run"), []byte("x"), 0o700))
	require.NoError(t, os.Chmod(filepath.Join(src, "d/run"), 0o751|fs.ModeSetuid))
	require.NoError(t, os.Symlink("/etc/shadow", filepath.Join(src, "d/link")))
	require.NoError(t, os.WriteFile(filepath.Join(dst, "run"), []byte("older and longer"), 0o400))

	root, err := os.OpenRoot(dst)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, copyIn(root, "/", filepath.Join(src, "d")))
	require.NoError(t, copyIn(root, "/a/b/file", filepath.Join(src, "d/run")))

	for _, file := range []string{"run", "a/b/file"} {
		info, err := root.Lstat(file)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o751), info.Mode(), file)
		require.EqualValues(t, 1, info.Size(), file)
	}
	target, err := root.Readlink("link")
	require.NoError(t, err)
	require.Equal(t, "/etc/shadow", target)
	require.DirExists(t, filepath.Join(dst, "empty"))
}

func TestACopyDoesNotLeaveItsRoot(t *testing.T) {
	src, dst, outside := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(src, "evil"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "evil/file"), nil, 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(dst, "evil")))

	root, err := os.OpenRoot(dst)
	require.NoError(t, err)
	defer root.Close()
	require.Error(t, copyTree(root, ".", os.DirFS(src)))
	require.NoFileExists(t, filepath.Join(outside, "file"))
}
