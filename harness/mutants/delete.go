package mutants

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// A deleter makes the mutants of one file.
type deleter struct {
	fset       *token.FileSet
	pkg        *types.Package
	info       *types.Info
	file       *ast.File
	source     []byte
	step, name string

	symbol  string   // where the walk is
	mutants []Mutant // what it found
}

// all walks through the functions and tables of the file.
func (d *deleter) all() []Mutant {
	for _, decl := range d.file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			d.symbol = decl.Name.Name
			d.walk(decl)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					d.symbol = v.Names[0].Name
					d.walk(v)
				}
			}
		}
	}
	slices.SortStableFunc(d.mutants, func(a, b Mutant) int { return a.Line - b.Line })
	return d.mutants
}

// walk visits node and all below it, with the way there at hand.
func (d *deleter) walk(node ast.Node) {
	var path []ast.Node
	ast.Inspect(node, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return false
		}
		switch n := n.(type) {
		case *ast.BlockStmt:
			d.statements(n.List, path)
		case *ast.CaseClause:
			d.statements(n.Body, path)
		case *ast.CommClause:
			d.statements(n.Body, path)
		case *ast.IfStmt:
			if n.Else != nil {
				d.delete(n.Else, n.Else.Pos(), n.Else.End(), "{ "+d.keep(n.Else, n.Else.Pos())+" }", "else of if "+d.header(n))
			}
		case *ast.CompositeLit:
			d.elements(n, path)
		case *ast.BinaryExpr:
			d.operands(n, path)
		}
		path = append(path, n)
		return true
	})
}

// statements deletes each statement of a block. The last return of a function
// stays: no function compiles without it.
func (d *deleter) statements(list []ast.Stmt, path []ast.Node) {
	parent := path[len(path)-1]
	for i, s := range list {
		of := ""
		switch s.(type) {
		case *ast.DeclStmt, *ast.EmptyStmt, *ast.LabeledStmt, *ast.BlockStmt:
			continue
		case *ast.CaseClause, *ast.CommClause: // nothing but a clause may stand there
			d.delete(s, s.Pos(), s.End(), "", "")
			continue
		case *ast.ReturnStmt:
			switch parent := parent.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
				if i == len(list)-1 {
					continue
				}
			case *ast.IfStmt:
				of = "if " + d.header(parent)
			}
		}
		d.delete(s, s.Pos(), s.End(), d.zero(s)+d.keep(s, s.Pos()), of)
	}
}

// elements deletes each element of a list: a row of a table, an entry of an
// order, a field with its name. Without the names, the number of fields counts.
func (d *deleter) elements(lit *ast.CompositeLit, path []ast.Node) {
	n := len(lit.Elts)
	if n == 0 {
		return
	}
	_, keyed := lit.Elts[0].(*ast.KeyValueExpr)
	t := d.info.TypeOf(lit).Underlying()
	if pointer, ok := t.(*types.Pointer); ok { // &T{} whose & the list leaves out
		t = pointer.Elem().Underlying()
	}
	if _, ok := t.(*types.Struct); ok && !keyed {
		return
	}
	for i, e := range lit.Elts {
		from, to := e.Pos(), e.End()
		switch {
		case n == 1:
			from, to = lit.Lbrace+1, lit.Rbrace
		case i < n-1:
			to = lit.Elts[i+1].Pos()
		default:
			from = lit.Elts[i-1].End()
		}
		of := ""
		if _, ok := e.(*ast.CompositeLit); !ok { // a row speaks for itself
			of = d.around(lit, path)
		}
		d.deletePart(e, from, to, of, path)
	}
}

// operands deletes each operand of a chain of "|".
func (d *deleter) operands(chain *ast.BinaryExpr, path []ast.Node) {
	if chain.Op != token.OR {
		return
	}
	if parent, ok := path[len(path)-1].(*ast.BinaryExpr); ok && parent.Op == token.OR {
		return // seen with its parent
	}
	var operands []ast.Expr
	var flatten func(ast.Expr)
	flatten = func(e ast.Expr) {
		if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.OR {
			flatten(b.X)
			flatten(b.Y)
			return
		}
		operands = append(operands, e)
	}
	flatten(chain)
	for i, o := range operands {
		from, to := o.Pos(), o.End()
		if i < len(operands)-1 {
			to = operands[i+1].Pos()
		} else {
			from = operands[i-1].End()
		}
		d.deletePart(o, from, to, d.around(chain, path), path)
	}
}

// around is the row or the statement that holds a part.
func (d *deleter) around(part ast.Node, path []ast.Node) string {
	for i := len(path) - 1; i >= 0; i-- {
		switch n := path[i].(type) {
		case *ast.CompositeLit:
			if n.Type == nil { // a row
				return d.text(n)
			}
		case *ast.IfStmt:
			return "if " + d.header(n)
		case *ast.BlockStmt, *ast.ValueSpec, *ast.RangeStmt, *ast.ForStmt:
			return d.text(part)
		case ast.Stmt:
			return d.text(n)
		}
	}
	return d.text(part)
}

// deletePart deletes a part of a statement, and before the statement uses the
// variables that were named in the part.
func (d *deleter) deletePart(part ast.Node, from, to token.Pos, of string, path []ast.Node) {
	edits := []edit{{from, to, ""}}
	for i := len(path) - 1; i > 0; i-- {
		_, inBlock := path[i-1].(*ast.BlockStmt)
		if s, ok := path[i].(ast.Stmt); ok && inBlock {
			if used := d.keep(part, s.Pos()); used != "" {
				edits = []edit{{s.Pos(), s.Pos(), used + "; "}, edits[0]}
			}
			break
		}
	}
	d.add(part, edits, of)
}

// delete puts what into the place of a node.
func (d *deleter) delete(n ast.Node, from, to token.Pos, what, of string) {
	d.add(n, []edit{{from, to, what}}, of)
}

// An edit replaces a part of the file.
type edit struct {
	from, to token.Pos
	text     string
}

// add makes one mutant out of edits, which are in the order of the file.
func (d *deleter) add(n ast.Node, edits []edit, of string) {
	source := slices.Clone(d.source)
	for _, e := range slices.Backward(edits) {
		source = slices.Concat(source[:d.offset(e.from)], []byte(e.text), source[d.offset(e.to):])
	}
	d.mutants = append(d.mutants, Mutant{
		Step: d.step, File: d.name, Symbol: d.symbol, Line: d.fset.Position(n.Pos()).Line,
		Gone: d.text(n), Of: of, source: blankImports(source),
	})
}

func (d *deleter) offset(p token.Pos) int { return d.fset.Position(p).Offset }

// text is the source of a node in one line.
func (d *deleter) text(n ast.Node) string {
	return oneLine(string(d.source[d.offset(n.Pos()):d.offset(n.End())]))
}

// header is what stands between "if" and the body.
func (d *deleter) header(s *ast.IfStmt) string {
	return oneLine(string(d.source[d.offset(s.If)+2 : d.offset(s.Body.Pos())]))
}
