package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"

	"containers-from-scratch/harness/sandbox"
)

// A booking is a machine that is being made while the programs for it are
// compiled, or several that are alike.
type booking struct {
	ready    chan struct{}
	log      io.Writer // takes lines that say what is made, and why
	atMost   int       // how many
	kind     string
	machines []sandbox.Machine
	err      error
}

// book starts to make the machine that the environment asks for, and says on
// stderr which one it is and why. Of machines that can share the tests it makes up
// to atMost, see sharing.
func book(atMost int) *booking { return bookFor(os.Stderr, atMost) }

// bookFor is book for who reads stderr elsewhere.
func bookFor(log io.Writer, atMost int) *booking {
	b := &booking{ready: make(chan struct{}), log: log, atMost: atMost}
	go func() {
		defer close(b.ready)
		if needsSudo() {
			return
		}
		s := spec()
		s.Log = b.log
		if b.err = known(s); b.err != nil {
			return
		}
		place, finding, err := sandbox.Choose(os.Getenv("SANDBOX"), s)
		if err != nil {
			b.err = cannot(err)
			return
		}
		fmt.Fprintf(b.log, "sandbox %s: %s\n", place.Name(), finding.Reason)
		b.kind = place.Name()
		if b.err = buildSelf(); b.err != nil {
			return
		}
		b.start(place, s, min(atMost, sharing(b.kind)))
	}()
	return b
}

// sharing is how many machines of a kind make the best of this one's CPUs. A virtual
// machine without KVM keeps one busy. In a box, half of a test's time is the
// kernel's for taking namespaces and cgroups away, in which no CPU is busy.
// Containers may have the cgroups of the whole machine, and see each other's.
func sharing(kind string) int {
	switch kind {
	case "vm":
		return runtime.NumCPU()
	case "host", "user":
		return 2 * runtime.NumCPU()
	}
	return 1
}

// start makes n machines at the same time.
func (b *booking) start(place sandbox.Place, s sandbox.Spec, n int) {
	b.machines = make([]sandbox.Machine, n)
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			s := s
			if i > 0 { // they do the same
				s.Log = nil
			}
			b.machines[i], errs[i] = place.Start(s)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		b.err = cannot(err)
	}
}

// known refuses values that no machine has.
func known(s sandbox.Spec) error {
	for _, v := range []struct {
		name, value string
		values      []string
	}{
		{"ARCH", s.Arch, []string{"amd64", "arm64"}},
		{"CGROUP", s.Cgroup, []string{"v2", "v1", "hybrid"}},
		{"ACCEL", s.Accel, []string{"auto", "kvm", "tcg"}},
	} {
		if v.value != "" && !slices.Contains(v.values, v.value) {
			return usage("%s=%s is not known; it is one of %s", v.name, v.value, strings.Join(v.values, ", "))
		}
	}
	return nil
}

// needsSudo tells whether the sandbox that was asked for is one for root, and
// the caller is not.
func needsSudo() bool {
	return os.Getenv("SANDBOX") == "host" && os.Geteuid() > 0 && runtime.GOOS == "linux"
}

// count waits for the machines and tells how many there are. It is one where
// there will be none, so that run says why.
func (b *booking) count() int {
	<-b.ready
	if needsSudo() {
		return min(b.atMost, sharing("host")) // runAsRoot makes one for each job
	}
	return max(1, len(b.machines))
}

// run runs one job in the first machine.
func (b *booking) run(job sandbox.Job) (status int, err error) { return b.runIn(0, job) }

// runIn runs one job in machine i.
func (b *booking) runIn(i int, job sandbox.Job) (status int, err error) {
	if needsSudo() {
		return runAsRoot(job)
	}
	<-b.ready
	if b.err != nil {
		return 0, b.err
	}
	job.Env = append(job.Env, "SANDBOX_KIND="+b.kind)
	if status, err = b.machines[i].Run(job); err != nil {
		return 0, machineError{err}
	}
	return status, nil
}

// close ends the machines, also those that nothing has run in.
func (b *booking) close() {
	<-b.ready
	for _, m := range b.machines {
		if m != nil {
			m.Close()
		}
	}
}

// run runs one job in a machine of its own.
func run(job sandbox.Job) (status int, err error) {
	m := book(1)
	defer m.close()
	return m.run(job)
}

// A machineError says that the machine ended before the job did: that may be
// the program's doing.
type machineError struct{ error }

// firstLine is an error without the machine's console, which may follow it.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// runAsRoot runs the job by sudo: building needs no root, the sandbox does.
func runAsRoot(job sandbox.Job) (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, broke(err)
	}
	stdin, stdout, stderr := job.Stdin, job.Stdout, job.Stderr
	if stdin == nil {
		stdin = os.Stdin
	}
	job.Stdin, job.Stdout, job.Stderr = nil, nil, nil
	data, err := json.Marshal(job)
	if err != nil {
		return 0, broke(err)
	}
	cmd := exec.Command("sudo", "SANDBOX=host", self, "job", string(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	var exited *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exited) {
		return exited.ExitCode(), nil
	} else if err != nil {
		return 0, cannot(fmt.Errorf("SANDBOX=host needs root: %w", err))
	}
	return 0, nil
}

// runJob is the other side of runAsRoot.
func runJob(args []string) error {
	var job sandbox.Job
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &job) != nil {
		return broke(errors.New("usage: harness job JSON"))
	}
	job.Stdin, job.Stdout, job.Stderr = os.Stdin, os.Stdout, os.Stderr
	status, err := run(job)
	if err == nil && status != 0 {
		return outcome{status: status}
	}
	return err
}

// execTest is the launcher of `go test -exec`: it runs a test binary with its
// arguments in the sandbox and ends with its status.
func execTest(args []string) error {
	if len(args) == 0 {
		return broke(errors.New("usage: go test -exec 'harness exec' PACKAGE"))
	}
	root, err := moduleRoot()
	if err != nil {
		return broke(err)
	}
	if err := os.Chdir(root); err != nil {
		return broke(err)
	}
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	if err := b.buildLessons(); err != nil {
		return err
	}
	job := b.job()
	job.Files["/box/checks.test"] = args[0]
	job.Args = append([]string{"/box/checks.test"}, args[1:]...)
	job.Stdout, job.Stderr = os.Stdout, os.Stderr
	status, err := run(job)
	if err == nil && status != 0 {
		return outcome{status: status}
	}
	return err
}

// moduleRoot is the directory that holds go.mod; go test starts a launcher in
// the directory of the package.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return string(out[:len(out)-1]), nil
}
