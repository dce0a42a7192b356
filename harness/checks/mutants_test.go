//go:build linux

package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"containers-from-scratch/harness/mutants"

	"github.com/stretchr/testify/require"
)

// TestMutants tries the mutants that the variable MUTANTS lists as JSON, each
// in a nest of its own, and prints one line of JSON for each: make mutants
// reads them. The lines begin with "mutant ".
func TestMutants(t *testing.T) {
	tryHere(t)
	list := os.Getenv("MUTANTS")
	if list == "" {
		return // make mutants, not make test
	}
	var jobs []mutants.Job
	require.NoError(t, json.Unmarshal([]byte(list), &jobs))
	for _, job := range jobs {
		start := time.Now()
		result := inNest(job)
		result.ID, result.Seconds = job.ID, time.Since(start).Seconds()
		// Cgroups are the machine's: what a mutant left there its nest does not end.
		spoilt := pristine.restore()
		if spoilt != nil && result.How != mutants.Noticed {
			result.How, result.Saw = mutants.Down, spoilt.Error()
		}
		line, err := json.Marshal(result)
		require.NoError(t, err)
		fmt.Printf("mutant %s\n", line)
		require.NoError(t, spoilt) // another machine takes the others
	}
}

// nestTime is how long all facts of one mutant may take.
const nestTime = 2 * time.Minute

// inNest tries one mutant in a nest. A nest that ends without a result has
// been taken down.
func inNest(job mutants.Job) mutants.Result {
	data, err := json.Marshal(job)
	if err != nil {
		return mutants.Result{How: mutants.Down, Saw: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), nestTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/probe", "nest", os.Args[0], "-test.run=^TestMutant$")
	cmd.Env = append(os.Environ(), "MUTANTS=", "MUTANT="+string(data))
	out, err := cmd.CombinedOutput()
	for _, line := range lines(string(out)) {
		var result mutants.Result
		if said, ok := strings.CutPrefix(line, "mutant "); ok && json.Unmarshal([]byte(said), &result) == nil {
			return result
		}
	}
	said := lines(string(out))
	return mutants.Result{How: mutants.Down, Saw: strings.TrimSpace(fmt.Sprint(err, " ", strings.Join(said[max(0, len(said)-2):], " / ")))}
}

// TestMutant tries the mutant that the variable MUTANT describes, in a nest:
// the first fact that points at its place and fails has noticed it.
func TestMutant(t *testing.T) {
	tryHere(t)
	text := os.Getenv("MUTANT")
	if text == "" {
		return // only TestMutants starts it
	}
	var job mutants.Job
	require.NoError(t, json.Unmarshal([]byte(text), &job))
	if job.Hangs {
		defer shorten(3 * time.Second)()
	}
	if job.User != 0 {
		require.NoError(t, runAs(&job))
	}
	line, err := json.Marshal(tryMutant(job))
	require.NoError(t, err)
	fmt.Printf("mutant %s\n", line)
}

// runAs puts a program before the job's that becomes its user.
func runAs(job *mutants.Job) error {
	programUser = job.User
	script := fmt.Sprintf("#!/bin/sh\nexec /probe as %d %s \"$@\"\n", job.User, job.Program)
	job.Program = "/box/as-a-user"
	return os.WriteFile(job.Program, []byte(script), 0o755)
}

// tryMutant tries the facts until one fails; of a step's own program, run by an
// ordinary user, all of them, to know which of them are not for him.
func tryMutant(job mutants.Job) mutants.Result {
	result := mutants.Result{How: mutants.Survived}
	program := Program{Name: Steps[job.Step], Path: job.Program}
	for _, f := range FactsAt(job.Step) {
		test := fmt.Sprintf("TestStep%02d/%s", job.Step, subtest(f))
		pointed := job.Places == nil || slices.ContainsFunc(f.Ours, func(place string) bool { return slices.Contains(job.Places, place) })
		if !pointed || slices.Contains(job.Except, f.Claim) || skipReason(os.Getenv("SANDBOX_KIND"), test) != "" {
			continue
		}
		failure, err := f.Try(program)
		if errors.As(err, new(Skip)) {
			continue
		}
		result.Facts++
		if (failure != nil || err != nil) && job.Places == nil && job.User != 0 && spoilt == nil {
			result.False = append(result.False, f.Claim)
			continue
		}
		if failure != nil {
			result.How, result.Fact, result.Saw = mutants.Noticed, f.Claim, oneLine(failure.Saw)
			return result
		}
		if err != nil {
			var ours HarnessError
			if !errors.As(err, &ours) {
				panic(err)
			}
			result.How, result.Fact, result.Saw = mutants.Down, f.Claim, oneLine([]string{err.Error()})
			return result
		}
	}
	if spoilt != nil {
		result.How, result.Saw = mutants.Down, oneLine([]string{spoilt.Error()})
	}
	return result
}
