package bench

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// config is what `runc spec` of runc 1.1 writes, without a terminal and with
// /bin/true: all runtimes read it, and none knows a shorter way.
//
//go:embed config.json
var config []byte

const (
	bundle  = "/box/bundle"
	busybox = "/box/busybox"
	unified = "/sys/fs/cgroup/unified"

	configFile = bundle + "/config.json"
)

// A Plan is what Guest is told.
type Plan struct {
	Peers  []Peer
	Rounds int
}

// Guest is called in a sandbox, as the one job there. It measures and writes
// each Sample to stdout, as JSON.
func Guest(args []string) error {
	var plan Plan
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &plan) != nil {
		return errors.New("usage: harness guest-bench PLAN")
	}
	if os.Getenv("SANDBOX_KIND") == "" {
		return errors.New("it measures in a sandbox only: make bench")
	}
	if err := makeBundle(); err != nil {
		return fmt.Errorf("make the bundle: %w", err)
	}
	// Where v2 is mounted beside v1, crun refuses to work. Without it, all have
	// the same v1.
	if err := unix.Unmount(unified, unix.MNT_DETACH); err == nil {
		fmt.Fprintln(os.Stderr, "hybrid cgroups: measured with v1 alone, because crun wants it so")
	} else {
		fmt.Fprintln(os.Stderr, "measured with cgroups", os.Getenv("SANDBOX_CGROUP"))
	}
	// The process of a container outlives the runtime, and becomes ours to wait
	// for, as it is an engine's shim's.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	results := json.NewEncoder(os.Stdout)
	fit, err := fitPeers(plan.Peers, results)
	if err != nil {
		return err
	}
	plan.Peers = fit
	for round := range plan.Rounds {
		for _, s := range scenarios {
			if round%s.share != 0 {
				continue
			}
			for i := range plan.Peers {
				p := plan.Peers[(round+i)%len(plan.Peers)] // none is always the first
				kind := p.kind(s)
				if kind == "" {
					continue
				}
				sample := Sample{Scenario: s.name, Peer: p.Name}
				value, err := measure(s.name, runner{p.Path, kind, fmt.Sprintf("bench-%d", round)})
				if sample.Value = value; err != nil {
					sample.Failed = err.Error()
				}
				if err := results.Encode(sample); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fitPeers leaves out, with a failed Sample, what does not run the command that
// it is to run: a program that does nothing would be the fastest.
func fitPeers(peers []Peer, results *json.Encoder) (fit []Peer, err error) {
	const proof = "it ran"
	text := strings.Replace(string(config), `"/bin/true"`, `"/bin/echo", "`+proof+`"`, 1)
	if err := os.WriteFile(configFile, []byte(text), 0o644); err != nil {
		return nil, err
	}
	for _, p := range peers {
		ok := true
		for _, kind := range p.Kinds {
			cmd := runner{p.Path, kind, ""}.start("bench-proof")
			if kind != OCI {
				cmd.Args = append(cmd.Args[:len(cmd.Args)-1], "/bin/echo", proof)
			}
			out, err := cmd.Output() // a warning on stderr is no failure
			if strings.TrimSpace(string(out)) == proof && err == nil {
				continue
			}
			ok = false
			failed := fmt.Sprintf("%s says %q (%v), and not %q", strings.Join(cmd.Args, " "), out, err, proof)
			if err := results.Encode(Sample{Scenario: string(kind), Peer: p.Name, Failed: failed}); err != nil {
				return nil, err
			}
		}
		if ok {
			fit = append(fit, p)
		}
	}
	return fit, os.WriteFile(configFile, config, 0o644)
}

// kind is how p is called for a scenario, "" when it cannot be.
func (p Peer) kind(s scenario) Kind {
	for _, k := range p.Kinds {
		if slices.Contains(s.kinds, k) {
			return k
		}
	}
	return ""
}

// makeBundle makes a root filesystem of nothing but busybox, with config.
func makeBundle() error {
	root := filepath.Join(bundle, "rootfs")
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Rename(busybox, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	for _, name := range []string{"true", "echo", "sleep", "sh"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			return err
		}
	}
	return os.WriteFile(configFile, config, 0o644)
}

// A runner is one program, called in one way.
type runner struct {
	path string
	kind Kind
	id   string // of its containers
}

// start is the whole life of a container that runs /bin/true.
func (r runner) start(id string) *exec.Cmd {
	root := filepath.Join(bundle, "rootfs")
	switch r.kind {
	case Bwrap:
		return exec.Command(r.path, "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--unshare-net", "--unshare-cgroup",
			"--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true")
	case Unshare:
		return exec.Command(r.path, "--fork", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup",
			"--root="+root, "--mount-proc", "/bin/true")
	case Command:
		return exec.Command(r.path, "run", "/bin/true")
	}
	return exec.Command(r.path, "run", "--bundle", bundle, id)
}

// measure does one scenario once.
func measure(scenario string, r runner) (float64, error) {
	switch scenario {
	case "create+start+delete":
		return r.lifecycle()
	case "exec":
		return r.exec()
	case "peak memory":
		return r.memory()
	case "100 starts in a row":
		start := time.Now()
		for n := range 100 {
			if err := run(r.start(fmt.Sprintf("%s-%d", r.id, n))); err != nil {
				return 0, err
			}
		}
		return since(start), nil
	case "50 at once":
		return r.atOnce(50)
	}
	start := time.Now()
	err := run(r.start(r.id))
	return since(start), err
}

// since is in milliseconds.
func since(start time.Time) float64 { return float64(time.Since(start).Microseconds()) / 1000 }

// run runs a program to its end; what it said is the error's.
func run(cmd *exec.Cmd) error {
	said, err := os.CreateTemp("", "stderr") // a pipe would wait for a container that has it open
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(said.Name())
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(text)))
	}
	return nil
}

// lifecycle is what an engine does: three calls, and a wait in between.
func (r runner) lifecycle() (float64, error) {
	start := time.Now()
	pid, err := r.create(config)
	if err != nil {
		return 0, err
	}
	if err := run(exec.Command(r.path, "start", r.id)); err != nil {
		return 0, errors.Join(err, r.remove(pid))
	}
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		return 0, fmt.Errorf("wait for the container's process %d: %w", pid, err)
	}
	err = run(exec.Command(r.path, "delete", r.id))
	return since(start), err
}

// create makes a container and returns the number of its process.
func (r runner) create(config []byte) (pid int, err error) {
	if err := os.WriteFile(configFile, config, 0o644); err != nil {
		return 0, err
	}
	const file = "/box/pid"
	if err := run(exec.Command(r.path, "create", "--bundle", bundle, "--pid-file", file, r.id)); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// remove ends a container and reaps its process.
func (r runner) remove(pid int) error {
	err := run(exec.Command(r.path, "delete", "--force", r.id))
	_, _ = syscall.Wait4(pid, nil, 0, nil) // ECHILD: it was waited for
	return err
}

// exec measures one more process in a container that sleeps.
func (r runner) exec() (ms float64, err error) {
	sleeps := []byte(strings.Replace(string(config), `"/bin/true"`, `"/bin/sleep", "1000"`, 1))
	pid, err := r.create(sleeps)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, r.remove(pid), os.WriteFile(configFile, config, 0o644))
	}()
	if err := run(exec.Command(r.path, "start", r.id)); err != nil {
		return 0, err
	}
	start := time.Now()
	err = run(exec.Command(r.path, "exec", r.id, "/bin/true"))
	return since(start), err
}

// memory is the largest resident set, in MiB, of any process that a start took,
// see getrusage(2). A shell starts it: the maximum of a process begins with
// the size of the one that forked it, and this one is larger than what it
// measures.
func (r runner) memory() (float64, error) {
	cmd := r.start(r.id)
	line := []string{"-c", `"$@" >/dev/null 2>&1 & echo $!`, "sh"}
	out, err := exec.Command("/bin/sh", append(line, cmd.Args...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("start it by a shell: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return 0, err
	}
	var end syscall.WaitStatus
	var usage syscall.Rusage
	if _, err := syscall.Wait4(pid, &end, 0, &usage); err != nil { // a subreaper's right
		return 0, fmt.Errorf("wait for %s: %w", cmd.Path, err)
	}
	if end.ExitStatus() != 0 {
		return 0, fmt.Errorf("%s ended with status %d", strings.Join(cmd.Args, " "), end.ExitStatus())
	}
	return float64(usage.Maxrss) / 1024, nil
}

// atOnce starts n containers at the same time and waits for all.
func (r runner) atOnce(n int) (float64, error) {
	errs := make([]error, n)
	var group sync.WaitGroup
	start := time.Now()
	for i := range n {
		group.Go(func() { errs[i] = run(r.start(fmt.Sprintf("%s-%d", r.id, i))) })
	}
	group.Wait()
	ms := since(start)
	for _, err := range errs {
		if err != nil {
			return 0, err // the first is reason enough
		}
	}
	return ms, nil
}
