package watch

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A Progress is what is kept from one session to the next.
type Progress struct {
	Step   int            `json:"step"`
	Failed string         `json:"failed,omitempty"` // the fact that failed last
	Holds  []string       `json:"holds,omitempty"`  // the facts that held in the last run
	Hints  map[string]int `json:"hints,omitempty"`  // how many of a fact's are known
}

// progressFile lies beside the program, and is none of its files.
const progressFile = ".progress"

// Load reads the progress of the program in dir. One that was never started, or
// whose file makes no sense, is at step 1.
func Load(dir string) Progress {
	p := Progress{}
	data, err := os.ReadFile(filepath.Join(dir, progressFile))
	if err != nil || json.Unmarshal(data, &p) != nil || p.Step < 1 {
		p = Progress{Step: 1}
	}
	if p.Hints == nil {
		p.Hints = map[string]int{}
	}
	return p
}

// Save writes it. Where the program has gone, there is none to write.
func (p Progress) Save(dir string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(dir, progressFile), append(data, '\n'), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
