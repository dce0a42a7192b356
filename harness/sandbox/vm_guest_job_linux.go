package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"containers-from-scratch/harness/internal/pty"
	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// A guest is process 1 after the machine is made.
type guest struct {
	ports  map[string]*os.File
	say    *json.Encoder
	jobs   chan *vmJob
	mounts map[int]string // IDs and mount points of a fresh machine
	cgroup string         // "v2", "v1" or "hybrid"
	input  chan struct{}  // closed when the last job's stdin was read to its end

	mu  sync.Mutex
	tty *os.File // the running job's terminal, its master end
}

// serve runs jobs until the machine fails. The host then has a second to read
// the reason; a host that is stuck in the middle of a tar wakes up when the
// machine ends.
func (g *guest) serve() error {
	var last *vmJob
	for job := range g.jobs {
		err := g.reset(last)
		if err == nil {
			err = g.serveJob(job)
		}
		if err != nil {
			if g.say.Encode(fromGuest{Error: err.Error()}) == nil {
				time.Sleep(time.Second)
			}
			return err
		}
		last = job
	}
	return nil
}

// serveJob takes a job's files, runs it, and answers.
func (g *guest) serveJob(job *vmJob) error {
	files := bufio.NewReaderSize(g.ports["files"], 256<<10)
	if err := unpackTar(files, "/", true); err != nil {
		return fmt.Errorf("copy into the VM: %w", err)
	}
	status, err := g.runJob(job)
	if err != nil {
		return err
	}
	if err := g.say.Encode(fromGuest{Status: &status}); err != nil {
		return err
	}
	if job.Stdin || job.TTY != nil {
		<-g.input // the host ends it once it knows the status
	}
	if !job.Out {
		return nil
	}
	w := bufio.NewWriterSize(g.ports["files"], 32<<10)
	return errors.Join(packTar(w, map[string]string{"/": "/out"}), w.Flush())
}

// runJob runs the program and returns when all that it wrote is with the host
// and no process of it is left. The program gets pipes, not the ports: a port
// can be opened only once, and "echo >/dev/stderr" opens it again.
func (g *guest) runJob(job *vmJob) (status int, err error) {
	cmd := &exec.Cmd{Path: job.Args[0], Args: job.Args, Dir: job.Dir}
	cmd.Env = append(job.Env, cgroupVariable+g.cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if job.Dir != "" {
		if err := os.MkdirAll(job.Dir, 0o755); err != nil {
			return 0, err
		}
	}
	var s guestStreams
	if job.TTY != nil {
		err = s.terminal(g, cmd, *job.TTY)
	} else {
		err = s.pipes(g, cmd, job.Stdin)
	}
	if err != nil {
		return 0, fmt.Errorf("make the job's streams: %w", err)
	}
	status, err = runAsInit(cmd)
	g.setTTY(nil)
	s.end()

	errs := &frameWriter{w: g.ports["err"]}
	if err != nil { // as a shell would: not there, or not to be executed
		status = 126
		if errors.Is(err, fs.ErrNotExist) {
			status = 127
		}
		fmt.Fprintf(errs, "sandbox: %v\n", err)
	}
	return status, errors.Join((&frameWriter{w: g.ports["out"]}).Close(), errs.Close())
}

// guestStreams copies between a job and the ports.
type guestStreams struct {
	theirs []io.Closer // the job's ends: while they are open here too, nothing ends
	output sync.WaitGroup
	ours   []io.Closer
}

// end waits until all output is on its way. The job is dead by now.
func (s *guestStreams) end() {
	for _, f := range s.theirs {
		f.Close()
	}
	s.output.Wait()
	for _, f := range s.ours {
		f.Close()
	}
}

// pipes gives cmd a pipe for each stream.
func (s *guestStreams) pipes(g *guest, cmd *exec.Cmd, stdin bool) error {
	for _, p := range []struct {
		port string
		set  func(*os.File)
	}{
		{"out", func(f *os.File) { cmd.Stdout = f }},
		{"err", func(f *os.File) { cmd.Stderr = f }},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		p.set(w)
		s.theirs = append(s.theirs, w)
		s.copyOut(g.ports[p.port], r)
	}
	if !stdin {
		return nil // exec opens /dev/null
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin = r
	s.theirs = append(s.theirs, r)
	g.copyIn(w)
	return nil
}

// terminal gives cmd a pseudoterminal of its own, see pty(7), that the host's
// terminal is joined to.
func (s *guestStreams) terminal(g *guest, cmd *exec.Cmd, size vmSize) error {
	ptmx, tty, err := pty.Open(size.Rows, size.Cols)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr.Setctty = true
	s.theirs = append(s.theirs, tty)
	s.copyOut(g.ports["out"], ptmx)
	g.copyIn(ptmx)
	g.setTTY(ptmx)
	return nil
}

// setTTY says which terminal resize is for.
func (g *guest) setTTY(ptmx *os.File) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tty = ptmx
}

// copyOut copies a stream to the host. A pipe ends with end-of-file, a
// terminal with EIO, both when the last writer is gone and all is read.
func (s *guestStreams) copyOut(port, r *os.File) {
	s.ours = append(s.ours, r)
	s.output.Go(func() { _, _ = io.Copy(&frameWriter{w: port}, onlyReader{r}) })
}

// onlyReader hides the other methods of a file, or io.Copy would choose a
// path that takes what it can get in one go and reads no further.
type onlyReader struct{ io.Reader }

// copyIn copies the host's stdin to the job. The host ends it, at the latest
// when the job has ended; a job that reads no more does not stop it.
func (g *guest) copyIn(w *os.File) {
	g.input = make(chan struct{})
	go func() {
		defer close(g.input)
		_ = copyFrames(w, g.ports["in"])
		w.Close()
	}()
}

// resize tells the job's terminal its size; the kernel sends SIGWINCH.
func (g *guest) resize(size vmSize) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tty != nil {
		_ = pty.Resize(g.tty, size.Rows, size.Cols)
	}
}

// reset takes back what is cheap to take back after a job: mounts, cgroups,
// network links, hostname, files. (Settings in /proc/sys, firewall rules and
// what it wrote elsewhere in the root stay: who needs a fresh machine starts
// one.) The processes are dead already, see runAsInit.
func (g *guest) reset(last *vmJob) error {
	if last == nil {
		return nil
	}
	now, err := mountIDs()
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(now))) {
		if _, ours := g.mounts[id]; !ours {
			_ = unix.Unmount(now[id], unix.MNT_DETACH) // it may have gone with another
		}
	}
	removeCgroups("/sys/fs/cgroup")
	if err := keepCgroups(g.cgroup); err != nil {
		return err
	}
	links, _ := filepath.Glob("/sys/class/net/*")
	for _, link := range links {
		if name := filepath.Base(link); name != "lo" {
			_ = exec.Command("/usr/bin/busybox", "ip", "link", "del", name).Run() // a veth's peer is gone already
		}
	}
	for _, path := range last.Paths {
		_ = os.RemoveAll(path)
	}
	for _, dir := range []string{"/out", "/tmp", "/run", "/root", "/box"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return finishMachine()
}

// mountIDs reads which mounts there are: their targets by their numbers.
func mountIDs() (map[int]string, error) {
	list, err := probe.Mounts()
	targets := map[int]string{}
	for _, m := range list {
		targets[m.ID] = m.Target
	}
	return targets, err
}

// removeCgroups removes all cgroups below root, the deepest first. A v1 tree's
// own root is busy, and stays.
func removeCgroups(root string) {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		_ = unix.Rmdir(dir)
	}
}
