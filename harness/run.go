package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"containers-from-scratch/harness/sandbox"
)

// A booking is a machine that is being made while the programs for it are
// compiled.
type booking struct {
	ready   chan struct{}
	kind    string
	machine sandbox.Machine
	err     error
}

// book starts to make the machine that the environment asks for, and says on
// stderr which one it is and why.
func book() *booking {
	b := &booking{ready: make(chan struct{})}
	go func() {
		defer close(b.ready)
		if needsSudo() {
			return
		}
		s := spec()
		if b.err = known(s); b.err != nil {
			return
		}
		place, finding, err := sandbox.Choose(os.Getenv("SANDBOX"), s)
		if err != nil {
			b.err = cannot(err)
			return
		}
		fmt.Fprintf(os.Stderr, "sandbox %s: %s\n", place.Name(), finding.Reason)
		b.kind = place.Name()
		if b.machine, err = place.Start(s); err != nil {
			b.err = cannot(err)
		}
	}()
	return b
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

// run runs one job in the machine.
func (b *booking) run(job sandbox.Job) (status int, err error) {
	if needsSudo() {
		return runAsRoot(job)
	}
	<-b.ready
	if b.err != nil {
		return 0, b.err
	}
	job.Env = append(job.Env, "SANDBOX_KIND="+b.kind)
	if status, err = b.machine.Run(job); err != nil {
		return 0, machineError{err}
	}
	return status, nil
}

// close ends the machine, also one that nothing has run in.
func (b *booking) close() {
	<-b.ready
	if b.machine != nil {
		b.machine.Close()
	}
}

// run runs one job in a machine of its own.
func run(job sandbox.Job) (status int, err error) {
	m := book()
	defer m.close()
	return m.run(job)
}

// A machineError says that the machine ended before the job did: that may be
// the program's doing.
type machineError struct{ error }

// runAsRoot runs the job by sudo: building needs no root, the sandbox does.
func runAsRoot(job sandbox.Job) (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, broke(err)
	}
	stdout, stderr := job.Stdout, job.Stderr
	job.Stdin, job.Stdout, job.Stderr = nil, nil, nil
	data, err := json.Marshal(job)
	if err != nil {
		return 0, broke(err)
	}
	cmd := exec.Command("sudo", "SANDBOX=host", self, "job", string(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
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
