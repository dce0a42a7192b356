package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/internal/golden"
)

var (
	first  = Step{1, "01-uts", "steps/01-uts/README.md"}
	second = Step{2, "02-pid", "steps/02-pid/README.md"}
)

// model is one with everything in it.
func model(style Style) *Model {
	m := &Model{Program: "work", Style: style, Hints: func(claim string) []string {
		return []string{"Whose name is it that " + claim + " speaks of, and who may change it?", "Where it is set.", "In this order: first the one, then the other."}
	}}
	m.GoTo(first, &second)
	m.Take(News{Claims: []string{"its hostname is container", "renaming its machine does not rename the host", "its UTS namespace is not the host's"}})
	return m
}

// fails is a verdict as the harness gives it.
func fails(claim string, held ...string) Verdict {
	return Verdict{Kind: Fails, Claim: claim, Held: held, Took: 1234 * time.Millisecond, Lines: []string{
		"I ran      work run probe hostname",
		"expected   container",
		"saw        sandbox",
		"because    a UTS namespace has a hostname of its own",
		"look at    where the hostname is set, after the namespace is there (ours: setHostname in steps/01-uts/uts.go)",
		"read       uts_namespaces(7), sethostname(2)",
	}}
}

// TestScreens compares what is shown with golden files: narrow without colour,
// and wide with it.
func TestScreens(t *testing.T) {
	holds := Verdict{Kind: Holds, Held: model(Style{}).Claims, Took: 500 * time.Millisecond}
	for name, show := range map[string]func(m *Model) string{
		"fails": func(m *Model) string { return m.Head() + m.End(fails("its hostname is container")) },
		"hints": func(m *Model) string {
			m.End(fails("its hostname is container"))
			shown := ""
			for range 4 {
				hint, _ := m.Key('h')
				shown += hint + "--\n"
			}
			return shown
		},
		"list": func(m *Model) string {
			m.End(fails("its UTS namespace is not the host's", "its hostname is container"))
			list, _ := m.Key('l')
			return list
		},
		"holds": func(m *Model) string {
			diff := []string{"--- work/main.go", "+++ steps/01-uts/main.go", "@@ -1 +1 @@", "-\tif err != nil { return fmt.Errorf(\"a line that is wider than the terminal: %w\", err) }", "+ours", " same"}
			return m.difference(diff, 5) + m.End(holds)
		},
		"skips": func(m *Model) string {
			v := holds
			v.Skipped = 4
			m.GoTo(first, nil)
			return m.End(v)
		},
		"no-program": func(m *Model) string {
			return m.End(Verdict{Kind: NoProgram, Lines: []string{"work/main.go:15:2: declared and not used: x", "work/main.go:16:1: syntax error: unexpected keyword for, expected a very long explanation"}})
		},
		"no-verdict": func(m *Model) string {
			return m.End(Verdict{Kind: NoVerdict, Lines: []string{"SANDBOX=vm cannot be used: qemu-system-x86_64 not found → sudo apt-get install qemu-system-x86"}})
		},
		"status": func(m *Model) string {
			var lines []string
			note := func() { lines = append(lines, m.Status()) }
			m.Begin()
			note()
			m.Take(News{Now: "renaming its machine does not rename the host", Done: 1, Total: 3})
			note()
			m.End(fails("its hostname is container"))
			note()
			m.Key('x')
			note()
			m.Key('y')
			m.End(holds)
			note()
			return strings.Join(lines, "\n") + "\n"
		},
	} {
		for _, style := range []Style{{Width: 60, Keys: true}, {Width: 100, Color: true, Keys: true}} {
			file := fmt.Sprintf("testdata/%s-%d.golden", name, style.Width)
			t.Run(filepath.Base(file), func(t *testing.T) {
				shown := show(model(style))
				if !style.Color {
					require.NotContains(t, shown, "\x1b")
					for _, line := range strings.Split(shown, "\n") {
						require.LessOrEqual(t, utf8.RuneCountInString(line), style.Width, line)
					}
				}
				golden.Compare(t, file, shown)
			})
		}
	}
}

// TestKeys: what a key asks for, in which state.
func TestKeys(t *testing.T) {
	failing := func(m *Model) { m.End(fails("its hostname is container")) }
	holding := func(m *Model) { m.End(Verdict{Kind: Holds}) }
	for _, c := range []struct {
		name string
		in   func(*Model)
		keys string
		do   Act
		says string
	}{
		{"run", failing, "r", Run, ""},
		{"quit", failing, "q", Quit, ""},
		{"end of file", failing, "\x04", Quit, ""},
		{"no key", failing, "Z", Nothing, ""},
		{"reset asks", failing, "x", Nothing, ""},
		{"and is done", failing, "xy", Reset, ""},
		{"or not", failing, "xn", Nothing, "Nothing is changed"},
		{"q is no yes", failing, "xq", Nothing, "Nothing is changed"},
		{"next not yet", failing, "n", Nothing, "make start 2"},
		{"next", holding, "n", Next, ""},
		{"next before any verdict", func(*Model) {}, "n", Nothing, "does not hold yet"},
		{"no hint when all holds", holding, "h", Nothing, "none does now"},
		{"diff", holding, "d", Diff, ""},
		{"a list without facts", func(m *Model) { m.Claims = nil }, "l", Nothing, "must compile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(Style{Width: 80, Keys: true})
			c.in(m)
			var says string
			var do Act
			for _, key := range []byte(c.keys) {
				says, do = m.Key(key)
			}
			require.Equal(t, c.do, do)
			require.Contains(t, says, c.says)
		})
	}
}

// TestAStoppedRunChangesNothing: what is known stays known.
func TestAStoppedRunChangesNothing(t *testing.T) {
	m := model(Style{Width: 80})
	m.End(fails("its hostname is container"))
	m.Begin()
	require.Empty(t, m.End(Verdict{Kind: Stopped}))
	require.Equal(t, "its hostname is container", m.FailedLast())
	m.End(Verdict{Kind: NoProgram})
	require.Empty(t, m.FailedLast()) // the file keeps it, see loop.end
}

// TestTheBarForgets: what held of an earlier save is not counted for this one, which
// may not even start; one that does not compile says nothing of any fact.
func TestTheBarForgets(t *testing.T) {
	m := model(Style{Width: 80})
	m.End(fails("its UTS namespace is not the host's", m.Claims[:2]...))
	m.End(Verdict{Kind: NoProgram})
	require.Len(t, m.holds, 2)
	require.Contains(t, m.End(fails("its UTS namespace is not the host's")), "0/3")
	m.Own = m.Claims
	require.Contains(t, m.End(fails("its UTS namespace is not the host's")), "The first fact that was tried (1.2 s) does not hold")
}

// TestTheStepsOwnFactsCountFirst: they are tried first, and when they hold it is
// said at once.
func TestTheStepsOwnFactsCountFirst(t *testing.T) {
	m := model(Style{Width: 80})
	own := m.Claims[:2]
	m.Begin()
	m.Take(News{Claims: m.Claims, Own: own})
	require.Contains(t, m.End(fails(own[1], own[0])), "1/2 of the step's own facts are seen to hold")
	m.Begin()
	m.Take(News{OwnHold: true, Own: own})
	m.Take(News{Now: m.Claims[2], Done: 2, Total: 3})
	require.Contains(t, m.Status(), "the step's own facts hold (2); trying the others: 2/3")
	require.Contains(t, m.End(fails(m.Claims[2], own...)), "2/3 facts hold, all that the step adds")
	m.Begin()
	require.NotContains(t, m.Status(), "own facts")
}

func TestProgressIsKept(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, Progress{Step: 1, Hints: map[string]int{}}, Load(dir))
	p := Progress{Step: 3, Failed: "a fact", Hints: map[string]int{"a fact": 2}}
	require.NoError(t, p.Save(dir))
	require.Equal(t, p, Load(dir))
	require.NoError(t, os.WriteFile(dir+"/.progress", []byte("{"), 0o644))
	require.Equal(t, 1, Load(dir).Step)
	require.NoError(t, p.Save(dir+"/gone"))
	require.NoDirExists(t, dir+"/gone")
}

func TestPutKeepsACopy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	now := time.Date(2026, 11, 24, 19, 23, 21, 0, time.UTC)
	files := map[string]string{"main.go": "package main\n"}
	put := func() string {
		backup, err := Put(dir, files, now)
		require.NoError(t, err)
		return backup
	}
	require.Empty(t, put())
	require.Empty(t, put(), "nothing has changed")
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("mine"), 0o644))
	require.NoError(t, os.MkdirAll(dir+"/sub", 0o755))
	require.NoError(t, os.WriteFile(dir+"/sub/note", []byte("mine too"), 0o644))
	require.NoError(t, Progress{Step: 2}.Save(dir))
	backup := put()
	require.Equal(t, dir+"/.backup/2026-11-24_192321", backup)
	for name, content := range map[string]string{
		backup + "/main.go": "mine", backup + "/sub/note": "mine too", dir + "/main.go": "package main\n",
	} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, content, string(data))
	}
	require.NoDirExists(t, dir+"/sub")
	require.Equal(t, 2, Load(dir).Step)
	require.NoError(t, os.WriteFile(dir+"/main.go", []byte("mine again"), 0o644))
	require.Equal(t, backup+"_2", put(), "in the same second")
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) { require.NoError(t, os.WriteFile(dir+"/"+name, []byte(text), 0o644)) }
	before := Snap(dir)
	require.True(t, before.Equal(Snap(dir)))
	write(".progress", "{}")
	require.True(t, before.Equal(Snap(dir)), "a hidden file is none of the program")
	write("main.go", "package main")
	written := Snap(dir)
	require.False(t, before.Equal(written))
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(dir+"/main.go", past, past))
	require.False(t, written.Equal(Snap(dir)), "a clock that goes back")
	require.NoError(t, os.Remove(dir+"/main.go"))
	require.True(t, before.Equal(Snap(dir)))
	require.Empty(t, Snap(dir+"/gone"))
}
