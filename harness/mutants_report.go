package main

import (
	"fmt"
	"os"
	"strings"

	"containers-from-scratch/harness/mutants"
)

// A score counts the mutants of one step.
type score struct {
	made, noticed, down, excused, refused int
	seconds                               float64
}

// report compares the survivors with the list and prints what came of all. In
// a run for one step, only that step's lines of the list count.
func (r *mutantRun) report(step int) error {
	clearProgress()
	file, err := os.Open(survivorsFile)
	if err != nil {
		return broke(err)
	}
	defer file.Close()
	list, err := mutants.ReadSurvivors(file)
	if err != nil {
		return broke(fmt.Errorf("%s: %w", survivorsFile, err))
	}
	reasons := mutants.Reasons(list)
	scores := map[string]*score{}
	var steps, complaints []string
	for i, m := range r.all {
		if scores[m.Step] == nil {
			scores[m.Step], steps = &score{}, append(steps, m.Step)
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
	printScores(steps, scores, complaints)
	if len(complaints) > 0 {
		return wrong(fmt.Errorf("%d mutants are not as %s says", len(complaints), survivorsFile))
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
	s.noticed++
	if result.How == mutants.Down {
		s.down++
		fmt.Printf("%s: %s (%s: %s)\n", mutants.Down, m.ID(), result.Fact, result.Saw)
	}
	if reason != nil && !reason.ByChance() {
		return fmt.Sprintf("is listed and noticed now by %q: %s", result.Fact, m.ID())
	}
	return ""
}

// printScores prints the table, the complaints in full, and the sum.
func printScores(steps []string, scores map[string]*score, complaints []string) {
	var sum score
	fmt.Printf("\n%-10s %8s %8s %22s %15s %8s\n", "step", "mutants", "noticed", "survive with a reason", "do not compile", "seconds")
	for _, name := range steps {
		s := scores[name]
		fmt.Printf("%-10s %8d %8d %22d %15d %8.0f\n", name, s.made, s.noticed, s.excused, s.refused, s.seconds)
		sum.made, sum.noticed, sum.down = sum.made+s.made, sum.noticed+s.noticed, sum.down+s.down
		sum.excused, sum.refused = sum.excused+s.excused, sum.refused+s.refused
	}
	fmt.Println()
	for _, c := range complaints {
		fmt.Println(c)
	}
	line := fmt.Sprintf("mutants: %d made, %d noticed, %d survive with a reason", sum.made, sum.noticed, sum.excused)
	if sum.down > 0 {
		line += fmt.Sprintf(", %d of those noticed took the machine down", sum.down)
	}
	if sum.refused > 0 {
		line += fmt.Sprintf(", %d do not compile", sum.refused)
	}
	fmt.Println(line)
}

// lastLine is what matters of a compiler's words.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	_, text, _ := strings.Cut(lines[len(lines)-1], ": ")
	return text
}
