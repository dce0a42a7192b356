package docs

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// root is the repository's, as seen from here.
const root = "../.."

var update = flag.Bool("update", false, "write the listings of the texts anew")

// TestListings compares each listing with the code that it names.
func TestListings(t *testing.T) {
	for _, file := range Files {
		blocks, changed := read(t, file), false
		for i, b := range blocks {
			want, err := listing(b)
			if err != nil {
				t.Errorf("%s: %v", b.At(-2), err)
				continue
			}
			if want == nil || cmp.Equal(want, b.Lines) {
				continue
			}
			if *update {
				blocks[i].Lines, changed = want, true
				continue
			}
			t.Errorf("%s: not what the code says; run: make carry\n%s", b.At(0), cmp.Diff(want, b.Lines))
		}
		if changed {
			require.NoError(t, Write(root, file, blocks))
		}
	}
}

// listing is what a block must hold; nil when it is none.
func listing(b Block) ([]string, error) {
	words := strings.Fields(b.Args)
	switch {
	case b.Kind == "code" && len(words) == 2:
		return declaration(words[0], words[1])
	case b.Kind == "diff" && len(words) == 3:
		return difference(words[0], words[1], words[2])
	case b.Kind == "file" && len(words) == 1:
		text, err := os.ReadFile(root + "/" + words[0])
		return strings.Split(strings.TrimRight(string(text), "\n"), "\n"), err
	case b.Kind == "code" || b.Kind == "diff" || b.Kind == "file":
		return nil, fmt.Errorf("<!-- %s: %s -->: want FILE SYMBOL, STEP STEP FILE or FILE", b.Kind, b.Args)
	}
	return nil, nil
}

// declaration cuts a declaration with its comment out of a Go file. A symbol
// is a name, a method as Type.name, or an element of a list as name[0].
func declaration(path, symbol string) ([]string, error) {
	src, err := os.ReadFile(root + "/" + path)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	name, index, _ := strings.Cut(strings.TrimSuffix(symbol, "]"), "[")
	for _, decl := range file.Decls {
		node, values := named(decl, name)
		if node == nil {
			continue
		}
		if index != "" {
			n, err := strconv.Atoi(index)
			if err != nil || n >= len(values) {
				return nil, fmt.Errorf("%s has no element %s", path, symbol)
			}
			node = values[n]
		}
		from, to := fset.Position(start(node)).Offset, fset.Position(node.End()).Offset
		from = bytes.LastIndexByte(src[:from], '\n') + 1 // with its indentation
		return unindent(strings.Split(string(src[from:to]), "\n")), nil
	}
	return nil, fmt.Errorf("%s declares no %s", path, symbol)
}

// named returns decl when it declares name, and the elements of its value when
// that is a list.
func named(decl ast.Decl, name string) (ast.Node, []ast.Expr) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		full := d.Name.Name
		if d.Recv != nil {
			receiver := d.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if id, ok := receiver.(*ast.Ident); ok {
				full = id.Name + "." + full
			}
		}
		if full == name {
			return d, nil
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.Name == name {
					return d, nil
				}
			case *ast.ValueSpec:
				if !slices.ContainsFunc(s.Names, func(id *ast.Ident) bool { return id.Name == name }) {
					continue
				}
				if len(s.Values) == 1 {
					if list, ok := s.Values[0].(*ast.CompositeLit); ok {
						return d, list.Elts
					}
				}
				return d, nil
			}
		}
	}
	return nil, nil
}

// start is where a declaration begins: at its comment.
func start(node ast.Node) token.Pos {
	switch d := node.(type) {
	case *ast.FuncDecl:
		if d.Doc != nil {
			return d.Doc.Pos()
		}
	case *ast.GenDecl:
		if d.Doc != nil {
			return d.Doc.Pos()
		}
	}
	return node.Pos()
}

// unindent takes away the tabs with which the first line begins.
func unindent(lines []string) []string {
	tabs := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], "\t"))]
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, tabs)
	}
	return lines
}

// difference is what diff(1) says about a file of two steps.
func difference(from, to, name string) ([]string, error) {
	a, b := "steps/"+from+"/"+name, "steps/"+to+"/"+name
	cmd := exec.Command("diff", "-U1", "-L", a, "-L", b, a, b)
	cmd.Dir = root
	out, err := cmd.Output()
	var exited *exec.ExitError
	if errors.As(err, &exited) && exited.ExitCode() == 1 { // they differ
		return strings.Split(strings.TrimRight(string(out), "\n"), "\n"), nil
	}
	return nil, fmt.Errorf("diff %s %s: %v", a, b, err)
}

// TestMarkers finds blocks of which nothing says what keeps them true.
func TestMarkers(t *testing.T) {
	kinds := map[string][]string{
		"go": {"code"}, "diff": {"diff"}, "console": {"run", "here", "fails", "breaks", "engine", "not run"}, "sh": {"here", "not run"},
		"toml": {"file"}, "json": {"file"}, "yaml": {""},
	}
	for _, file := range Files {
		for _, b := range read(t, file) {
			if !slices.Contains(kinds[b.Lang], b.Kind) {
				t.Errorf("%s: a block of %q under a marker %q; package docs says which there are", b.At(-1), b.Lang, b.Kind)
			}
			if b.Kind == "not run" && b.Args == "" {
				t.Errorf("%s: not run, and no reason", b.At(-2))
			}
			if b.Lang == "console" && b.Kind != "fails" {
				if _, err := b.Commands(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// headings are those of a lesson, after its title.
var headings = []string{
	"The problem", "The kernel's tool", "The change", "See it", "Break it",
	"Check it", "In real runtimes", "Questions",
}

// TestLessons holds the form that all lessons have.
func TestLessons(t *testing.T) {
	dirs, err := filepath.Glob(root + "/steps/*")
	require.NoError(t, err)
	for _, dir := range dirs {
		step := filepath.Base(dir)
		file := "steps/" + step + "/README.md"
		if !slices.Contains(Files, file) {
			t.Errorf("%s is not among docs.Files", file)
			continue
		}
		text, err := os.ReadFile(root + "/" + file)
		require.NoError(t, err)
		lines := strings.Split(string(text), "\n")

		title := "# " + strings.Replace(step, "-", " ", 1) + " — "
		if !strings.HasPrefix(lines[0], title) {
			t.Errorf("%s:1: begins with %q, not with %q", file, lines[0], title)
		}
		if !strings.HasPrefix(lines[2], "New file") {
			t.Errorf("%s:3: does not name the new file first", file)
		}
		var saw []string
		for _, line := range prose(string(text)) {
			if h, ok := strings.CutPrefix(line, "## "); ok {
				saw = append(saw, h)
			}
		}
		if d := cmp.Diff(headings, saw); d != "" {
			t.Errorf("%s: its headings (- wanted, + there):\n%s", file, d)
		}
		if !strings.Contains(strings.Join(prose(string(text)), " "), "What is still open: ") {
			t.Errorf("%s: does not say what is still open", file)
		}
		if n := strings.Count(string(text), "://"); n > 2 {
			t.Errorf("%s: %d links to other places; two are read, more are not", file, n)
		}
		words := 0
		for _, line := range prose(string(text)) {
			words += len(strings.Fields(tag.ReplaceAllString(line, "")))
		}
		if words < 350 || words > 600 {
			t.Errorf("%s: %d words of prose; a lesson has 350 to 600", file, words)
		}
		t.Logf("%s: %d words", file, words)
	}
}

// TestLengths keeps the two overviews on a page or two.
func TestLengths(t *testing.T) {
	for file, most := range map[string]int{"README.md": 90, "harness/README.md": 80, "harness/instructor.md": 80} {
		text, err := os.ReadFile(root + "/" + file)
		require.NoError(t, err)
		if n := strings.Count(string(text), "\n"); n > most {
			t.Errorf("%s has %d lines, at most %d fit", file, n, most)
		}
	}
}

var (
	tag  = regexp.MustCompile(`<[^>]*>`)
	code = regexp.MustCompile("`[^`]*`")
	link = regexp.MustCompile(`(?:\]\(|src=")([^)"\s]+)[)"]`) // also that of a picture
)

// prose returns a text without its blocks, line by line: an empty line stands
// for each that is left out.
func prose(text string) []string {
	lines, inside := strings.Split(text, "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(line, "```")
		if inside || fence || strings.HasPrefix(line, "<!--") {
			lines[i] = ""
		}
		inside = inside != fence
	}
	return lines
}

// TestProse follows links, and holds the tone.
func TestProse(t *testing.T) {
	for _, file := range Files {
		text, err := os.ReadFile(root + "/" + file)
		require.NoError(t, err)
		for i, line := range prose(string(text)) {
			at := fmt.Sprintf("%s:%d", file, i+1)
			if strings.Contains(code.ReplaceAllString(line, ""), "!") {
				t.Errorf("%s: an exclamation mark", at)
			}
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue // no test depends on the network
				}
				if err := resolve(file, m[1]); err != nil {
					t.Errorf("%s: the link to %s leads nowhere: %v", at, m[1], err)
				}
			}
		}
	}
}

// resolve follows a link of a text: to a file, and there to a heading.
func resolve(file, link string) error {
	path, anchor, anchored := strings.Cut(link, "#")
	target := filepath.Join(root, filepath.Dir(file), path)
	if path == "" {
		target = filepath.Join(root, file)
	}
	if _, err := os.Stat(target); err != nil || !anchored {
		return err
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	for _, line := range prose(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") && anchorOf(title) == anchor {
			return nil
		}
	}
	return fmt.Errorf("no heading there is #%s", anchor)
}

// anchorOf is what GitHub makes of a heading: small letters, "-" for each space,
// and no other signs than "-" and "_".
func anchorOf(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// TestResolve is the control of TestProse: links that lead somewhere, and not.
func TestResolve(t *testing.T) {
	for link, found := range map[string]bool{
		"../02-pid/README.md":             true,
		"../02-pid/README.md#break-it":    true,
		"#the-kernels-tool":               true,
		"#01-uts--a-hostname-of-its-own":  true,
		"../02-pid/README.md#Break it":    false,
		"../02-pid/README.md#no-heading":  false,
		"../02-pid/README.html":           false,
		"../02-pid/README.html#break-it":  false,
		"../02-pid#break-it":              false,
		"../02-pid/README.md#usage-of-ls": false,
	} {
		require.Equal(t, found, resolve("steps/01-uts/README.md", link) == nil, link)
	}
}

// TestCommentsAreNarrow: at most 80 columns, a tab counting 4, so that code and
// its reasons fit beside each other. Code may be wider.
func TestCommentsAreNarrow(t *testing.T) {
	files, err := filepath.Glob(root + "/steps/*/*.go")
	require.NoError(t, err)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for i, line := range strings.Split(string(text), "\n") {
			wide := len([]rune(strings.ReplaceAll(line, "\t", "    ")))
			if strings.HasPrefix(strings.TrimSpace(line), "//") && wide > 80 {
				t.Errorf("%s:%d: a comment of %d columns", strings.TrimPrefix(path, root+"/"), i+1, wide)
			}
		}
	}
}

// TestCompare is the control of Compare: what may differ, and what may not.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		promise, output string
		same            bool
	}{
		{"laptop", "box", true},
		{"laptop", "laptop", false},
		{"uts:[4026531838]", "uts:[4026532135]", true},
		{"24871", "57", true},
		{"24871", "1", false},
		{"143", "137", false},
		{"67108864", "9223372036854771712", false},
		{"/proc/1 /proc/10 …", "/proc/1 /proc/10 /proc/11", true},
		{"/proc/1", "/proc/1 /proc/10", false},
		{"a.c", "abc", false},
	} {
		difference := Block{}.Compare(Command{Output: []string{c.promise}}, "box", []string{c.output})
		require.Equal(t, c.same, difference == "", "%q and %q", c.promise, c.output)
	}
	b := Block{File: "a.md", Line: 7}
	require.Contains(t, b.Compare(Command{Line: "ls", Output: []string{"x"}, Index: 1}, "", nil), "a.md:9: ls\ndoes not print")
	require.Contains(t, b.Compare(Command{Line: "ls", Index: 1}, "", []string{"x"}), "a.md:8: ls\nprints also")
}

// TestRecord keeps of a transcript what is still true, and nothing else.
func TestRecord(t *testing.T) {
	promise := []string{"$ a", "laptop", "uts:[4026531838]", "pid 24871 of laptop", "/proc/1 /proc/9 …", "$ b", "x", "24871", "$ c"}
	r := Recording{Host: "box", Outputs: [][]string{{"box", "uts:[4026532135]", "pid 57 of box", "/proc/1 /proc/9 /proc/10"}, {"x", "57"}, nil}}
	b := Block{Lines: slices.Clone(promise)}
	changed, err := b.Record(r)
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, promise, b.Lines)
	for _, c := range []struct{ spoiled, mended []string }{
		{[]string{"$ a", "laptopp", "uts:[]", "pod 24871 of laptop", "/proc/1 /proc/8 …", "$ b", "x", "24871", "$ c"}, // changed
			[]string{"$ a", "laptop", "uts:[4026532135]", "pid 24871 of laptop", "/proc/1 /proc/9 …", "$ b", "x", "24871", "$ c"}},
		{[]string{"$ a", "laptop", "pid 24871 of laptop", "/proc/1 /proc/9 …", "$ b", "24871", "$ c"}, // left out
			[]string{"$ a", "laptop", "uts:[4026532135]", "pid 24871 of laptop", "/proc/1 /proc/9 …", "$ b", "x", "24871", "$ c"}},
		{[]string{"$ a", "laptop", "uts:[4026531838]", "y", "pid 24871 of laptop", "/proc/1 /proc/9 …", "$ b", "x", "24871", "$ c", "z"}, // too much
			promise},
	} {
		b.Lines = c.spoiled
		changed, err = b.Record(r)
		require.NoError(t, err)
		require.True(t, changed)
		require.Equal(t, c.mended, b.Lines)
	}
	b.Lines = []string{"$ a", "x"} // of a machine called "the"
	_, err = b.Record(Recording{Host: "the", Outputs: [][]string{{"of the host"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"$ a", "of the host"}, b.Lines)
	b.Lines = promise
	_, err = b.Record(Recording{})
	require.ErrorContains(t, err, "3 commands")
}

// TestDeclaration tries each form of a symbol, and one that is not there.
func TestDeclaration(t *testing.T) {
	for symbol, first := range map[string]string{
		"container":         "// container is what run holds of a container: its init process and all that",
		"container.handles": "// handles tells whether the command catches, ignores or blocks sig, as in",
		"awaitRelease":      "// awaitRelease keeps init from going on before run is done: one byte on the",
	} {
		lines, err := declaration("steps/02-pid/pid.go", symbol)
		require.NoError(t, err)
		require.Equal(t, first, lines[0])
		require.Equal(t, "}", lines[len(lines)-1])
	}
	element, err := declaration("harness/docs/docs.go", "Files[0]")
	require.NoError(t, err)
	require.Equal(t, []string{`"README.md"`}, element)
	for _, symbol := range []string{"nobody", "Files[99]", "Block.nobody"} {
		_, err = declaration("harness/docs/docs.go", symbol)
		require.Error(t, err, symbol)
	}
}

// read are the blocks of a text.
func read(t *testing.T, file string) []Block {
	blocks, err := Read(root, file)
	require.NoError(t, err)
	return blocks
}
