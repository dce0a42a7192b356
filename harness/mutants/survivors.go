package mutants

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A Survivor is a mutant that no fact notices, and why that is right.
type Survivor struct {
	ID     string // as Mutant.ID
	Kind   string // "no effect", "error path", "covered in step NN" or "no effect by chance"
	Reason string
}

var kinds = regexp.MustCompile(`^(no effect|error path|no effect by chance|covered in step \d\d)$`)

// ByChance tells of a deletion that makes a race: some runs notice it.
func (s Survivor) ByChance() bool { return s.Kind == "no effect by chance" }

// CoveredIn is the step where the deletion is noticed, 0 if the reason is another.
func (s Survivor) CoveredIn() (step int) {
	fmt.Sscanf(s.Kind, "covered in step %d", &step)
	return step
}

// ReadSurvivors reads lines of the form
//
//	STEP/FILE SYMBOL | DELETED TEXT | KIND | REASON
//
// A "|" in the deleted text is its own business: kind and reason are the last
// two columns. Empty lines and those that start with # say nothing.
func ReadSurvivors(r io.Reader) ([]Survivor, error) {
	var list []Survivor
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line, " | ")
		last := len(columns) - 1
		if last < 3 || !kinds.MatchString(columns[last-1]) {
			return nil, fmt.Errorf("line %d is not PLACE | TEXT | KIND | REASON, with a kind that is known", n)
		}
		list = append(list, Survivor{strings.Join(columns[:last-1], " | "), columns[last-1], columns[last]})
	}
	return list, lines.Err()
}

// Reasons are survivors by the mutant they excuse.
func Reasons(list []Survivor) map[string]Survivor {
	reasons := map[string]Survivor{}
	for _, s := range list {
		reasons[s.ID] = s
	}
	return reasons
}
