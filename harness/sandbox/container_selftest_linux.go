package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfTest tries, as process 1, what jobs will do. Engines promise little
// about it: what --privileged gives depends on what the engine itself has.
func selfTest() error {
	for _, test := range []struct {
		act string
		run func() error
	}{
		{"mount an overlay over /", tryOverlay},
		{"make UTS, PID and mount namespaces", tryNamespaces},
		{"make a cgroup", tryCgroup},
	} {
		if err := test.run(); err != nil {
			return fmt.Errorf("%s: %w", test.act, err)
		}
	}
	return nil
}

// tryOverlay mounts an overlay with / below and a tmpfs above.
func tryOverlay() error {
	dir, err := os.MkdirTemp("/tmp", "selftest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	merged := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}

// tryNamespaces runs guestChild in fresh namespaces.
func tryNamespaces() error {
	cmd := exec.Command("/proc/self/exe", "guest-container", "child")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w %s", err, out)
	}
	return nil
}

// guestChild runs in its own namespaces, where it may change the host name
// and mount its own /proc.
func guestChild() int {
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
		unix.Sethostname([]byte("selftest")),
		unix.Mount("proc", "/proc", "proc", 0, ""),
	)
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return 1
	}
	return 0
}

// tryCgroup makes and removes a cgroup, in each of version 1's trees that a
// step limits something with, or in version 2's only one.
func tryCgroup() error {
	trees := []string{"memory", "pids", "cpu"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		trees = []string{"."}
	}
	for _, tree := range trees {
		dir := filepath.Join("/sys/fs/cgroup", tree, "selftest")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}
