package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"containers-from-scratch/harness/mutants"
	"containers-from-scratch/harness/sandbox"

	"github.com/stretchr/testify/require"
)

// A toyPlace makes machines in which mutants end as they are told to, the first
// time, and the second.
type toyPlace struct {
	sandbox.Place
	ends map[int][]string // by the number of the mutant: "dies" or how it ends
	runs [][]int          // which mutants each machine was given, by machine
}

func (p *toyPlace) Name() string { return "toy" }
func (p *toyPlace) Start(sandbox.Spec) (sandbox.Machine, error) {
	p.runs = append(p.runs, nil)
	return toyMachine{p}, nil
}

type toyMachine struct{ *toyPlace }

func (toyMachine) Close() error { return nil }
func (m toyMachine) Run(job sandbox.Job) (status int, err error) {
	i := slices.IndexFunc(job.Env, func(v string) bool { return strings.HasPrefix(v, "MUTANTS=") })
	var jobs []mutants.Job
	if err := json.Unmarshal([]byte(strings.TrimPrefix(job.Env[i], "MUTANTS=")), &jobs); err != nil {
		return 0, err
	}
	for _, j := range jobs {
		last := len(m.runs) - 1
		m.runs[last] = append(m.runs[last], j.ID)
		how := m.ends[j.ID][0]
		m.ends[j.ID] = m.ends[j.ID][1:]
		if how == "dies" {
			return 0, errors.New("panic\nconsole")
		}
		line, _ := json.Marshal(mutants.Result{ID: j.ID, How: how, Fact: "it holds", Saw: how})
		fmt.Fprintf(job.Stdout, "mutant %s\n", line)
	}
	return 0, nil
}

// toyRun is a run of mutants of step 01, numbered from 0, in such machines.
func toyRun(ends ...[]string) (*mutantRun, *toyPlace, []mutants.Job) {
	place := &toyPlace{ends: map[int][]string{}}
	r := &mutantRun{place: place, stages: mutantStages[:1], results: map[int]mutants.Result{}, where: map[int]int{}}
	var jobs []mutants.Job
	for i, how := range ends {
		place.ends[i] = how
		r.all = append(r.all, mutants.Mutant{Step: "01-toy", File: "toy.go", Symbol: "main", Gone: fmt.Sprintf("f%d()", i)})
		jobs = append(jobs, mutants.Job{ID: i})
	}
	r.builds = make([]mutantBuild, len(r.all))
	return r, place, jobs
}

// TestOneThatIsDownIsTriedOnceMore: the machine may have failed by itself, and what
// a mutant is blamed for must be its own doing.
func TestOneThatIsDownIsTriedOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		ends [][]string
		want []string
		runs [][]int // by machine
	}{
		"the machine's fault": {
			[][]string{{mutants.Noticed}, {"dies", mutants.Noticed}, {mutants.Survived}},
			[]string{mutants.Noticed, mutants.Noticed, mutants.Survived},
			[][]int{{0, 1}, {1, 2}},
		},
		"a survivor all the same": {
			[][]string{{mutants.Down, mutants.Survived}, {mutants.Noticed}},
			[]string{mutants.Survived, mutants.Noticed},
			[][]int{{0, 1}, {0}},
		},
		"its own doing": {
			[][]string{{"dies", "dies"}, {mutants.Noticed}},
			[]string{mutants.Down, mutants.Noticed},
			[][]int{{0}, {0}, {1}},
		},
		"untried twice": {
			[][]string{{mutants.Down, mutants.Down}, {mutants.Noticed}},
			[]string{mutants.Down, mutants.Noticed},
			[][]int{{0, 1}, {0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, place, jobs := toyRun(c.ends...)
			require.NoError(t, (&mutantMachine{run: r}).batch(jobs, nil))
			require.Equal(t, c.runs, place.runs)
			for i, how := range c.want {
				require.Equal(t, how, r.results[i].How, "mutant %d", i)
			}
		})
	}
}

// TestDownIsNotNoticed: it has a count of its own, and fails the run, whatever the
// list says.
func TestDownIsNotNoticed(t *testing.T) {
	r, _, jobs := toyRun([]string{mutants.Noticed}, []string{"dies", "dies"})
	require.NoError(t, (&mutantMachine{run: r}).batch(jobs, nil))
	s := score{noticed: []int{0}}
	require.Empty(t, r.judge(0, nil, &s))
	for _, reason := range []*mutants.Survivor{nil, {Kind: "no effect"}, {Kind: "no effect by chance"}} {
		s.down = 0
		require.Contains(t, r.judge(1, reason, &s), "took the machine down, twice, as root: steps/01-toy/toy.go:0\n    01-toy/toy.go main | f1()\n    \"\" panic")
		require.Equal(t, 1, s.down)
	}
	require.Equal(t, []int{1}, s.noticed)
	require.ErrorContains(t, r.report(1, nil), "1 mutant is not as")
}

// TestABuildThatFailsStopsTheRun: what was not built was not tried.
func TestABuildThatFailsStopsTheRun(t *testing.T) {
	r, place, _ := toyRun([]string{mutants.Noticed}, []string{mutants.Noticed})
	ended := make(chan struct{})
	close(ended)
	r.builds = []mutantBuild{{ended: ended}, {ended: ended, err: errors.New("no space left on device")}}
	var o outcome
	require.ErrorAs(t, r.try(0), &o)
	require.Equal(t, 3, o.status)
	require.ErrorContains(t, o, "no space left on device")
	require.Empty(t, place.runs)
}

// TestAStepThatIsFalseItselfStopsTheRun: of its mutants nobody could tell what
// was noticed.
func TestAStepThatIsFalseItselfStopsTheRun(t *testing.T) {
	r, place, _ := toyRun([]string{mutants.Noticed})
	ended := make(chan struct{})
	close(ended)
	r.builds[0].ended = ended
	place.ends[-1] = []string{mutants.Noticed}
	var o outcome
	require.ErrorAs(t, r.try(0), &o)
	require.Equal(t, 3, o.status)
	require.ErrorContains(t, o, `step 01 is not fit for mutants as root: "it holds" fails of its own program`)
	require.Equal(t, [][]int{{-1}}, place.runs)
}
