package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// Each step adds one file to those of the step before; main.go alone changes.
// The tests here keep it so, see section 2 of the design.

// update writes what the tests would complain about: `make carry`.
var update = flag.Bool("update", false, "carry files of the steps over")

// otherNewFiles are files that a step adds besides the one it is named after.
var otherNewFiles = map[string]string{
	"01-uts/command.go":    "how the command is executed and how a failure is told is the same in all steps, so that main.go stays the story",
	"01-uts/main_other.go": "what the program says where the kernel is not Linux; no part of the lesson",
	"05-user/explain.go":   "what on the machine is behind a refusal: AppArmor, two settings, a masked /proc; it isolates nothing",
}

// rewritten are files that a step changes though they were carried over.
var rewritten = map[string]string{}

// steps are the directories of the steps, in their order. 07-final keeps the
// names of the files and nothing else.
func steps(t *testing.T) []string {
	dirs, err := filepath.Glob("../steps/0[1-6]-*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	return dirs
}

// goFiles are the Go files of a step, by name.
func goFiles(t *testing.T, dir string) []string {
	files, err := filepath.Glob(dir + "/*.go")
	require.NoError(t, err)
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	return files
}

// A firstSeen tells for each file, by name, in which step it stood first.
type firstSeen map[string]string

// newFiles are those of dir that are in no step before it.
func (first firstSeen) newFiles(files []string, dir string) (names []string) {
	for _, name := range files {
		if _, seen := first[name]; !seen && name != "main.go" {
			first[name] = dir
			names = append(names, name)
		}
	}
	return names
}

func TestCarried(t *testing.T) {
	first, needed := firstSeen{}, map[string]bool{}
	for _, dir := range steps(t) {
		files := goFiles(t, dir)
		first.newFiles(files, dir)
		for name, origin := range first {
			here := dir + "/" + name
			want, err := os.ReadFile(origin + "/" + name)
			require.NoError(t, err)
			saw, err := os.ReadFile(here)
			if os.IsNotExist(err) {
				saw = nil
			} else {
				require.NoError(t, err)
			}
			difference := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(saw), "\n"))
			if difference == "" {
				continue
			}
			key := filepath.Base(dir) + "/" + name
			switch {
			case rewritten[key] != "":
				needed[key] = true
				first[name] = dir // later steps carry this one
			case *update:
				require.NoError(t, os.WriteFile(here, want, 0o644))
			default:
				t.Errorf("%s differs from %s; edit that one, then run: make carry\n%s",
					clean(here), clean(origin+"/"+name), difference)
			}
		}
	}
	// Step 00 has the command.go of step 01: what a learner begins with.
	copied, original := "testdata/00-none/command.go", first["command.go"]+"/command.go"
	want, err := os.ReadFile(original)
	require.NoError(t, err)
	if saw, _ := os.ReadFile(copied); string(saw) != string(want) {
		if *update {
			require.NoError(t, os.WriteFile(copied, want, 0o644))
		} else {
			t.Errorf("harness/%s differs from %s; edit that one, then run: make carry", copied, clean(original))
		}
	}
	for key := range rewritten {
		if !needed[key] {
			t.Errorf("rewritten lists %s, which is carried over as it is: remove it", key)
		}
	}
}

func TestOneNewFile(t *testing.T) {
	first, needed := firstSeen{}, map[string]bool{}
	for _, dir := range steps(t) {
		step := filepath.Base(dir)
		_, concept, _ := strings.Cut(step, "-")
		var others []string
		added := first.newFiles(goFiles(t, dir), dir)
		for _, name := range added {
			key := step + "/" + name
			if name == concept+".go" {
				continue
			}
			needed[key] = true
			if otherNewFiles[key] == "" {
				others = append(others, name)
			}
		}
		if len(others) > 0 {
			t.Errorf("steps/%s adds %s besides %s.go; one new file per step, or a reason in otherNewFiles", step, strings.Join(others, " "), concept)
		}
		if !slices.Contains(added, concept+".go") {
			t.Errorf("steps/%s has no new file %s.go", step, concept)
		}
	}
	for key := range otherNewFiles {
		if !needed[key] {
			t.Errorf("otherNewFiles lists %s, which no step adds: remove it", key)
		}
	}
}

// budget is what a step may add, and what a file may have, in lines of code.
const budget = 100

// overBudget are the steps that add more, and why golf would be worse.
var overBudget = map[string]string{
	"04-cgroup": "v2 and v1 stand side by side, and a limit whose file is missing must not become a file (write)",
	"05-user":   "a refusal must name what on the machine is behind it: AppArmor, two settings, a masked /proc (explain.go)",
}

// TestBudget counts code, so that explaining is free: a line that is neither
// blank nor a comment.
func TestBudget(t *testing.T) {
	before := 0
	for _, dir := range steps(t) {
		sum := 0
		for _, name := range goFiles(t, dir) {
			if name == "main_other.go" {
				continue
			}
			n := codeLines(t, dir+"/"+name)
			if n >= budget {
				t.Errorf("%s has %d lines of code; fewer than %d, please", clean(dir+"/"+name), n, budget)
			}
			sum += n
		}
		switch added, reason := sum-before, overBudget[filepath.Base(dir)]; {
		case added >= budget && reason == "":
			t.Errorf("%s adds %d lines of code; fewer than %d, please", clean(dir), added, budget)
		case added < budget && reason != "":
			t.Errorf("overBudget lists %s, which adds only %d: remove it", clean(dir), added)
		}
		t.Logf("%s: %d lines of code, %+d", clean(dir), sum, sum-before)
		before = sum
	}
}

// core are the files of step 07 from which `run CMD` is understood. What they
// call in the others is named by what it does.
var core = strings.Fields("main uts pid mount cgroup user net restrict capabilities masks keyring selfexe descriptors")

// The figures of step 07, in lines of code without tests. They may only shrink:
// who makes one smaller by more than shrunk writes the new one here. They grew
// once, by what smaller code had lost: a hint that is safe to paste, texts that
// are no UTF-8, what init died of, what of a profile nobody heeds.
const (
	coreLines, mostCore = 1000, 1000 // as it is, as it is to be: see section 5 of the design
	allLines, mostAll   = 4800, 3500
	mostOfAFile, shrunk = 350, 100
)

// TestFinalBudget keeps the last step, and the core of it, from growing.
func TestFinalBudget(t *testing.T) {
	sumOfCore, sum := 0, 0
	for _, name := range goFiles(t, "../steps/07-final") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		n := codeLines(t, "../steps/07-final/"+name)
		require.LessOrEqual(t, n, mostOfAFile, name)
		if slices.Contains(core, strings.TrimSuffix(name, ".go")) {
			sumOfCore += n
		}
		sum += n
	}
	for _, figure := range []struct {
		what           string
		n, was, atMost int
	}{{"the core of steps/07-final", sumOfCore, coreLines, mostCore}, {"steps/07-final", sum, allLines, mostAll}} {
		t.Logf("%s: %d lines of code, of %d", figure.what, figure.n, figure.atMost)
		if figure.n > figure.was {
			t.Errorf("%s has %d lines of code; it had %d, and %d are the aim", figure.what, figure.n, figure.was, figure.atMost)
		}
		if figure.n < figure.was-shrunk {
			t.Errorf("%s has only %d lines of code: write that into carried_test.go instead of %d", figure.what, figure.n, figure.was)
		}
	}
}

// codeLines counts the lines on which a token stands.
func codeLines(t *testing.T, path string) int {
	src, err := os.ReadFile(path)
	require.NoError(t, err)
	var s scanner.Scanner
	file := token.NewFileSet().AddFile(path, -1, len(src))
	s.Init(file, src, nil, 0) // comments are skipped
	lines := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return len(lines)
		case tok == token.SEMICOLON && text == "\n": // put in by the scanner
		default:
			for i := range strings.Count(text, "\n") + 1 { // a raw string has many
				lines[file.Line(pos)+i] = true
			}
		}
	}
}

func TestCodeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.go")
	require.NoError(t, os.WriteFile(path, []byte("// a\npackage a\n\n/* b\nc */\nvar s = `1\n\n3` // d\n"), 0o644))
	require.Equal(t, 4, codeLines(t, path))
}

// TestImports keeps the steps apart, and their dependencies few.
func TestImports(t *testing.T) {
	dirs, err := filepath.Glob("../steps/*")
	require.NoError(t, err)
	for _, dir := range dirs {
		for _, name := range goFiles(t, dir) {
			file, err := parser.ParseFile(token.NewFileSet(), dir+"/"+name, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if why := forbidden(filepath.Base(dir), path); why != "" {
					t.Errorf("%s imports %s: %s", clean(dir+"/"+name), path, why)
				}
			}
		}
	}
}

// forbidden tells why a step may not import a package, "" when it may.
func forbidden(step, path string) string {
	root, _, _ := strings.Cut(path, "/")
	switch {
	case root == "containers-from-scratch":
		return "a step is read alone"
	case path == "C":
		return "CGO stays off"
	case !strings.Contains(root, "."): // the standard library
		return ""
	case path == "golang.org/x/sys/unix":
		return ""
	case strings.HasPrefix(path, "github.com/vishvananda/netlink") && step >= "06":
		return ""
	case step == "07-final" && (strings.HasPrefix(path, "github.com/opencontainers/runtime-spec/specs-go") ||
		strings.HasPrefix(path, "github.com/go-json-experiment/json") ||
		strings.HasPrefix(path, "github.com/stretchr/testify/") || path == "github.com/google/go-cmp/cmp"):
		return "" // the types of config.json, and what reads it; and it has tests of its own
	}
	return fmt.Sprintf("not a dependency that step %s has", step)
}

func TestForbiddenImports(t *testing.T) {
	for _, path := range []string{"C", "containers-from-scratch/harness/probe", "github.com/vishvananda/netlink", "golang.org/x/sys/windows"} {
		require.NotEmpty(t, forbidden("05-user", path), path)
	}
	for _, path := range []string{"os/exec", "golang.org/x/sys/unix", "github.com/vishvananda/netlink"} {
		require.Empty(t, forbidden("06-net", path), path)
	}
	require.NotEmpty(t, forbidden("06-net", "github.com/opencontainers/runtime-spec/specs-go"))
	require.Empty(t, forbidden("07-final", "github.com/opencontainers/runtime-spec/specs-go"))
}

// clean is a path as seen from the repository's root.
func clean(path string) string { return strings.TrimPrefix(path, "../") }
