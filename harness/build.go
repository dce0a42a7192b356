package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"containers-from-scratch/harness/docs"
	"containers-from-scratch/harness/sandbox"
)

// built is what goes into a sandbox.
type built struct {
	dir       string   // .build/ARCH, with bin/, checks.test and harness
	program   string   // the executable that PROGRAM names, "" without one
	libraries []string // those that it needs: a sandbox may have others, or none
	lessons   string   // the steps as their lessons break them, "" without them
}

// spec is the machine that the environment asks for.
func spec() sandbox.Spec {
	s := sandbox.Spec{
		Arch: os.Getenv("ARCH"), Cgroup: os.Getenv("CGROUP"), Kernel: os.Getenv("KERNEL"),
		Accel: os.Getenv("ACCEL"), Log: os.Stderr,
	}
	s.Self, _ = os.Executable()
	if runtime.GOOS != "linux" || s.Arch != "" && s.Arch != runtime.GOARCH {
		s.Self = filepath.Join(buildDir(s.Arch), "harness")
	}
	return s
}

// buildDir is where the executables for a machine of architecture arch go. It
// is kept: an executable that is up to date is not linked again.
func buildDir(arch string) string {
	if arch == "" {
		arch = runtime.GOARCH
	}
	dir, _ := filepath.Abs(filepath.Join(".build", arch))
	return dir
}

// build compiles what a sandbox needs, static and for Linux: the steps, the
// probe, the programs in testdata, the tests, and PROGRAM. A PROGRAM that does
// not compile is the program's fault; the rest is the harness's.
func build(arch string) (built, error) {
	if _, err := os.Stat(filepath.Join(buildDir(arch), "checks.test")); err != nil {
		fmt.Fprintln(os.Stderr, "building the steps and the checks (a minute, the first time)")
	}
	b, err := buildTools(arch)
	if program := os.Getenv("PROGRAM"); err == nil && program != "" {
		b.program, err = buildProgram(arch, "PROGRAM", program, b.dir)
		if err == nil {
			if b.libraries, err = sandbox.Libraries(b.program); err != nil {
				err = usage("PROGRAM=%s: its libraries are not all here: %v", program, err)
			}
		}
	}
	return b, err
}

// buildTools is build without PROGRAM.
func buildTools(arch string) (built, error) {
	b := built{dir: buildDir(arch)}
	bin := filepath.Join(b.dir, "bin") + "/"
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return b, broke(err)
	}
	commands := [][]string{
		{"build", "-ldflags=-s -w", "-o", bin, "./steps/...", "./harness/cmd/probe", "./harness/testdata/00-none", "./harness/testdata/broken"},
		{"test", "-c", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "checks.test"), "./harness/checks"},
	}
	if err := buildSelf(); err != nil {
		return b, err
	}
	for _, args := range commands {
		out, err := goTool(arch, args...)
		if err != nil && strings.HasPrefix(out, "# containers-from-scratch/steps/") { // who breaks a step to see it fail
			return b, wrong(fmt.Errorf("a step does not compile:\n%s", out))
		} else if err != nil {
			return b, broke(fmt.Errorf("go %s:\n%s", strings.Join(args, " "), out))
		}
	}
	return b, nil
}

// buildLessons compiles the steps as the lessons break them, for the tests of the
// texts: each lesson changes one file of its step.
func (b *built) buildLessons() error {
	dir := filepath.Join(b.dir, "lessons")
	var overlay struct{ Replace map[string]string } // see go help build
	overlay.Replace = map[string]string{}
	args := []string{"build", "-ldflags=-s -w", "-overlay", dir + ".json", "-o", dir + "/"}
	for _, file := range docs.Files {
		blocks, err := docs.Read(".", file)
		if err != nil {
			return broke(err)
		}
		for _, block := range blocks {
			if block.Kind != "breaks" {
				continue
			}
			step, name, before, after, err := block.Edit()
			if err != nil {
				return broke(err)
			}
			path, err := filepath.Abs(filepath.Join("steps", step, name))
			if err != nil {
				return broke(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return broke(err)
			}
			if strings.Count(string(text), before) != 1 {
				return broke(fmt.Errorf("%s: %q is not once in %s", block.At(-2), before, path))
			}
			changed := filepath.Join(dir+".src", step, name)
			overlay.Replace[path] = changed
			args = append(args, "./steps/"+step)
			if err := errors.Join(os.MkdirAll(filepath.Dir(changed), 0o755),
				os.WriteFile(changed, []byte(strings.Replace(string(text), before, after, 1)), 0o644)); err != nil {
				return broke(err)
			}
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return broke(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(dir+".json", list, 0o644)); err != nil {
		return broke(err)
	}
	if out, err := goTool(spec().Arch, args...); err != nil {
		return broke(fmt.Errorf("the lessons' changes do not compile:\n%s", out))
	}
	b.lessons = dir
	return nil
}

// buildFinal compiles the tests that step 07 has of its own, which make test alone
// needs: even to find that they are up to date takes half a second of a CPU.
func (b built) buildFinal(arch string) error {
	if out, err := goTool(arch, "test", "-c", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "final.test"), "./steps/07-final"); err != nil {
		return broke(fmt.Errorf("go test -c ./steps/07-final:\n%s", out))
	}
	return nil
}

// goTool runs the go command for a static Linux build and returns what it says.
func goTool(arch string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+arch)
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// buildSelf compiles the harness for the machine, whose process 1 it is, where
// this executable is for another one. The machine waits for that.
var buildSelf = sync.OnceValue(func() error {
	s := spec()
	if filepath.Dir(s.Self) != buildDir(s.Arch) {
		return nil
	}
	if out, err := goTool(s.Arch, "build", "-o", s.Self, "./harness"); err != nil {
		return broke(fmt.Errorf("go build ./harness:\n%s", out))
	}
	return nil
})

// buildProgram turns a program that a variable names, a Go package or an
// executable, into a path.
func buildProgram(arch, variable, program, dir string) (string, error) {
	info, err := os.Stat(program)
	if errors.Is(err, os.ErrNotExist) {
		if file, err := exec.LookPath(program); err == nil {
			return "", usage("%s is a path: %s=%s", variable, variable, file)
		}
		return "", usage("%s=%s is not there", variable, program)
	} else if err != nil {
		return "", cannot(err)
	}
	if !info.IsDir() {
		if filepath.Ext(program) == ".go" {
			return "", usage("%s=%s is a file of a program: name its directory, %s=%s", variable, program, variable, filepath.Dir(program))
		}
		if info.Mode()&0o111 == 0 {
			return "", usage("%s=%s is neither the directory of a Go package nor executable (chmod +x %s)", variable, program, program)
		}
		return filepath.Abs(program)
	}
	path, name := filepath.Join(dir, strings.ToLower(variable)), program
	if !strings.HasPrefix(program, ".") && !filepath.IsAbs(program) {
		program = "./" + program // as go build wants a directory named
	}
	if said, err := goTool(arch, "list", "-f", "{{.Name}}", program); err != nil && strings.Contains(said, "outside main module") {
		return "", usage("%s=%s lies outside this module: build it there (CGO_ENABLED=0 go build) and name the file", variable, program)
	} else if err != nil {
		return "", usage("%s=%s is no Go package: %s", variable, program, said)
	} else if said != "main" {
		return "", usage("%s=%s is package %s; a program is package main", variable, program, said)
	}
	// Without tables for debuggers it is linked in two thirds of the time, which
	// whoever saves a file waits for.
	if out, err := goTool(arch, "build", "-ldflags=-s -w", "-o", path, program); err != nil && strings.Contains(out, "function main is undeclared") { // the linker's words
		return "", wrong(noMain(name))
	} else if err != nil {
		return "", wrong(fmt.Errorf("%s does not compile:\n%s", variable, out))
	}
	return path, nil
}

// noMain names a package main that has no such function: often its file is gone.
type noMain string

func (n noMain) Error() string { return "no func main in " + string(n) }

// job is a Job with everything in its place and nothing to run yet.
func (b built) job() sandbox.Job {
	j := sandbox.Job{
		Files: map[string]string{
			"/box/bin":         filepath.Join(b.dir, "bin"),
			"/box/checks.test": filepath.Join(b.dir, "checks.test"),
			"/probe":           filepath.Join(b.dir, "bin/probe"),
			// The texts, whose transcripts are run.
			"/box/docs/README.md":             "README.md",
			"/box/docs/steps":                 "steps",
			"/box/docs/harness/README.md":     "harness/README.md",
			"/box/docs/harness/CONTRACT.md":   "harness/CONTRACT.md",
			"/box/docs/harness/instructor.md": "harness/instructor.md",
			"/box/docs/harness/places.md":     "harness/places.md",
			"/box/docs/map.svg":               mapPicture,           // which is measured anew
			"/box/docs/nest":                  ".devcontainer/nest", // which is run
		},
		Dir: "/box",
		Env: []string{"PATH=/box/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/box/own", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM")},
	}
	for _, name := range []string{"SEED", "STORM"} { // what the tests of storms read
		if value := os.Getenv(name); value != "" {
			j.Env = append(j.Env, name+"="+value)
		}
	}
	if b.lessons != "" {
		j.Files["/box/lessons"] = b.lessons
	}
	if b.program != "" {
		j.Files["/box/own/"+b.name()] = b.program
		for _, library := range b.libraries {
			j.Files[library] = library
		}
		j.Env = append(j.Env, "PROGRAM_NAME="+b.name())
	}
	return j
}

// name is what PROGRAM is called in the sandbox.
func (b built) name() string {
	dir, _ := filepath.Abs(os.Getenv("PROGRAM")) // "." has no name
	return filepath.Base(dir)
}

// programs are the names to call in a shell there.
func (b built) programs() []string {
	names := b.steps()
	if b.program != "" {
		names = append(names, b.name())
	}
	return append(names, "probe")
}
