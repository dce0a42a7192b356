// Package mutants deletes one thing at a time from the programs of the steps,
// so that it can be tried whether the facts notice: a check that no deletion
// fails checks nothing.
package mutants

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Mutant is a step's program with one thing deleted.
type Mutant struct {
	Step   string // "02-pid"
	File   string // "pid.go"
	Symbol string // the function, or the variable that holds the table
	Line   int
	Gone   string // the deleted source, in one line
	Of     string // what it was a part of, where Gone says too little
	Nth    int    // from 2, for the same words once more in the same symbol

	source []byte // the file without it
}

// Place is where the mutant differs, as facts name it in Ours.
func (m Mutant) Place() string { return m.Step + "/" + m.File + " " + m.Symbol }

// Text is what is deleted, unique in its place.
func (m Mutant) Text() string {
	text := shorten(m.Gone, 100)
	if m.Of != "" {
		text += " [" + shorten(m.Of, 90) + "]"
	}
	if m.Nth > 1 {
		text += fmt.Sprintf(" #%d", m.Nth)
	}
	return text
}

// ID names the mutant in survivors.txt: lines move, so it holds no number.
func (m Mutant) ID() string { return m.Place() + " | " + m.Text() }

// shorten cuts a text to at most n runes.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Find makes the mutants of all steps from 01 in dir, a directory of a Go
// module. A file that is carried over is mutated in the step where it first
// appears, and of main.go only what the step before does not have.
func Find(dir string) ([]Mutant, error) {
	everywhere, err := Everywhere(dir)
	if err != nil {
		return nil, err
	}
	return First(everywhere), nil
}

// Everywhere makes the mutants of the steps 01 to 06 in dir, each file in each
// step. Step 07 carries nothing over, and its protections overlap on purpose:
// what notices them is leaving them out, see --without.
func Everywhere(dir string) ([][]Mutant, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "0[1-6]-*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	imports, err := exportData(paths)
	if err != nil {
		return nil, err
	}
	var everywhere [][]Mutant
	for _, path := range paths {
		found, err := inStep(path, imports)
		if err != nil {
			return nil, fmt.Errorf("find what to delete in %s: %w", path, err)
		}
		number(found)
		everywhere = append(everywhere, found)
	}
	return everywhere, nil
}

// First leaves each mutant only in the step where its statement first appears.
func First(everywhere [][]Mutant) (all []Mutant) {
	seen := map[string]bool{}
	var before []Mutant // of main.go, in the step before
	for _, found := range everywhere {
		var ofMain []Mutant
		for _, m := range found {
			if m.File == "main.go" {
				ofMain = append(ofMain, m)
			} else if !seen[m.File] {
				all = append(all, m)
			}
		}
		for _, m := range found {
			seen[m.File] = true
		}
		all = append(all, added(ofMain, before)...)
		before = ofMain
	}
	number(all)
	return all
}

// Again finds the same deletion in a later step, of which found are all
// mutants. In main.go other things may stand around it there.
func (m Mutant) Again(found []Mutant) (again Mutant, ok bool) {
	i := slices.IndexFunc(found, func(o Mutant) bool {
		same := o.File == m.File && o.Symbol == m.Symbol && o.Gone == m.Gone
		return same && (m.File == "main.go" || o.Text() == m.Text())
	})
	if i < 0 {
		return Mutant{}, false
	}
	return found[i], true
}

// added are the mutants whose deletion is not among those of the step before.
func added(now, before []Mutant) []Mutant {
	had := map[string]int{}
	for _, m := range before {
		had[m.Symbol+" "+m.Gone]++
	}
	return slices.DeleteFunc(slices.Clone(now), func(m Mutant) bool {
		key := m.Symbol + " " + m.Gone
		had[key]--
		return had[key] >= 0
	})
}

// number tells mutants with the same text apart.
func number(all []Mutant) {
	count := map[string]int{}
	for i := range all {
		all[i].Nth = 0 // as in its step, where there may be more
		id := all[i].ID()
		count[id]++
		all[i].Nth = count[id]
	}
}

// oneLine folds white space.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
