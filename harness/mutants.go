package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"containers-from-scratch/harness/mutants"
	"containers-from-scratch/harness/sandbox"
)

// survivorsFile lists the mutants that nobody needs to notice.
const survivorsFile = "harness/mutants/survivors.txt"

// A mutantStage is a machine, and who runs the mutants there.
type mutantStage struct {
	name   string // after "noticed"
	cgroup string
	user   int // 0 is root
	from   int // the first step worth trying there
}

// ordinary is a user without rights or files in any machine.
const ordinary = 1000

// mutantStages are tried in this order: only what survives one goes on to the
// next. Before step 05 the programs refuse to do anything for an ordinary user.
var mutantStages = []mutantStage{
	{name: "as root", cgroup: "v2", from: 1},
	{name: "with v1", cgroup: "v1", from: 4},
	{name: "as a user", cgroup: "v2", user: ordinary, from: 5},
}

// A mutantRun is one run of make mutants.
type mutantRun struct {
	built    built
	builder  *mutants.Builder
	spec     sandbox.Spec
	place    sandbox.Place
	stages   []mutantStage
	all      []mutants.Mutant // those of the steps, then those that they cover
	builds   []mutantBuild
	expected map[string]bool // to survive, by the list
	covers   map[int]int     // a mutant of a later step -> the survivor that is listed as covered by it
	start    time.Time

	lock    sync.Mutex
	results map[int]mutants.Result // index -> what became of it; -N is step N's own program
	where   map[int]int            // index -> the stage that says so
	tried   int                    // in this stage
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
	r := &mutantRun{spec: spec(), start: time.Now(), results: map[int]mutants.Result{}, where: map[int]int{}}
	if err := r.choose(); err != nil {
		return err
	}
	var err error
	if r.built, err = build(r.spec.Arch); err != nil {
		return err
	}
	r.builder = &mutants.Builder{Module: ".", Steps: "steps", Dir: filepath.Join(r.built.dir, "mutants"), Arch: r.spec.Arch}
	list, err := readSurvivors()
	if err != nil {
		return broke(err)
	}
	if err := r.find(step, list); err != nil {
		return broke(err)
	}
	if len(r.all) == 0 {
		return usage("there is nothing to delete in step %d: N is one of %s", step, stepNumbers())
	}
	if err := r.compile(); err != nil {
		return broke(err)
	}
	for n := range r.stages {
		if err := r.try(n); err != nil {
			return err
		}
	}
	return r.report(step, list)
}

// choose finds the machine. One that was asked for is the only stage, and so is
// any but the VM: what an ordinary user may, or v1, depends on the host there.
func (r *mutantRun) choose() error {
	if err := known(r.spec); err != nil {
		return err
	}
	if needsSudo() {
		r.stages = []mutantStage{{name: "as root", from: 1}}
		return nil
	}
	place, finding, err := sandbox.Choose(os.Getenv("SANDBOX"), r.spec)
	if err != nil {
		return cannot(err)
	}
	r.place, r.stages = place, mutantStages
	if place.Name() != "vm" || r.spec.Cgroup != "" {
		r.stages = []mutantStage{{name: "as root", cgroup: r.spec.Cgroup, from: 1}}
		fmt.Fprintln(os.Stderr, "only one stage: all of them need the vm, and no CGROUP")
	}
	fmt.Fprintf(os.Stderr, "sandbox %s: %s\n", place.Name(), finding.Reason)
	return nil
}

// find makes the mutants of one step, or of all, and those of later steps in
// which the survivors on the list must be noticed.
func (r *mutantRun) find(step int, list []mutants.Survivor) error {
	everywhere, err := mutants.Everywhere("steps")
	if err != nil {
		return err
	}
	r.all = slices.DeleteFunc(mutants.First(everywhere), func(m mutants.Mutant) bool { return step != 0 && stepNumber(m.Step) != step })
	r.covers, r.expected = map[int]int{}, map[string]bool{}
	for _, s := range list {
		r.expected[s.ID] = true
	}
	if len(r.stages) == 1 {
		return nil // where a reason is not judged
	}
	reasons := mutants.Reasons(list)
	for i, m := range slices.Clone(r.all) {
		later := reasons[m.ID()].CoveredIn()
		if later == 0 {
			continue
		}
		if later > len(everywhere) {
			return fmt.Errorf("%s: there is no step %d: %s", survivorsFile, later, m.ID())
		}
		again, ok := m.Again(everywhere[later-1])
		if !ok {
			return fmt.Errorf("%s: is not in step %d: %s", survivorsFile, later, m.ID())
		}
		r.covers[len(r.all)] = i
		r.all = append(r.all, again)
	}
	return nil
}

// stepNumber is 2 for "02-pid".
func stepNumber(step string) int {
	n, _ := strconv.Atoi(step[:2])
	return n
}

// job is what the machine is told of mutant i.
func (r *mutantRun) job(i int, stage mutantStage) mutants.Job {
	m := r.all[i]
	places := []string{m.Place()}
	if first, ok := r.covers[i]; ok {
		places = append(places, r.all[first].Place())
	}
	n := stepNumber(m.Step)
	return mutants.Job{ID: i, Program: "/box/mutants/" + filepath.Base(r.builder.Executable(m)),
		Step: n, Places: places, Hangs: !r.expected[m.ID()], User: stage.user, Except: r.results[-n].False}
}

// try runs what has survived so far in a stage: first the steps' own programs,
// of which all must be true, and then the mutants in two machines at once.
func (r *mutantRun) try(n int) error {
	jobs, own, err := r.left(n)
	if err != nil || len(jobs) == 0 {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d mutants\n", r.stages[n].name, len(jobs))
	r.tried = 0
	first, second := &mutantMachine{run: r, stage: n}, &mutantMachine{run: r, stage: n}
	defer first.close()
	defer second.close()
	if err := first.batch(own, nil); err != nil {
		return err
	}
	if err := r.fit(r.stages[n], own); err != nil {
		return err
	}
	const atOnce = 20 // the machine's disk is its memory
	chunks := make(chan []int, len(jobs))
	for c := range slices.Chunk(jobs, min(atOnce, len(jobs)/2+1)) {
		chunks <- c
	}
	close(chunks)
	ended := make(chan error)
	for _, m := range []*mutantMachine{first, second} {
		go func() { ended <- m.serve(chunks) }()
	}
	return errors.Join(<-ended, <-ended)
}

// left are the mutants that a stage is to try, by index, and the own programs of
// their steps, whose results of the stage before it forgets.
func (r *mutantRun) left(n int) (jobs []int, own []mutants.Job, err error) {
	stage := r.stages[n]
	for i, m := range r.all {
		step := stepNumber(m.Step)
		if result, tried := r.results[i]; tried && result.How != mutants.Survived || step < stage.from {
			continue
		}
		<-r.builds[i].ended
		switch b := r.builds[i]; {
		case b.err != nil:
			return nil, nil, broke(fmt.Errorf("build a mutant of %s: %w", m.Place(), b.err))
		case b.refused != "":
			continue
		}
		jobs = append(jobs, i)
		if !slices.ContainsFunc(own, func(j mutants.Job) bool { return j.Step == step }) {
			own = append(own, mutants.Job{ID: -step, Step: step, Program: "/box/bin/" + m.Step, User: stage.user})
			delete(r.results, -step)
		}
	}
	return jobs, own, nil
}

// fit looks at the results of the steps' own programs, and tells which facts are
// left out because they are false there of these too.
func (r *mutantRun) fit(stage mutantStage, own []mutants.Job) error {
	for _, job := range own {
		switch result := r.results[job.ID]; {
		case result.How != mutants.Survived:
			return broke(fmt.Errorf("step %02d is not fit for mutants %s: %q fails of its own program: %s", job.Step, stage.name, result.Fact, result.Saw))
		case len(result.False) > 0:
			fmt.Fprintf(os.Stderr, "%s, step %02d: %d of %d facts do not hold, and are left out\n", stage.name, job.Step, len(result.False), result.Facts)
			if os.Getenv("V") == "1" {
				fmt.Fprintln(os.Stderr, "    "+strings.Join(result.False, "\n    "))
			}
		}
	}
	return nil
}
