package main

import (
	"fmt"
	"os"
	"runtime"

	"containers-from-scratch/harness/sandbox"
)

// A mutantBuild is one mutant on its way to an executable.
type mutantBuild struct {
	ended   chan struct{} // closed when the rest is known
	refused string        // what the compiler says, "" when it compiles
	err     error
}

// compile starts to build all mutants, two at a time, in their order.
func (r *mutantRun) compile() error {
	if err := os.MkdirAll(r.builder.Dir, 0o755); err != nil {
		return err
	}
	if err := r.builder.Prune(r.all); err != nil {
		return err
	}
	next := make(chan int)
	r.builds = make([]mutantBuild, len(r.all))
	for i := range r.builds {
		r.builds[i].ended = make(chan struct{})
	}
	for range 2 {
		go func() {
			for i := range next {
				b := &r.builds[i]
				b.refused, b.err = r.builder.Build(r.all[i])
				close(b.ended)
			}
		}()
	}
	go func() {
		for i := range r.all {
			next <- i
		}
		close(next)
	}()
	return nil
}

// run runs a job in the machine of this run, which starts with the first job.
// What needs sudo gets a machine for each.
func (r *mutantRun) run(job sandbox.Job) (status int, err error) {
	if os.Getenv("SANDBOX") == "host" && os.Geteuid() != 0 && runtime.GOOS == "linux" {
		return run(job)
	}
	s := spec()
	place, finding, err := sandbox.Choose(os.Getenv("SANDBOX"), s)
	if err != nil {
		return 0, cannot(err)
	}
	if r.machine == nil {
		fmt.Fprintf(os.Stderr, "sandbox: %s (%s)\n", place.Name(), finding.Reason)
		if r.machine, err = place.Start(s); err != nil {
			return 0, cannot(err)
		}
	}
	job.Env = append(job.Env, "SANDBOX_KIND="+place.Name(), "CGROUP="+s.Cgroup)
	if status, err = r.machine.Run(job); err != nil {
		return 0, machineError{err}
	}
	return status, nil
}

// close ends the machine.
func (r *mutantRun) close() {
	if r.machine != nil {
		_ = r.machine.Close()
		r.machine = nil
	}
}
