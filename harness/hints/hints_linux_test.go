package hints

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"containers-from-scratch/harness/checks"

	"github.com/stretchr/testify/require"
)

// taught are the facts that a learner meets: not what step 07 is needed for.
func taught() map[string]bool {
	claims := map[string]bool{}
	for n := 1; n <= LastStep; n++ {
		for _, f := range checks.FactsAt(n) {
			if !strings.HasPrefix(f.Ours[0], "07-final/") {
				claims[f.Claim] = true
			}
		}
	}
	return claims
}

func TestEachFactHasThreeHints(t *testing.T) {
	claims := taught()
	require.NotEmpty(t, claims)
	for claim := range claims {
		require.Len(t, For(claim), 3, claim)
	}
	for _, claim := range Claims() {
		require.True(t, claims[claim], "hints for %q, which is no fact that is taught", claim)
	}
}

func TestHintsSaySomething(t *testing.T) {
	seen := map[string]string{}
	for _, claim := range Claims() {
		for i, hint := range For(claim) {
			words := len(strings.Fields(hint))
			require.True(t, words >= 6 && words <= 70, "hint %d of %q has %d words", i+1, claim, words)
			require.Empty(t, seen[hint], "two facts have the same hint: %s", hint)
			seen[hint] = claim
			require.NotContains(t, hint, "!")
		}
	}
}

// given is how many tokens of our code a hint may hold in a row: enough for a
// name such as syscall.CLONE_NEWUTS, too few for a line.
const given = 4

// TestHintsGiveNoCode finds in hints what stands in our programs.
func TestHintsGiveNoCode(t *testing.T) {
	lines := map[string]string{}
	paths, err := filepath.Glob("../../steps/0[1-6]-*/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, run := range runs(string(src)) {
			lines[run] = path
		}
	}
	for _, claim := range Claims() {
		for _, hint := range For(claim) {
			for _, run := range runs(hint) {
				require.Empty(t, lines[run], "a hint for %q gives away %q", claim, run)
			}
		}
	}
}

// TestRunsNotice is the control.
func TestRunsNotice(t *testing.T) {
	require.Contains(t, runs("a hint: syscall.Sethostname([]byte(x))"), "syscall . Sethostname ( [")
	require.Equal(t, []string{"a b c d e"}, runs("a b c d e"))
	require.Empty(t, runs("a b c d"))
}

// runs are all rows of tokens that are one longer than a hint may hold.
func runs(text string) (runs []string) {
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("", -1, len(text)), []byte(text), func(token.Position, string) {}, 0)
	var row []string
	for {
		_, tok, literal := s.Scan()
		if tok == token.EOF {
			return runs
		}
		if tok == token.SEMICOLON && literal == "\n" {
			continue
		}
		if literal == "" || tok.IsKeyword() {
			literal = tok.String()
		}
		row = append(row, literal)
		if len(row) > given {
			row = row[len(row)-given-1:]
			runs = append(runs, strings.Join(row, " "))
		}
	}
}
