package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What is deleted leaves variables and imports behind that nothing uses any
// more, or variables that nothing declares. Here that is mended, so that the
// mutant compiles and differs in what it does.

// zero declares the variables that a deleted statement declared, without their
// values.
func (d *deleter) zero(s ast.Stmt) string {
	assign, ok := s.(*ast.AssignStmt)
	if !ok || assign.Tok != token.DEFINE {
		return ""
	}
	var out strings.Builder
	for _, left := range assign.Lhs {
		id := left.(*ast.Ident)
		if v := d.info.Defs[id]; v != nil && id.Name != "_" {
			name := types.TypeString(v.Type(), func(p *types.Package) string {
				if p == d.pkg {
					return ""
				}
				return p.Name()
			})
			fmt.Fprintf(&out, "var %s %s; _ = %s; ", id.Name, name, id.Name)
		}
	}
	return out.String()
}

// keep uses the local variables that a deleted node used and that are declared
// before pos: one that nothing uses does not compile.
func (d *deleter) keep(n ast.Node, pos token.Pos) string {
	var out []string
	ast.Inspect(n, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		v, ok := d.info.Uses[id].(*types.Var)
		if !ok || v.IsField() || v.Parent() == d.pkg.Scope() || v.Pos() >= pos {
			return true
		}
		if use := "_ = " + v.Name(); !slices.Contains(out, use) {
			out = append(out, use)
		}
		return true
	})
	return strings.Join(out, "; ")
}

var major = regexp.MustCompile(`/v[0-9]+$`)

// blankImports turns imports that source no longer uses into `_ "path"`.
func blankImports(source []byte) []byte {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil {
		return source // go build will say it
	}
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, spec := range slices.Backward(file.Imports) {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := major.ReplaceAllString(path, "") // "math/rand/v2" is package rand
		if spec.Name == nil && !used[name[strings.LastIndexByte(name, '/')+1:]] {
			at := fset.Position(spec.Pos()).Offset
			source = slices.Concat(source[:at], []byte("_ "), source[at:])
		}
	}
	return source
}
