package mutants

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// A Builder compiles mutants for Linux, static.
type Builder struct {
	Module string // the directory that holds go.mod
	Steps  string // the directory that holds the steps
	Dir    string // takes the executables; those that are there are not built again
	Arch   string // as GOARCH; "" is this machine's
}

// Executable is where the mutant's program is or will be. The name holds a
// hash of all that goes into it, so that a name stands for one program.
func (b *Builder) Executable(m Mutant) string {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), b.Arch, m.Step, m.File)
	paths, _ := filepath.Glob(filepath.Join(b.Steps, m.Step, "*.go"))
	for _, path := range append(paths, filepath.Join(b.Module, "go.mod")) {
		if filepath.Base(path) == m.File {
			h.Write(m.source)
			continue
		}
		data, _ := os.ReadFile(path)
		h.Write(data)
	}
	return filepath.Join(b.Dir, fmt.Sprintf("%s-%x", m.Step, h.Sum(nil)[:8]))
}

// Build compiles one mutant. When it does not compile, why is what the
// compiler says; err is for all else.
func (b *Builder) Build(m Mutant) (why string, err error) {
	path := b.Executable(m)
	if _, err := os.Stat(path); err == nil {
		return "", nil
	}
	if said, err := os.ReadFile(path + ".error"); err == nil {
		return string(said), nil
	}
	source, overlay := path+".go", path+".json"
	defer os.Remove(source)
	defer os.Remove(overlay)
	if err := os.WriteFile(source, m.source, 0o644); err != nil {
		return "", err
	}
	step, err := filepath.Abs(filepath.Join(b.Steps, m.Step))
	if err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(step, m.File): source}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o644); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-ldflags=-s -w", "-o", path, step)
	cmd.Dir = b.Module
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if b.Arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+b.Arch)
	}
	out, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); failed {
		said := strings.TrimSpace(string(out))
		return said, os.WriteFile(path+".error", []byte(said), 0o644)
	}
	return "", err
}

// Prune removes what earlier runs built of the steps of these mutants and is
// no mutant any more.
func (b *Builder) Prune(all []Mutant) error {
	steps, wanted := map[string]bool{}, map[string]bool{}
	for _, m := range all {
		steps[m.Step] = true
		wanted[b.Executable(m)] = true
	}
	paths, _ := filepath.Glob(filepath.Join(b.Dir, "*"))
	for _, path := range paths {
		name := filepath.Base(path)
		step := name[:max(0, strings.LastIndexByte(name, '-'))]
		if steps[step] && !wanted[strings.TrimSuffix(path, ".error")] {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove an old mutant: %w", err)
			}
		}
	}
	return nil
}
