package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// jobEnd is where a job's first process leaves its report for process 1.
const jobEnd = "/.job"

// GuestContainer is the part of the harness that runs inside a container:
// without arguments as process 1, with "job" as the first process of a job.
func GuestContainer(args []string) int {
	switch {
	case len(args) == 0:
		return guestInit(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "job":
		return guestRun(args[1])
	case len(args) == 1 && args[0] == "child":
		return guestChild()
	}
	fmt.Fprintf(os.Stderr, "guest-container: do not know %q\n", args)
	return 125
}

// guestInit serves jobs until the launcher closes stdin.
func guestInit(stdin io.Reader, stdout io.Writer) int {
	in, out := bufio.NewReader(stdin), json.NewEncoder(stdout)
	err := prepareContainer()
	if err == nil {
		err = selfTest()
	}
	if err != nil {
		_ = out.Encode(guestReport{Err: err.Error()})
		return 125
	}
	go reap()
	_ = out.Encode(guestReport{})
	for {
		if _, err := in.Peek(1); err != nil {
			return 0
		}
		if err := serveJob(in, stdout, out); err != nil {
			_ = out.Encode(guestReport{Err: err.Error()})
			return 125
		}
	}
}

// serveJob does process 1's share of one job, see guestReport.
func serveJob(in *bufio.Reader, stdout io.Writer, out *json.Encoder) error {
	if err := unpackTar(in, "/", true); err != nil {
		return err
	}
	if err := out.Encode(guestReport{}); err != nil {
		return err
	}
	if _, err := in.ReadByte(); err != nil {
		return err
	}
	if err := killRest(); err != nil {
		return err
	}
	var report guestReport
	if data, err := os.ReadFile(jobEnd); err == nil {
		if err := json.Unmarshal(data, &report); err != nil {
			return err
		}
		os.Remove(jobEnd)
	}
	if err := out.Encode(report); err != nil || report.Err != "" {
		return err
	}
	if err := packTar(stdout, map[string]string{"/": "/out"}); err != nil {
		return err
	}
	left, err := filepath.Glob("/out/*")
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// guestRun starts a job's program, waits for it, and ends what it left: the
// engine's exec would wait for a process that still holds stdout.
func guestRun(encoded string) int {
	// Ctrl-C and a hang-up are for the program. Caught, not ignored: what is
	// ignored stays so across exec, see signal(7).
	signal.Notify(make(chan os.Signal, 8), unix.SIGINT, unix.SIGQUIT, unix.SIGHUP)
	// What process 1 finds if the program kills every process, this one too.
	report := guestReport{Ran: true, Status: 128 + int(unix.SIGKILL)}
	err := writeJobEnd(report)
	if err == nil {
		report, err = runGuestJob(encoded)
	}
	if err != nil {
		report = guestReport{Err: err.Error()}
	}
	if err := writeJobEnd(report); err != nil {
		fmt.Fprintln(os.Stderr, "guest-container:", err)
		return 125
	}
	_ = killRest()
	return report.Status
}

// writeJobEnd tells process 1 how the job ended.
func writeJobEnd(report guestReport) error {
	data, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return os.WriteFile(jobEnd, data, 0o600)
}

// runGuestJob runs the program in the environment that the launcher named,
// and no other.
func runGuestJob(encoded string) (r guestReport, err error) {
	var job guestJob
	if err := json.Unmarshal([]byte(encoded), &job); err != nil {
		return r, err
	}
	if job.Dir == "" {
		job.Dir = "/"
	}
	if err := os.MkdirAll(job.Dir, 0o755); err != nil {
		return r, err
	}
	cmd := &exec.Cmd{
		Path: job.Args[0], Args: job.Args, Dir: job.Dir,
		Env:   append(job.Env, cgroupVariable+cgroupMode()),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if job.TTY {
		// This process leads the session that the engine made for the
		// terminal. It lets go, so that the program can lead its own, as it
		// does in every other sandbox.
		if err := unix.IoctlSetInt(0, unix.TIOCNOTTY, 0); err != nil {
			return r, fmt.Errorf("give up the terminal: %w", err)
		}
		cmd.SysProcAttr.Setctty = true
	}
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return r, fmt.Errorf("start the program: %w", err)
	}
	r.Ran = true
	r.Status = cmd.ProcessState.ExitCode()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		r.Status = 128 + int(ws.Signal())
	}
	return r, nil
}

// killRest kills every process but the caller and process 1, and waits until
// they are gone: kill(-1) fails with ESRCH when it finds nobody, see kill(2).
func killRest() error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Kill(-1, unix.SIGKILL)
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("kill what the job left: still there after 5 s (%v)", err)
		}
	}
}

// reap is process 1's duty to orphans: without it they stay as zombies, and
// a job that looks for processes left behind finds them.
func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}

// prepareContainer takes away what the engine put over the machine: files
// bound over /etc, masks over /proc and /sys, read-only flags.
func prepareContainer() error {
	// Docker leaves / a slave of the host's: no mount may come from there.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := unmountMasks(); err != nil {
		return err
	}
	if err := remountWritable(); err != nil {
		return err
	}
	// An overlay's upper directory cannot be on the overlay that the engine
	// made of /: EINVAL.
	for _, dir := range []string{"/tmp", "/run"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	if err := os.Chmod("/", 0o755); err != nil { // podman makes it 0555
		return err
	}
	if err := finishMachine(); err != nil {
		return err
	}
	return delegateCgroup("/sys/fs/cgroup")
}

// unmountMasks unmounts everything that a plain machine does not have. A
// masked /proc also keeps a user namespace from mounting its own, see
// mount_too_revealing in the kernel's fs/namespace.c.
func unmountMasks() error {
	keep := []string{"/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", selfInside}
	mounts, err := probe.Mounts()
	if err != nil {
		return err
	}
	for i := len(mounts) - 1; i >= 0; i-- { // the last mount is the topmost
		m := mounts[i]
		if slices.Contains(keep, m.Target) || m.Target == "/sys/fs/cgroup" || strings.HasPrefix(m.Target, "/sys/fs/cgroup/") {
			continue
		}
		if err := unix.Unmount(m.Target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", m.Target, err)
		}
	}
	return nil
}

// remountWritable makes /proc, /sys and the cgroup tree writable. A mount can
// be read-only by itself (a bind) or by its file system; each has its own
// remount, see mount(2).
func remountWritable() error {
	mounts, err := probe.Mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.Target+"/", "/proc/") && !strings.HasPrefix(m.Target+"/", "/sys/") {
			continue
		}
		const flags = unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		mountReadOnly, filesystemReadOnly := m.ReadOnly()
		if filesystemReadOnly {
			if err := unix.Mount("", m.Target, "", flags, ""); err != nil {
				return fmt.Errorf("remount %s writable: %w", m.Target, err)
			}
		}
		if mountReadOnly {
			if err := unix.Mount("", m.Target, "", flags|unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("remount %s writable: %w", m.Target, err)
			}
		}
	}
	return nil
}

// delegateCgroup moves this process into a leaf of the machine's own cgroup and
// hands every controller down. Version 2 alone needs it: a cgroup other than
// the real root cannot have both processes and controllers for its children,
// EBUSY, see "no internal processes" in cgroups(7).
func delegateCgroup(root string) error {
	if !isCgroup2(root) {
		return nil
	}
	leaf := filepath.Join(root, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	if err := writeCgroup(filepath.Join(leaf, "cgroup.procs"), "0"); err != nil {
		return err
	}
	names, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(names)) {
		// One that cannot be had (a real-time process holds cpu) must not
		// cost the others.
		_ = writeCgroup(filepath.Join(root, "cgroup.subtree_control"), "+"+name)
	}
	return nil
}
