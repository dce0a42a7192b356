package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// toy is a step in which each kind of deletion is there once.
const toy = `package main

import (
	"errors"
	"os"
	"strings"
)

var table = []struct {
	name  string
	flags int
}{
	{"one", os.O_RDWR | os.O_CREATE},
	{"two", 0},
}

func main() {
	defer os.Remove("x")
	name := strings.ToUpper("x")
	if err := check(name); err != nil {
		os.Exit(1)
	}
	go func() { check(name) }()
}

func check(name string) error {
	if name == "" {
		return errors.New("no name")
	} else if len(name) > 9 {
		name = name[:9]
	}
	for _, row := range table {
		_ = row
	}
	return nil
}
`

// module writes a module with steps and returns the directory of these.
func module(t *testing.T, steps map[string]map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module toy\n\ngo 1.26\n"), 0o644))
	for step, files := range steps {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "steps", step), 0o755))
		for name, source := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "steps", step, name), []byte(source), 0o644))
		}
	}
	return filepath.Join(dir, "steps")
}

// texts are what the mutants of a symbol delete.
func texts(all []Mutant, symbol string) (list []string) {
	for _, m := range all {
		if m.Symbol == symbol {
			list = append(list, m.Text())
		}
	}
	return list
}

func TestFindDeletesOneThingAtATime(t *testing.T) {
	all, err := Find(module(t, map[string]map[string]string{"01-toy": {"toy.go": toy}}))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		`{"one", os.O_RDWR | os.O_CREATE}`,
		`os.O_RDWR [{"one", os.O_RDWR | os.O_CREATE}]`,
		`os.O_CREATE [{"one", os.O_RDWR | os.O_CREATE}]`,
		`{"two", 0}`,
	}, texts(all, "table"))
	require.ElementsMatch(t, []string{
		`defer os.Remove("x")`,
		`name := strings.ToUpper("x")`,
		`if err := check(name); err != nil { os.Exit(1) }`,
		`os.Exit(1)`,
		`go func() { check(name) }()`,
		`check(name)`,
	}, texts(all, "main"))
	require.ElementsMatch(t, []string{
		`if name == "" { return errors.New("no name") } else if len(name) > 9 { name = name[:9] }`,
		`return errors.New("no name") [if name == ""]`,
		`if len(name) > 9 { name = name[:9] } [else of if name == ""]`,
		`name = name[:9]`,
		`for _, row := range table { _ = row }`,
		`_ = row`,
	}, texts(all, "check"))
}

func TestMutantsCompile(t *testing.T) {
	steps := module(t, map[string]map[string]string{"01-toy": {"toy.go": toy}})
	all, err := Find(steps)
	require.NoError(t, err)
	b := &Builder{Module: filepath.Dir(steps), Steps: steps, Dir: t.TempDir()}
	names := map[string]string{}
	for _, m := range all {
		why, err := b.Build(m)
		require.NoError(t, err)
		require.Empty(t, why, m.ID())
		require.FileExists(t, b.Executable(m))
		names[b.Executable(m)] = m.ID()
	}
	require.Len(t, names, len(all), "two mutants share an executable")
}

func TestWhatDoesNotCompileIsSaid(t *testing.T) {
	const endless = "package main\n\nfunc main() { f() }\n\nfunc f() int {\n\tfor {\n\t}\n}\n"
	steps := module(t, map[string]map[string]string{"01-toy": {"toy.go": endless}})
	all, err := Find(steps)
	require.NoError(t, err)
	b := &Builder{Module: filepath.Dir(steps), Steps: steps, Dir: t.TempDir()}
	for range 2 { // the second time from what the first kept
		why, err := b.Build(all[len(all)-1])
		require.NoError(t, err)
		require.Contains(t, why, "missing return")
	}
}

func TestOnlyTheCompilersWordIsKept(t *testing.T) {
	steps := module(t, map[string]map[string]string{"01-toy": {"toy.go": toy}})
	m := Mutant{Step: "01-toy", File: "toy.go", source: []byte("package main\n\nimport _ \"example.com/missing\"\n\nfunc main() {}\n")}
	b := &Builder{Module: filepath.Dir(steps), Steps: steps, Dir: t.TempDir()}
	t.Setenv("GOPROXY", "off")
	for range 2 {
		_, err := b.Build(m)
		require.ErrorContains(t, err, "example.com/missing")
		require.Empty(t, names(t, b.Dir))
	}
}

func TestCompileErrors(t *testing.T) {
	for said, want := range map[string]bool{
		"# toy/steps/01-toy\n.build/mutants/01-toy-6d.half.go:6:1: missing return": true,
		"# toy/steps/01-toy\na dir/x.go:7:3: too many arguments in call to f\n" +
			"\thave (number, number)\n\twant ()\nsteps/01-toy/y.go:2:20: undefined: x\ntoo many errors": true,
		"": false,
		"# toy/steps/01-toy\n/usr/local/go/pkg/tool/linux_amd64/link: mapping output file failed: no space left on device":           false,
		"# toy/steps/01-toy\n/usr/local/go/pkg/tool/linux_amd64/compile: signal: killed":                                             false,
		"# toy/steps/01-toy\nx.go:6:1: missing return\ngo: failed to trim cache: no space left on device":                            false,
		"# toy/steps/02-toy\nx.go:6:1: missing return":                                                                               false,
		"# github.com/vishvananda/netlink\n../netlink/addr.go:6:1: missing return":                                                   false,
		"steps/01-toy/toy.go:3:8: no required module provides package example.com/missing; to add it:\n\tgo get example.com/missing": false,
		"failed to initialize build cache at /dev/null/x: mkdir /dev/null: not a directory":                                          false,
	} {
		require.Equal(t, want, isCompileError(said, "01-toy"), said)
	}
}

// names are those of the files in a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestFindTakesAFileWhereItFirstAppears(t *testing.T) {
	const carried = "package main\n\nfunc carried() { println() }\n"
	first := "package main\n\nfunc main() {\n\tcarried()\n}\n"
	second := strings.Replace(first, "carried()\n}", "carried()\n\tprintln(2)\n}", 1)
	all, err := Find(module(t, map[string]map[string]string{
		"01-toy": {"main.go": first, "carried.go": carried},
		"02-toy": {"main.go": second, "carried.go": carried},
	}))
	require.NoError(t, err)
	var ids []string
	for _, m := range all {
		ids = append(ids, m.ID())
	}
	require.Equal(t, []string{
		"01-toy/carried.go carried | println()",
		"01-toy/main.go main | carried()",
		"02-toy/main.go main | println(2)",
	}, ids)
}

func TestTheSameWordsTwiceHaveANumber(t *testing.T) {
	all, err := Find(module(t, map[string]map[string]string{
		"01-toy": {"main.go": "package main\n\nfunc main() {\n\tprintln()\n\tprintln()\n}\n"},
	}))
	require.NoError(t, err)
	require.Equal(t, []string{"println()", "println() #2"}, texts(all, "main"))
}
