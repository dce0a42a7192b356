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
	"strings"
	"time"

	"containers-from-scratch/harness/mutants"
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

// A mutantMachine runs jobs of one stage, and is made anew when one of them has
// taken it down.
type mutantMachine struct {
	run     *mutantRun
	stage   int // index
	machine sandbox.Machine
}

// serve runs chunks of mutants. After an error it still takes what comes, for
// whoever hands it out.
func (m *mutantMachine) serve(chunks <-chan []int) (err error) {
	for chunk := range chunks {
		if err == nil {
			err = m.mutants(chunk)
		}
	}
	return err
}

// mutants runs some mutants.
func (m *mutantMachine) mutants(indices []int) error {
	var jobs []mutants.Job
	files := map[string]string{}
	for _, i := range indices {
		job := m.run.job(i, m.run.stages[m.stage])
		files[job.Program] = m.run.builder.Executable(m.run.all[i])
		jobs = append(jobs, job)
	}
	return m.batch(jobs, files)
}

// batch runs jobs in the machine until each has a result. One that takes the
// machine with it is the first without; then a new machine serves the others.
func (m *mutantMachine) batch(jobs []mutants.Job, files map[string]string) error {
	for len(jobs) > 0 {
		list, err := json.Marshal(jobs)
		if err != nil {
			return broke(err)
		}
		job := m.run.built.job()
		for at, path := range files {
			job.Files[at] = path
		}
		job.Args = []string{"/box/checks.test", "-test.timeout=0", "-test.run=^TestMutants$"}
		job.Env = append(job.Env, "MUTANTS="+string(list), "STORM=full") // or an error path would not be tried
		job.Timeout = time.Hour
		read, write := io.Pipe()
		done := make(chan []string)
		results := map[int]mutants.Result{}
		go func() { done <- m.follow(read, results) }()
		job.Stdout, job.Stderr = write, write
		status, err := m.start(job)
		write.Close()
		said := <-done
		missing := slices.DeleteFunc(slices.Clone(jobs), func(j mutants.Job) bool { _, ok := results[j.ID]; return ok })
		switch died := (machineError{}); {
		case errors.As(err, &died) && len(missing) > 0:
			m.take(mutants.Result{ID: missing[0].ID, How: mutants.Down, Saw: err.Error()})
			missing = missing[1:]
			m.close()
		case err != nil:
			return err
		case len(missing) == len(jobs):
			return broke(fmt.Errorf("the mutants' test ended with status %d: %s", status, strings.Join(said, " / ")))
		case len(missing) > 0: // one has spoilt the machine, and said so
			m.close()
		}
		jobs = missing
	}
	return nil
}

// start runs a job in the machine, which starts with the first. What needs sudo
// gets a machine for each.
func (m *mutantMachine) start(job sandbox.Job) (status int, err error) {
	if m.run.place == nil {
		return runAsRoot(job)
	}
	s := m.run.spec
	s.Cgroup = m.run.stages[m.stage].cgroup
	if m.machine == nil {
		if m.machine, err = m.run.place.Start(s); err != nil {
			return 0, cannot(err)
		}
	}
	job.Env = append(job.Env, "SANDBOX_KIND="+m.run.place.Name())
	if status, err = m.machine.Run(job); err != nil {
		return 0, machineError{err}
	}
	return status, nil
}

// close ends the machine.
func (m *mutantMachine) close() {
	if m.machine != nil {
		_ = m.machine.Close()
		m.machine = nil
	}
}

// follow reads results as they come, and returns the last other lines.
func (m *mutantMachine) follow(from io.Reader, results map[int]mutants.Result) (said []string) {
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
		results[result.ID] = result
		m.take(result)
	}
	return said
}

// take notes a result, and says how far the run is.
func (m *mutantMachine) take(result mutants.Result) {
	r := m.run
	r.lock.Lock()
	defer r.lock.Unlock()
	result.Seconds += r.results[result.ID].Seconds // of earlier stages
	r.results[result.ID], r.where[result.ID] = result, m.stage
	if result.ID < 0 {
		return
	}
	r.tried++
	if os.Getenv("V") == "1" {
		fmt.Printf("%.1fs %s %s: %s: %q %s\n", result.Seconds, result.How, r.stages[m.stage].name, r.all[result.ID].ID(), result.Fact, result.Saw)
	}
	line := fmt.Sprintf("%s: %d mutants tried, %v", r.stages[m.stage].name, r.tried, time.Since(r.start).Round(time.Second))
	switch {
	case onTerminal():
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
	case r.tried%10 == 0:
		fmt.Fprintln(os.Stderr, line)
	}
}

// readSurvivors reads the list.
func readSurvivors() ([]mutants.Survivor, error) {
	file, err := os.Open(filepath.FromSlash(survivorsFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	list, err := mutants.ReadSurvivors(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", survivorsFile, err)
	}
	return list, nil
}
