package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"containers-from-scratch/harness/internal/process1"

	"golang.org/x/sys/unix"
)

// finishMachine gives every machine the same shape, whatever made it: call it
// as process 1, once / is the machine's own root and /proc, /sys and /dev are
// mounted.
func finishMachine() error {
	// systemd makes / shared; a program that forgets to make its mounts
	// private is only caught where it does harm, see mount_namespaces(7).
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / shared: %w", err)
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	if err := process1.UpLoopback(); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
	} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for dir, mode := range map[string]os.FileMode{
		"/tmp": 0o777 | os.ModeSticky, "/root": 0o700, "/run": 0o755, "/out": 0o755, "/box": 0o755,
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// runAsInit starts cmd, reaps every process of the machine until cmd itself
// ends, then kills what is left. It returns cmd's status, 128+n when signal n
// killed it. Only process 1 may call it: kill(-1) spares nobody else.
func runAsInit(cmd *exec.Cmd) (status int, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if status, err = process1.Await(cmd.Process.Pid); err != nil {
		return 0, fmt.Errorf("wait for %s: %w", cmd.Path, err)
	}
	_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: nobody is left, as it should be
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); errors.Is(err, syscall.ECHILD) {
			return status, nil
		}
	}
}
