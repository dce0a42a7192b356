package main

import (
	"fmt"
	"strings"
	"time"

	"containers-from-scratch/harness/mutants"
)

// A score counts the mutants of one step.
type score struct {
	made, down, excused, refused int
	noticed                      []int // by stage
	seconds                      float64
}

// report compares the survivors with the list and prints what came of all. In
// a run for one step, only that step's lines of the list count.
func (r *mutantRun) report(step int, list []mutants.Survivor) error {
	clearProgress()
	reasons := mutants.Reasons(list)
	scores := map[string]*score{}
	var steps, complaints []string
	for i, m := range r.all {
		if first, ok := r.covers[i]; ok {
			if r.results[first].How == mutants.Survived && r.results[i].How != mutants.Noticed {
				complaints = append(complaints, fmt.Sprintf("is listed as covered in step %s and survives there: %s", m.Step[:2], r.all[first].ID()))
			}
			continue
		}
		if scores[m.Step] == nil {
			scores[m.Step], steps = &score{noticed: make([]int, len(r.stages))}, append(steps, m.Step)
		}
		var reason *mutants.Survivor
		if s, listed := reasons[m.ID()]; listed {
			reason = &s
		}
		delete(reasons, m.ID())
		if complaint := r.judge(i, reason, scores[m.Step]); complaint != "" {
			complaints = append(complaints, complaint)
		}
	}
	for id := range reasons {
		if step == 0 || stepNumber(id) == step {
			complaints = append(complaints, "is listed and no longer exists: "+id)
		}
	}
	r.printScores(steps, scores, complaints)
	if len(complaints) > 0 {
		return wrong(fmt.Errorf("%s not as %s says", howMany(len(complaints), "mutant is", "mutants are"), survivorsFile))
	}
	return nil
}

// judge counts one mutant, says what is worth a line, and returns what is wrong
// with it. A reason that is nil was not given.
func (r *mutantRun) judge(i int, reason *mutants.Survivor, s *score) (complaint string) {
	m, result := r.all[i], r.results[i]
	s.made++
	s.seconds += result.Seconds
	if why := r.builds[i].refused; why != "" {
		s.refused++
		fmt.Printf("does not compile: %s (%s)\n", m.ID(), lastLine(why))
		if reason != nil {
			return "is listed and does not compile: " + m.ID()
		}
		return ""
	}
	if result.How == mutants.Survived && reason != nil {
		s.excused++
		fmt.Printf("survives, %s: %s (%s)\n", reason.Kind, m.ID(), reason.Reason)
		return ""
	}
	if result.How == mutants.Survived {
		return fmt.Sprintf("survives %d facts: steps/%s/%s:%d\n    %s", result.Facts, m.Step, m.File, m.Line, m.ID())
	}
	if result.How == mutants.Down { // twice, and no fact says so by name
		s.down++
		return fmt.Sprintf("%s, twice, %s: steps/%s/%s:%d\n    %s\n    %q %s",
			mutants.Down, r.stages[r.where[i]].name, m.Step, m.File, m.Line, m.ID(), result.Fact, result.Saw)
	}
	s.noticed[r.where[i]]++
	// The list speaks of all stages.
	if reason != nil && !reason.ByChance() && len(r.stages) == len(mutantStages) {
		return fmt.Sprintf("is listed and noticed now %s by %q: %s", r.stages[r.where[i]].name, result.Fact, m.ID())
	}
	return ""
}

// printScores prints the table, the complaints in full, and the sum.
func (r *mutantRun) printScores(steps []string, scores map[string]*score, complaints []string) {
	noticed := ""
	for _, stage := range r.stages {
		noticed += fmt.Sprintf(" %10s", stage.name)
	}
	fmt.Printf("\n%-10s %8s%s %22s %22s %15s %8s\n", "step", "mutants", " noticed "+noticed, mutants.Down, "survive with a reason", "do not compile", "seconds")
	var sum score
	all := 0
	for _, name := range steps {
		s := scores[name]
		noticed, here := "", 0
		for _, n := range s.noticed {
			noticed += fmt.Sprintf(" %10d", n)
			here += n
		}
		fmt.Printf("%-10s %8d %8d%s %22d %22d %15d %8.0f\n", name, s.made, here, noticed, s.down, s.excused, s.refused, s.seconds)
		sum.made, all, sum.down = sum.made+s.made, all+here, sum.down+s.down
		sum.excused, sum.refused = sum.excused+s.excused, sum.refused+s.refused
	}
	fmt.Println()
	for _, c := range complaints {
		fmt.Println(c)
	}
	line := fmt.Sprintf("mutants: %d made, %d noticed, %d survive with a reason", sum.made, all, sum.excused)
	if sum.down > 0 {
		line += fmt.Sprintf(", %d "+mutants.Down, sum.down)
	}
	if sum.refused > 0 {
		line += fmt.Sprintf(", %d do not compile", sum.refused)
	}
	fmt.Println(line + ", in " + time.Since(r.start).Round(time.Second).String())
}

// lastLine is what matters of a compiler's words.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	_, text, _ := strings.Cut(lines[len(lines)-1], ": ")
	return text
}
