//go:build linux

package checks

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"containers-from-scratch/harness/docs"

	"github.com/stretchr/testify/require"
)

// texts is where the texts lie in a sandbox.
const texts = "/box/docs"

// record asks for what the transcripts print, for make carry, see docs.Record.
var record = flag.Bool("record", false, "print what the transcripts print, and compare nothing")

// TestTranscripts runs the commands that the texts show, and compares what
// they print. The machine is put right after each transcript: the lessons
// begin with an attack that succeeds.
func TestTranscripts(t *testing.T) {
	ran := 0
	for _, file := range docs.Files {
		for _, block := range blocks(t, file) {
			if block.Kind != "run" {
				continue
			}
			ran++
			t.Run(inOneWord(block), func(t *testing.T) {
				tryHere(t)
				defer func() { require.NoError(t, pristine.restore()) }()
				commands, err := block.Commands()
				require.NoError(t, err)
				host, err := os.Hostname()
				require.NoError(t, err)
				var user string
				switch {
				case block.Args == "v2":
					if list, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); !strings.Contains(string(list), "memory") {
						return // v1 has other files
					}
				case block.Args != "":
					var found bool
					user, found = strings.CutPrefix(block.Args, "as ")
					require.True(t, found, "run: %s", block.Args)
				}
				outputs := transcribe(t, user, commands)
				if *record {
					line, err := json.Marshal(docs.Recording{File: file, Line: block.Line, Host: host, Outputs: outputs})
					require.NoError(t, err)
					fmt.Printf("%s%s\n", docs.RecordingIn, line)
					return
				}
				for i, c := range commands {
					if difference := block.Compare(c, host, outputs[i]); difference != "" {
						t.Errorf("\n%s", difference)
					}
				}
			})
		}
	}
	require.NotZero(t, ran, "no text has a transcript")
}

// TestTranscriptsNotice is the control: a promise that is not kept is noticed.
func TestTranscriptsNotice(t *testing.T) {
	tryHere(t)
	block := docs.Block{File: "a.md", Line: 3, Lines: []string{"$ echo one; echo two", "one", "2"}}
	commands, err := block.Commands()
	require.NoError(t, err)
	difference := block.Compare(commands[0], "", transcribe(t, "", commands)[0])
	require.Contains(t, difference, `a.md:5: echo one; echo two`)
	require.Contains(t, difference, `promises  "2"`)
}

// TestFailuresInTexts tries each false fact that a text shows.
func TestFailuresInTexts(t *testing.T) {
	for _, file := range docs.Files {
		for _, block := range blocks(t, file) {
			if block.Kind != "fails" {
				continue
			}
			t.Run(inOneWord(block), func(t *testing.T) {
				tryHere(t)
				program, claim, _ := strings.Cut(block.Args, " ")
				for _, f := range Facts() {
					if f.Claim != claim {
						continue
					}
					failure, err := f.Try(ours(program))
					require.NoError(t, err)
					require.NotNil(t, failure, "the fact holds of %s", program)
					promised := docs.Command{Line: block.Lines[0], Index: 1, Output: sixLines(block.Lines)}
					require.Empty(t, block.Compare(promised, "", lines(failure.String())))
					return
				}
				t.Errorf("there is no fact %q", claim)
			})
		}
	}
}

// TestBreakIt makes the change of each lesson's "Break it" and compares what
// make test-step says with what the lesson promises. All facts of all steps take
// half a minute: unless STORM=full, it tries those that the lesson names.
func TestBreakIt(t *testing.T) {
	for _, file := range docs.Files {
		for _, block := range blocks(t, file) {
			if block.Kind != "breaks" {
				continue
			}
			t.Run(inOneWord(block), func(t *testing.T) {
				tryHere(t)
				step, _, _, _, err := block.Edit()
				require.NoError(t, err)
				commands, err := block.Commands()
				require.NoError(t, err)
				require.Len(t, commands, 1)
				n := slices.Index(Steps, step)
				require.Equal(t, fmt.Sprintf("make test-step %d", n), commands[0].Line, block.At(0))
				text := strings.ReplaceAll(strings.Join(block.Lines, "\n"), "_", " ")
				all := os.Getenv("STORM") == "full"
				if !all { // these fail, and need not be waited for
					defer shorten(6 * time.Second)()
				}
				said := failuresOf(t, n, Program{step, "/box/lessons/" + step}, func(f Fact) bool {
					return all || strings.Contains(text, f.Claim)
				})
				promised := commands[0].Output
				last := len(promised) - 1
				rest := strings.TrimSpace(promised[last]) == "…" && len(said) >= last
				if rest {
					commands[0].Output, said = promised[:last], said[:last]
				}
				for i, line := range said { // how many more, is then not known
					if (rest || !all) && strings.HasPrefix(line, "and ") && i < len(promised) {
						said[i] = promised[i]
					}
				}
				require.Empty(t, block.Compare(commands[0], "", said), "make test-step says:\n%s", strings.Join(said, "\n"))
			})
		}
	}
}

// failuresOf is what make test-step says of a program at step n.
func failuresOf(t *testing.T, n int, p Program, named func(Fact) bool) (said []string) {
	defer func(before time.Duration) { settling = before }(settling)
	var others []string
	for _, f := range ForLearner(FactsAt(n), n, "") {
		name := fmt.Sprintf("TestStep%02d/%s", n, subtest(f))
		if !named(f) || skipReason(os.Getenv("SANDBOX_KIND"), name) != "" {
			continue
		}
		failure, err := f.Try(p)
		if errors.As(err, new(Skip)) {
			continue
		}
		require.NoError(t, err, name)
		if failure == nil {
			continue
		}
		failure.Fact = failure.Fact.At(n)
		switch {
		case said == nil:
			said = []string{"--- FAIL: " + name}
			for _, line := range lines(failure.String()) {
				said = append(said, "    "+line)
			}
		default:
			others = append(others, "    "+f.Claim)
		}
		if failure.Left {
			settling = 100 * time.Millisecond
		}
	}
	if len(others) > 0 {
		said = append(said, "", fmt.Sprintf("and %d more, each in full with V=1:", len(others)))
	}
	return append(said, others...)
}

// TestFailuresAreOfFacts: a text that shows a failure, also of a program that
// is not here, shows a fact that there is, and what the fact says.
func TestFailuresAreOfFacts(t *testing.T) {
	tryHere(t)
	facts := map[string]Fact{}
	for _, f := range Facts() {
		facts[f.Claim] = f
	}
	for _, file := range docs.Files {
		for _, block := range blocks(t, file) {
			said := strings.Join(block.Lines, "\n")
			_, rest, failure := strings.Cut(said, "--- FAIL: TestStep")
			if !failure {
				continue
			}
			name, rest, _ := strings.Cut(rest, "\n")
			_, claim, _ := strings.Cut(strings.ReplaceAll(name, "_", " "), "/")
			require.Contains(t, facts, claim, block.At(0))
			n, err := strconv.Atoi(name[:2])
			require.NoError(t, err, block.At(0))
			f := facts[claim].At(n)
			possible := []Failure{{Fact: f}, {Fact: f, Refused: true}, {Fact: f, Hung: true, Saw: []string{""}}}
			for _, kind := range leftBehind {
				possible = append(possible, Failure{Fact: f, Left: true, Saw: []string{kind.what}})
			}
			require.True(t, slices.ContainsFunc(possible, func(f Failure) bool {
				_, tells, _ := strings.Cut(f.String(), "because")
				return strings.Contains(strings.ReplaceAll(rest, "\n    ", "\n"), tells)
			}), "%s: no failure of this fact says so", block.At(0))
			_, more, _ := strings.Cut(rest, "with V=1:\n")
			for _, claim := range lines(more) {
				if strings.TrimSpace(claim) == "…" { // for the rest
					break
				}
				require.Contains(t, facts, strings.TrimSpace(claim), block.At(0))
			}
		}
	}
}

// sixLines picks the lines with which a failure explains itself.
func sixLines(block []string) (six []string) {
	for _, line := range block {
		if rest, ok := strings.CutPrefix(line, "    "); ok {
			six = append(six, rest)
		}
	}
	return six
}

// inOneWord names a block where a slash would make subtests.
func inOneWord(block docs.Block) string { return strings.ReplaceAll(block.At(0), "/", "_") }

// blocks are those of a text, which must be in the sandbox.
func blocks(t *testing.T, file string) []docs.Block {
	list, err := docs.Read(texts, file)
	require.NoError(t, err)
	return list
}

// goTool stands in for the go command: the programs are built already. Like
// the real one, `go run` calls them by a path below /go-build, which they look at
// when they say what to paste, and turns each failure into its own status 1.
const goTool = `go() {
	program=${2##*/}
	shift 2
	` + goBuild + `/"$program" "$@"
	status=$?
	[ $status = 0 ] && return
	echo "exit status $status" >&2
	return 1
}
`

// goBuild leads to the programs.
const goBuild = "/box/go-build"

// transcribe runs commands in one shell and returns what each prints, stdout
// and stderr together, as on a terminal. The shell is root's, or that of user.
func transcribe(t *testing.T, user string, commands []docs.Command) [][]string {
	const end = "\036" // of one command's output
	script := goTool
	for _, c := range commands {
		script += fmt.Sprintf("%s\nstatus=$?; printf '%s'; (exit $status)\n", c.Line, `\036`)
	}
	if err := os.Symlink("bin", goBuild); !errors.Is(err, fs.ErrExist) {
		require.NoError(t, err)
	}
	dir := t.TempDir() // files, not pipes and -c: nobody waits, and no command line holds the text
	require.NoError(t, os.WriteFile(dir+"/script", []byte(script), 0o644))
	stdout, err := os.Create(dir + "/out")
	require.NoError(t, err)
	defer stdout.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience) // it is many runs
	defer cancel()
	words := []string{"sh", dir + "/script"}
	if user != "" {
		words = append([]string{"/probe", "as", user}, words...)
		for _, d := range []string{dir, filepath.Dir(dir)} {
			require.NoError(t, os.Chmod(d, 0o755))
		}
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = texts
	cmd.Stdout, cmd.Stderr = stdout, stdout
	ended := cmd.Run()
	out, err := os.ReadFile(dir + "/out")
	require.NoError(t, err)
	require.NoError(t, ctx.Err(), "the transcript hangs after:\n%s", out)
	parts := strings.Split(string(out), end)
	require.Len(t, parts, len(commands)+1, "the shell ended early: %v\n%s", ended, out)
	outputs := make([][]string, len(commands))
	for i := range commands {
		outputs[i] = lines(parts[i])
	}
	return outputs
}
