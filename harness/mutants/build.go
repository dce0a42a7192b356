package mutants

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
// compiler says; err is for all else, of which nothing is kept.
func (b *Builder) Build(m Mutant) (why string, err error) {
	path := b.Executable(m)
	if _, err := os.Stat(path); err == nil {
		return "", nil
	}
	if said, err := os.ReadFile(path + refused); err == nil {
		return string(said), nil
	}
	// Half a file must never bear the name: the next run would believe it.
	half := path + ".half"
	defer os.Remove(half)
	said, err := b.compile(m, half)
	if err == nil {
		return "", os.Rename(half, path)
	}
	if _, failed := err.(*exec.ExitError); !failed || !isCompileError(said, m.Step) {
		return "", fmt.Errorf("go build: %w: %s", err, said)
	}
	if err := os.WriteFile(half, []byte(said), 0o644); err != nil {
		return "", err
	}
	return said, os.Rename(half, path+refused)
}

// refused is the end of the name of a file that says why there is no executable.
const refused = ".refused"

// compile makes an executable of one mutant, and returns what go build says.
func (b *Builder) compile(m Mutant, to string) (said string, err error) {
	source, overlay := to+".go", to+".json"
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
	cmd := exec.Command("go", "build", "-overlay", overlay, "-ldflags=-s -w", "-o", to, step)
	cmd.Dir = b.Module
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if b.Arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+b.Arch)
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// compileErrors is what go build prints when the compiler refuses a package: its
// path, and for each error where it is.
var compileErrors = regexp.MustCompile(`^# .*/(.*)(\n.*\.go:\d+:\d+: .*|\n\t.*|\ntoo many errors)+$`)

// isCompileError tells whether that, and nothing else, is the matter with a step:
// a full disk, a module that is not there or a compiler that was killed say
// nothing about a mutant.
func isCompileError(said, step string) bool {
	match := compileErrors.FindStringSubmatch(said)
	return match != nil && match[1] == step
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
		if steps[step] && !wanted[strings.TrimSuffix(path, refused)] {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove an old mutant: %w", err)
			}
		}
	}
	return nil
}
