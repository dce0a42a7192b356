package mutants_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"containers-from-scratch/harness/checks"
	"containers-from-scratch/harness/mutants"

	"github.com/stretchr/testify/require"
)

// TestFactsPointAtWhatIsThere compares Fact.Ours with the steps: a symbol that
// was renamed sends a learner nowhere.
func TestFactsPointAtWhatIsThere(t *testing.T) {
	for _, fact := range checks.Facts() {
		require.NotEmpty(t, fact.Ours, fact.Claim)
		for _, place := range fact.Ours {
			file, symbol, _ := strings.Cut(place, " ")
			require.Contains(t, symbols(t, filepath.Join("../../steps", file)), symbol, "%q: %s", fact.Claim, place)
		}
	}
}

// TestEveryMutantHasAFact finds functions and tables at which no fact points:
// whatever is deleted there, nobody would notice.
func TestEveryMutantHasAFact(t *testing.T) {
	pointed := map[string]bool{}
	for _, fact := range checks.Facts() {
		for _, place := range fact.Ours {
			pointed[place] = true
		}
	}
	all, err := mutants.Find("../../steps")
	require.NoError(t, err)
	for _, m := range all {
		require.True(t, pointed[m.Place()], "no fact points at %s", m.Place())
	}
}

// symbols are the names that a file declares at its top level.
func symbols(t *testing.T, path string) (names []string) {
	t.Helper()
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, decl.Name.Name)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names = append(names, name.Name)
					}
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
				}
			}
		}
	}
	return names
}
