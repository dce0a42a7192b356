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
	next := make(chan int, len(r.all))
	r.builds = make([]mutantBuild, len(r.all))
	for i := range r.builds {
		r.builds[i].ended = make(chan struct{})
		next <- i
	}
	close(next)
	for range 2 {
		go func() {
			for i := range next {
				b := &r.builds[i]
				b.refused, b.err = r.builder.Build(r.all[i])
				close(b.ended)
			}
		}()
	}
	return nil
}

// A mutantMachine runs jobs of one stage, and is made anew when one of them has
// taken it down.
type mutantMachine struct {
	run     *mutantRun
	stage   int // index
	machine sandbox.Machine
}

// serve runs chunks of mutants. After an error it takes the others away, so that
// the run ends.
func (m *mutantMachine) serve(chunks <-chan []int) error {
	for chunk := range chunks {
		if err := m.mutants(chunk); err != nil {
			for range chunks {
			}
			return err
		}
	}
	return nil
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

// batch runs jobs until each has a result. Of one that was down, nobody knows yet
// whether that was its doing or the machine's: it is tried once more, alone in a
// new machine.
func (m *mutantMachine) batch(jobs []mutants.Job, files map[string]string) error {
	for len(jobs) > 0 {
		down, untried, err := m.once(jobs, files)
		if err != nil {
			return err
		}
		for _, result := range down {
			m.close()
			fmt.Fprintf(os.Stderr, "%s, and is tried once more in a new one: %s (%q %s)\n", mutants.Down, m.run.name(result.ID), result.Fact, result.Saw)
			i := slices.IndexFunc(jobs, func(j mutants.Job) bool { return j.ID == result.ID })
			again, _, err := m.once(jobs[i:i+1], files)
			if err != nil {
				return err
			}
			for _, result := range again {
				m.take(result)
				m.close()
			}
		}
		jobs = untried
	}
	return nil
}

// once runs jobs in the machine and notes their results, but for those that are
// down, which it returns. One that ends the machine with it is the first without a
// result; those after it are untried, and want a new machine.
func (m *mutantMachine) once(jobs []mutants.Job, files map[string]string) (down []mutants.Result, untried []mutants.Job, err error) {
	list, err := json.Marshal(jobs)
	if err != nil {
		return nil, nil, broke(err)
	}
	job := m.run.built.job()
	for at, path := range files {
		job.Files[at] = path
	}
	job.Args = []string{"/box/checks.test", "-test.timeout=0", "-test.run=^TestMutants$"}
	job.Env = append(job.Env, "MUTANTS="+string(list), "STORM=full") // or an error path would not be tried
	job.Timeout = time.Hour
	read, write := io.Pipe()
	job.Stdout, job.Stderr = write, write
	done := make(chan []string)
	tried := map[int]bool{}
	go func() {
		done <- readResults(read, func(result mutants.Result) {
			tried[result.ID] = true
			if result.How == mutants.Down {
				down = append(down, result)
			} else {
				m.take(result)
			}
		})
	}()
	status, err := m.start(job)
	write.Close()
	said := <-done
	untried = slices.DeleteFunc(slices.Clone(jobs), func(j mutants.Job) bool { return tried[j.ID] })
	switch died := (machineError{}); {
	case errors.As(err, &died):
		m.close()
		if len(untried) > 0 {
			down = append(down, mutants.Result{ID: untried[0].ID, How: mutants.Down, Saw: firstLine(err)})
			untried = untried[1:]
		}
	case err != nil:
		return nil, nil, err
	case len(untried) == len(jobs):
		return nil, nil, broke(fmt.Errorf("the mutants' test ended with status %d: %s", status, strings.Join(said, " / ")))
	case len(untried) > 0: // one has spoilt the machine, and said so
		m.close()
	}
	return down, untried, nil
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

// readResults takes results as they come, and returns the last other lines.
func readResults(from io.Reader, take func(mutants.Result)) (said []string) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var result mutants.Result
		text, ok := strings.CutPrefix(lines.Text(), "mutant ")
		if ok && json.Unmarshal([]byte(text), &result) == nil {
			take(result)
			continue
		}
		said = append(said, lines.Text())
		said = said[max(0, len(said)-5):]
	}
	return said
}

// name is what a job's number stands for.
func (r *mutantRun) name(id int) string {
	if id < 0 {
		return fmt.Sprintf("step %02d's own program", -id)
	}
	return r.all[id].ID()
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
		fmt.Printf("%.1fs %s %s: %s: %q %s\n", result.Seconds, result.How, r.stages[m.stage].name, r.name(result.ID), result.Fact, result.Saw)
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
