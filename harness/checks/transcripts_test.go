//go:build linux

package checks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"containers-from-scratch/harness/docs"

	"github.com/stretchr/testify/require"
)

// texts is where the texts lie in a sandbox.
const texts = "/box/docs"

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
				outputs := transcribe(t, commands)
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
	block := docs.Block{File: "a.md", Line: 3, Lines: []string{"$ echo one; echo two", "one", "2"}}
	commands, err := block.Commands()
	require.NoError(t, err)
	difference := block.Compare(commands[0], "", transcribe(t, commands)[0])
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

// TestFailuresAreOfFacts: a text that shows a failure, also of a program that
// is not here, shows a fact that there is, and what the fact says.
func TestFailuresAreOfFacts(t *testing.T) {
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
			f := facts[claim]
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
// the real one, `go run` turns each failure into its own status 1.
const goTool = `go() {
	program=${2##*/}
	shift 2
	"$program" "$@"
	status=$?
	[ $status = 0 ] && return
	echo "exit status $status" >&2
	return 1
}
`

// transcribe runs commands in one shell and returns what each prints, stdout
// and stderr together, as on a terminal.
func transcribe(t *testing.T, commands []docs.Command) [][]string {
	const end = "\036" // of one command's output
	script := goTool
	for _, c := range commands {
		script += fmt.Sprintf("%s\nstatus=$?; printf '%s'; (exit $status)\n", c.Line, `\036`)
	}
	dir := t.TempDir() // files, not pipes and -c: nobody waits, and no command line holds the text
	require.NoError(t, os.WriteFile(dir+"/script", []byte(script), 0o644))
	stdout, err := os.Create(dir + "/out")
	require.NoError(t, err)
	defer stdout.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", dir+"/script")
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
