package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"containers-from-scratch/harness/mutants"
	"containers-from-scratch/harness/sandbox"
)

// survivorsFile lists the mutants that nobody needs to notice.
const survivorsFile = "harness/mutants/survivors.txt"

// A mutantRun is one run of make mutants.
type mutantRun struct {
	built   built
	builder *mutants.Builder
	all     []mutants.Mutant
	builds  []mutantBuild
	results map[int]mutants.Result // index -> what became of it; -N is step N's own program
	jobs    int                    // that are done or cannot be
	machine sandbox.Machine
	start   time.Time
}

// tryMutants deletes one statement at a time from the steps, or from step N,
// and tries whether a fact notices.
func tryMutants(args []string) error {
	step := 0
	if os.Getenv("RUN") != "" || os.Getenv("PROGRAM") != "" {
		return usage("make mutants tries all facts of our own programs: leave out RUN and PROGRAM")
	}
	if len(args) > 0 {
		var err error
		if step, err = strconv.Atoi(args[0]); err != nil || len(args) > 1 {
			return usage("usage: make mutants [N], with N one of %s", stepNumbers())
		}
	}
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	all, err := mutants.Find("steps")
	if err != nil {
		return broke(err)
	}
	all = slices.DeleteFunc(all, func(m mutants.Mutant) bool { return step != 0 && stepNumber(m.Step) != step })
	if len(all) == 0 {
		return usage("there is nothing to delete in step %d: N is one of %s", step, stepNumbers())
	}
	r := &mutantRun{built: b, all: all, start: time.Now(), results: map[int]mutants.Result{},
		builder: &mutants.Builder{Module: ".", Steps: "steps", Dir: filepath.Join(b.dir, "mutants"), Arch: spec().Arch}}
	if err := r.compile(); err != nil {
		return broke(err)
	}
	if err := r.try(); err != nil {
		return err
	}
	return r.report(step)
}

// stepNumber is 2 for "02-pid".
func stepNumber(step string) int {
	n, _ := strconv.Atoi(step[:2])
	return n
}

// try runs first the steps' own programs, of which all must be true, and then
// the mutants, some at a time: the machine's disk is its memory.
func (r *mutantRun) try() error {
	const atOnce = 40
	defer r.close()
	var own []mutants.Job
	for _, m := range r.all {
		if n := stepNumber(m.Step); len(own) == 0 || own[len(own)-1].Step != n {
			own = append(own, mutants.Job{ID: -n, Step: n, Program: "/box/bin/" + m.Step})
		}
	}
	if err := r.batch(own, nil); err != nil {
		return err
	}
	for _, job := range own {
		if result := r.results[job.ID]; result.How != mutants.Survived {
			return broke(fmt.Errorf("step %02d is not fit for mutants: %q fails of its own program: %s", job.Step, result.Fact, result.Saw))
		}
	}
	for next := 0; next < len(r.all); {
		var jobs []mutants.Job
		files := map[string]string{}
		for ; next < len(r.all) && len(jobs) < atOnce; next++ {
			m, b := r.all[next], &r.builds[next]
			<-b.ended
			if b.err != nil {
				return broke(fmt.Errorf("build a mutant of %s: %w", m.Place(), b.err))
			}
			if b.refused != "" {
				r.done()
				continue
			}
			path := r.builder.Executable(m)
			at := "/box/mutants/" + filepath.Base(path)
			files[at] = path
			jobs = append(jobs, mutants.Job{ID: next, Program: at, Step: stepNumber(m.Step), Place: m.Place()})
		}
		if err := r.batch(jobs, files); err != nil {
			return err
		}
	}
	return nil
}

// batch runs jobs in the machine until each has a result. One that takes the
// machine with it is the first without; then a new machine serves the others.
func (r *mutantRun) batch(jobs []mutants.Job, files map[string]string) error {
	for len(jobs) > 0 {
		list, err := json.Marshal(jobs)
		if err != nil {
			return broke(err)
		}
		job := r.built.job()
		for at, path := range files {
			job.Files[at] = path
		}
		job.Args = []string{"/box/checks.test", "-test.timeout=0", "-test.run=^TestMutants$"}
		job.Env = append(job.Env, "MUTANTS="+string(list))
		job.Timeout = time.Hour
		read, write := io.Pipe()
		done := make(chan []string)
		go func() { done <- r.follow(read) }()
		job.Stdout, job.Stderr = write, write
		status, err := r.run(job)
		write.Close()
		said := <-done
		missing := slices.DeleteFunc(slices.Clone(jobs), func(j mutants.Job) bool { _, ok := r.results[j.ID]; return ok })
		switch died := (machineError{}); {
		case errors.As(err, &died) && len(missing) > 0:
			r.results[missing[0].ID] = mutants.Result{ID: missing[0].ID, How: mutants.Down, Saw: err.Error()}
			r.done()
			missing = missing[1:]
			r.close()
		case err != nil:
			return err
		case len(missing) > 0:
			return broke(fmt.Errorf("the mutants' test ended with status %d: %s", status, strings.Join(said, " / ")))
		}
		jobs = missing
	}
	return nil
}

// follow reads results as they come, and returns the last other lines.
func (r *mutantRun) follow(from io.Reader) (said []string) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var result mutants.Result
		text, ok := strings.CutPrefix(lines.Text(), "mutant ")
		if !ok || json.Unmarshal([]byte(text), &result) != nil {
			said = append(said, lines.Text())
			said = said[max(0, len(said)-5):]
			continue
		}
		r.results[result.ID] = result
		if result.ID >= 0 {
			r.done()
		}
		if os.Getenv("V") == "1" && result.ID >= 0 {
			fmt.Printf("%.1fs %s: %s: %q %s\n", result.Seconds, result.How, r.all[result.ID].ID(), result.Fact, result.Saw)
		}
	}
	return said
}

// done counts a mutant and says how far the run is.
func (r *mutantRun) done() {
	r.jobs++
	line := fmt.Sprintf("%d/%d mutants, %v", r.jobs, len(r.all), time.Since(r.start).Round(time.Second))
	switch {
	case onTerminal():
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
	case r.jobs%10 == 0:
		fmt.Fprintln(os.Stderr, line)
	}
}
