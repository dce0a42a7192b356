package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// boxNamespaces are what a box has of its own.
const boxNamespaces = unix.CLONE_NEWNS | // its mounts
	unix.CLONE_NEWUTS | // its host name
	unix.CLONE_NEWPID | // its processes, which end with its process 1
	unix.CLONE_NEWIPC |
	unix.CLONE_NEWNET // its links, routes and firewall

// A boxMachine makes a box for every job.
type boxMachine struct {
	spec   Spec
	root   string // the tree that machineRoot prepared
	userns bool
	warned bool // that the box has no cgroups of its own
}

// An order is what the launcher tells process 1 of a box.
type order struct {
	Job  Job
	Root string // the tree that becomes /

	Cgroups []hierarchy // the trees of which it has a part of its own, none: no cgroups
}

// startBox prepares the root tree; the box itself is made by Run.
func startBox(place string, spec Spec) (Machine, error) {
	if place == "host" && os.Geteuid() != 0 {
		return nil, errors.New("make a host sandbox: needs root")
	}
	root, err := machineRoot()
	if err != nil {
		return nil, err
	}
	return &boxMachine{spec: spec, root: root, userns: place == "user"}, nil
}

// Close has nothing to do: a box ends with its job.
func (m *boxMachine) Close() error { return nil }

// Run makes a box, runs job in it and fetches /out.
//
// Process 1 of the box reads its order from a pipe and stays until the
// launcher's end of that pipe is closed. So the box lives as long as /out is
// read, and ends with the launcher, however that dies: no Pdeathsig is needed,
// which would fire when a thread of the Go runtime ends, see prctl(2).
func (m *boxMachine) Run(job Job) (int, error) {
	if len(job.Args) == 0 {
		return 0, errors.New("run a job in a box: it names no program")
	}
	if job.Timeout == 0 {
		job.Timeout = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), job.Timeout)
	defer cancel()

	orders, lifeline, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer lifeline.Close()
	reports, reporter, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer reports.Close()

	cgroups := m.cgroups()
	defer cgroups.remove()
	cmd := m.command(ctx, job, orders, reporter)
	cmd.Args = append(cmd.Args, cgroups.directories()...)
	if job.TTY {
		defer keepTerminal(job.Stdin)()
	}
	err = cmd.Start()
	orders.Close()
	reporter.Close()
	if err != nil {
		return 0, fmt.Errorf("make the box's namespaces: %w", err)
	}

	status, err := attend(cmd.Process.Pid, order{job, m.root, cgroups.trees}, lifeline, reports)
	lifeline.Close()
	_ = cmd.Wait() // no news in its status: the report has the job's
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%s: killed after %v", strings.Join(job.Args, " "), job.Timeout)
	}
	return status, err
}

// cgroups makes the box's own, or says why it has none: a box is still of use
// without. An ordinary user can make none, as a rule.
func (m *boxMachine) cgroups() *boxCgroups {
	if m.userns {
		return &boxCgroups{}
	}
	c, err := makeCgroups()
	if err == nil {
		return c
	}
	if !m.warned && m.spec.Log != nil {
		fmt.Fprintln(m.spec.Log, "the sandbox has no cgroups of its own:", err)
	}
	m.warned = true
	return &boxCgroups{}
}

// command is process 1 of the box: the harness's own executable once more. The
// job's streams are its own, passed straight through; exec.Cmd makes a pipe and
// copies only where a writer is not a file.
func (m *boxMachine) command(ctx context.Context, job Job, orders, reporter *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.spec.Self, "guest-box")
	cmd.Env = []string{}  // nil would mean the host's
	if job.Stdin != nil { // a nil *os.File in an io.Reader is not nil
		cmd.Stdin = job.Stdin
	}
	cmd.Stdout, cmd.Stderr = job.Stdout, job.Stderr
	cmd.ExtraFiles = []*os.File{orders, reporter}
	cmd.WaitDelay = 2 * time.Second // for a stream that something outside holds open
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: boxNamespaces}
	if !m.userns {
		return cmd
	}
	// Root inside is the caller outside; more than one id needs privilege, see
	// user_namespaces(7).
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	return cmd
}

// attend gives process 1 its order, waits for its report and fetches /out.
func attend(pid int, o order, lifeline, reports *os.File) (int, error) {
	o.Job.Stdin, o.Job.Stdout, o.Job.Stderr = nil, nil, nil
	if err := json.NewEncoder(lifeline).Encode(o); err != nil {
		return 0, fmt.Errorf("tell the box its job: %w", err)
	}
	var r report
	if err := json.NewDecoder(reports).Decode(&r); err != nil {
		return 0, fmt.Errorf("process 1 of the box ended without a report: %w", err)
	}
	if err := r.err(); err != nil {
		return 0, err
	}
	if o.Job.Out != "" {
		if err := fetchOut(pid, o.Job.Out); err != nil {
			return 0, fmt.Errorf("fetch /out: %w", err)
		}
	}
	return r.Status, nil
}

// fetchOut copies /out of the box whose process 1 is pid to dir. What root
// copies is given to dir's owner, who may have used sudo for the launcher only.
func fetchOut(pid int, dir string) error {
	root, err := os.OpenRoot(filepath.Join("/proc", strconv.Itoa(pid), "root"))
	if err != nil {
		return err
	}
	defer root.Close()
	out, err := root.OpenRoot("out") // a link to a place outside is refused
	if err != nil {
		return err
	}
	defer out.Close()
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := copyTree(to, ".", out.FS()); err != nil {
		return err
	}
	return giveTo(dir, dir)
}

// keepTerminal makes the launcher survive a Ctrl-C meant for the job, and
// returns what takes the terminal back: an interactive shell makes itself the
// foreground process group, and in its PID namespace it cannot know whom to
// give that back to; the next reader would get EIO, see tcsetpgrp(3).
func keepTerminal(tty *os.File) (restore func()) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGINT, unix.SIGQUIT) // Ignore would be inherited by the job
	return func() {
		signal.Stop(ignored)
		group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
		if err != nil || unix.Kill(-group, 0) != unix.ESRCH {
			return // somebody has it
		}
		signal.Ignore(unix.SIGTTOU) // or the next line stops us
		_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
		signal.Reset(unix.SIGTTOU)
	}
}

// tryBox runs a shell that does nothing in a real box, and collects what
// explains a failure.
func tryBox(place string, spec Spec) facts {
	f := facts{place: place, spec: spec, root: os.Geteuid() == 0}
	if place == "host" && !f.root {
		return f
	}
	spec.Log = nil // what is missing is told by the machine that is used
	m, err := startBox(place, spec)
	if err != nil {
		f.err = err // no room in the cache, no shell: the kernel has not been asked
		return f
	}
	defer m.Close()
	status, err := m.Run(Job{Args: []string{"/bin/sh", "-c", ":"}, Timeout: checkTime})
	if err == nil && status != 0 {
		err = fmt.Errorf("sh -c : in a box ended with status %d", status)
	}
	f.err, f.refused = err, refused(err)
	if f.err == nil {
		return f
	}
	f.usernsClone = readLine("/proc/sys/kernel/unprivileged_userns_clone")
	f.maxUserns = readLine("/proc/sys/user/max_user_namespaces")
	f.apparmor = readLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	f.maskedProc = procIsMasked()
	f.withoutAdmin = f.root && !hasSysAdmin()
	f.insideAnother = isContainer()
	return f
}

// readLine returns the text of a small file, "" when there is none.
func readLine(file string) string {
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}

// procIsMasked tells whether anything is mounted below /proc that hides a part
// of it; only binfmt_misc may be, for its directory is always empty.
func procIsMasked() bool {
	mounts, _ := probe.Mounts()
	return slices.ContainsFunc(mounts, func(m probe.Mount) bool {
		return strings.HasPrefix(m.Target, "/proc/") && m.Target != "/proc/sys/fs/binfmt_misc"
	})
}

// hasSysAdmin reads the effective capabilities, see capabilities(7).
func hasSysAdmin() bool {
	status, _ := os.ReadFile("/proc/self/status")
	_, caps, _ := strings.Cut(string(status), "CapEff:\t")
	caps, _, _ = strings.Cut(caps, "\n")
	set, err := strconv.ParseUint(caps, 16, 64)
	return err == nil && set&(1<<unix.CAP_SYS_ADMIN) != 0
}

// isContainer knows the marks that docker and podman leave.
func isContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}
