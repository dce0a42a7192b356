package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The pipes that the launcher gives to process 1 of a box, see boxMachine.Run.
const (
	ordersFd   = 3
	reporterFd = 4
)

// rootSize limits what a job can fill; the pages are taken only when written.
const rootSize = "1g"

// GuestBox is process 1 of a box. It turns the namespaces it finds itself in
// into a machine, runs the job, reports, and stays until the launcher has
// fetched /out; then the kernel kills what is left, see pid_namespaces(7).
func GuestBox(cgroups []string) {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest-box is process 1 of a box and nothing else")
		os.Exit(125)
	}
	reporter := json.NewEncoder(os.NewFile(reporterFd, "reports"))
	if len(cgroups) > 0 {
		_ = reporter.Encode(failure(enterCgroups(cgroups)))
		os.Exit(125)
	}
	closeOnExec()
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT) // Ctrl-C is the job's

	orders := os.NewFile(ordersFd, "orders")
	dec := json.NewDecoder(orders)
	var o order
	if err := dec.Decode(&o); err != nil {
		os.Exit(125) // the launcher died
	}
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(dec.Buffered(), orders))
		os.Exit(0) // nobody holds the other end of the lifeline any more
	}()

	r := report{}
	if status, err := boxJob(o); err != nil {
		r = failure(err)
	} else {
		r.Status = status
	}
	_ = reporter.Encode(r)
	select {} // until the goroutine above ends the box
}

// closeOnExec keeps the job's descriptors to 0, 1 and 2: make's job server and
// the two pipes are not its business.
func closeOnExec() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if n, err := strconv.Atoi(fd.Name()); err == nil && n > 2 {
			unix.CloseOnExec(n)
		}
	}
}

// boxJob makes the machine and runs the job in it.
func boxJob(o order) (status int, err error) {
	unix.Umask(0o022)          // not that of whoever called sudo
	_ = syscall.Setgroups(nil) // nor the groups; refused in a user namespace, and of no use there
	newRoot, err := mountRoot(o)
	if err != nil {
		return 0, err
	}
	if err := mountKernel(newRoot, o.Cgroups); err != nil {
		return 0, err
	}
	if err := pivotRoot(newRoot); err != nil {
		return 0, err
	}
	if err := finishMachine(); err != nil {
		return 0, err
	}
	cgroups := "none"
	if len(o.Cgroups) > 0 {
		cgroups = cgroupMode()
	}
	cmd := &exec.Cmd{
		Path: o.Job.Args[0], Args: o.Job.Args, Dir: filepath.Join("/", o.Job.Dir),
		Env:   append(o.Job.Env, cgroupVariable+cgroups),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		return 0, err
	}
	if status, err = runAsInit(cmd); err != nil {
		return 0, fmt.Errorf("run %s in the box: %w", cmd.Path, err)
	}
	return status, nil
}

// mountRoot mounts a tmpfs beside the prepared tree and copies the tree and the
// job's files into it. They must be real files on it: a container overlays its
// root over this one, and an overlay's lower layer ends where the next mount
// begins.
func mountRoot(o order) (newRoot string, err error) {
	// A machine's / is shared, and what is mounted here would appear there.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("make the mounts private: %w", err)
	}
	newRoot = mountPoint(o.Root)
	if err := unix.Mount("tmpfs", newRoot, "tmpfs", 0, "mode=755,size="+rootSize); err != nil {
		return "", fmt.Errorf("mount tmpfs on %s: %w", newRoot, err)
	}
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := copyIn(root, "/", o.Root); err != nil {
		return "", fmt.Errorf("copy the machine's programs: %w", err)
	}
	for at, src := range o.Job.Files {
		if err := copyIn(root, at, src); err != nil {
			return "", fmt.Errorf("copy %s to %s in the box: %w", src, at, err)
		}
	}
	for _, dir := range o.Job.Binds {
		if err := bindReadOnly(dir, filepath.Join(newRoot, dir)); err != nil {
			return "", err
		}
	}
	return newRoot, nil
}

// A mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// mountKernel mounts what the kernel has to offer. Call before pivotRoot: a
// user namespace gets a fresh proc or sysfs only while it sees a complete one,
// see user_namespaces(7).
//
// Nothing is covered or made read-only below /proc and /sys. From step 05 on a
// container makes a user namespace in the box, and the rule above would refuse
// it its proc. Nor would it help: a container from step 03 on mounts a fresh
// proc, on which nothing is covered.
func mountKernel(newRoot string, cgroups []hierarchy) error {
	const noexec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []mount{
		{"proc", "proc", "proc", noexec, ""},
		{"tmpfs", "dev", "tmpfs", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755,size=64k"},
		{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"},
		{"shm", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=64m"},
	} {
		target := filepath.Join(newRoot, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on /%s: %w", m.kind, m.target, err)
		}
	}
	if err := mountSys(filepath.Join(newRoot, "sys"), noexec); err != nil {
		return err
	}
	if err := mountCgroupTree(filepath.Join(newRoot, cgroupRoot), cgroups); err != nil {
		return err
	}
	return bindDevices(filepath.Join(newRoot, "dev"))
}

// mountSys mounts a sysfs of the box's own links at sys, or, where the kernel
// refuses one because the machine's is masked, the machine's.
func mountSys(sys string, flags uintptr) error {
	if err := os.MkdirAll(sys, 0o755); err != nil {
		return err
	}
	err := unix.Mount("sysfs", sys, "sysfs", flags, "")
	if errors.Is(err, unix.EPERM) {
		return bind("/sys", sys)
	}
	if err != nil {
		return fmt.Errorf("mount sysfs on /sys: %w", err)
	}
	return nil
}

// mountCgroupTree mounts the box's own cgroups at dir. A box without any shows
// the machine's, read-only: they are none of its business.
func mountCgroupTree(dir string, own []hierarchy) error {
	if len(own) > 0 {
		return mountOwnCgroups(dir, own)
	}
	err := bindReadOnly(cgroupRoot, dir)
	if errors.Is(err, unix.ENOENT) {
		return nil // a kernel without cgroups
	}
	return err
}

// bindDevices gives the box the harmless devices, by binding: mknod(2) is not
// for user namespaces.
func bindDevices(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		target := filepath.Join(dev, name)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		if err := bind("/dev/"+name, target); err != nil {
			return err
		}
	}
	return os.Symlink("pts/ptmx", filepath.Join(dev, "ptmx"))
}

// bind shows source and all that is mounted below it at target.
func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", source, err)
	}
	return nil
}

// bindReadOnly is bind for what a job must not change.
func bindReadOnly(source, target string) error {
	if err := bind(source, target); err != nil {
		return err
	}
	// MS_RDONLY with MS_BIND changes one mount only, and these may be several.
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, readOnly); err != nil {
		return fmt.Errorf("make %s read-only: %w", source, err)
	}
	return nil
}

// pivotRoot makes newRoot the root and drops the old one, with the host's files
// and mounts. Both names being "." puts the old root on top of the new, so that
// no directory for it is needed, see pivot_root(2).
func pivotRoot(newRoot string) error {
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("chdir to %s: %w", newRoot, err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root to %s: %w", newRoot, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}
