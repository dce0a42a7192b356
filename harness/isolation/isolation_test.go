package isolation

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/internal/golden"
	"containers-from-scratch/harness/probe"
)

// recorded is what make map measured in a virtual machine, of all steps,
// and of runc.
func recorded(t *testing.T) probe.Measurement {
	data, err := os.ReadFile("testdata/vm.json")
	require.NoError(t, err)
	m, err := probe.Decode(data)
	require.NoError(t, err)
	require.Len(t, m.Columns, 10)
	return m
}

func TestTheTerminalShows(t *testing.T) {
	golden.Compare(t, "testdata/wide.golden", Terminal(recorded(t), 150, false))
	golden.Compare(t, "testdata/narrow.golden", Terminal(recorded(t), 80, false))
}

// TestNoLineIsTooWide, down to terminals of 60 columns.
func TestNoLineIsTooWide(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		for _, line := range strings.Split(Terminal(recorded(t), width, false), "\n") {
			// The lines below the table are sentences, which a terminal wraps.
			if n := len([]rune(line)); n > width && !strings.Contains(line, ": ") && !strings.HasPrefix(line, "●") {
				t.Errorf("%d columns in a terminal of %d: %s", n, width, line)
			}
		}
	}
}

// TestBoldSaysNothingElse: whoever sees no bold text loses nothing.
func TestBoldSaysNothingElse(t *testing.T) {
	bold := Terminal(recorded(t), 100, true)
	require.Contains(t, bold, "\x1b[1m● container")
	require.Equal(t, Terminal(recorded(t), 100, false), regexp.MustCompile("\x1b\\[[0-9]m").ReplaceAllString(bold, ""))
}

// TestThePictureIsWhatTheMeasurementGives, the recorded one; the check of the
// same name in a sandbox measures anew.
func TestThePictureIsWhatTheMeasurementGives(t *testing.T) {
	golden.Compare(t, "map.svg", Picture(recorded(t)))
}

// TestADrawingFollowsTheMeasurement changes one thing after the other, and sees
// it change: a picture drawn by hand would stay as it is.
func TestADrawingFollowsTheMeasurement(t *testing.T) {
	before := Picture(recorded(t))
	for name, change := range map[string]func(c *probe.Column, host probe.Column){
		"hostname":   func(c *probe.Column, _ probe.Column) { c.Inside.Hostname = "other" },
		"uts":        func(c *probe.Column, h probe.Column) { c.Outside.Namespaces["uts"] = h.Outside.Namespaces["uts"] },
		"number":     func(c *probe.Column, _ probe.Column) { c.Inside.PID = 2 },
		"processes":  func(c *probe.Column, _ probe.Column) { c.Inside.Processes = []int{1, 2, c.Outside.PID} },
		"mounts":     func(c *probe.Column, h probe.Column) { c.Outside.Namespaces["mnt"] = h.Outside.Namespaces["mnt"] },
		"reads":      func(c *probe.Column, _ probe.Column) { c.Outside.Reads = false },
		"writes":     func(c *probe.Column, _ probe.Column) { c.Outside.Writes = true },
		"memory":     func(c *probe.Column, _ probe.Column) { c.Outside.Limits.Memory = 0 },
		"user":       func(c *probe.Column, h probe.Column) { c.Outside.Namespaces["user"] = h.Outside.Namespaces["user"] },
		"interfaces": func(c *probe.Column, _ probe.Column) { c.Inside.Interfaces = nil },
		"calls":      func(c *probe.Column, _ probe.Column) { c.Inside.Capabilities["Seccomp"] = "2" },
		"queues":     func(c *probe.Column, _ probe.Column) { c.Outside.Namespaces["ipc"] = "ipc:[1]" },
	} {
		m := recorded(t)
		change(&m.Columns[7], m.Columns[0])
		require.NotEqual(t, before, Picture(m), name)
	}
}

// TestNumbersThatAreDealtOutAreNotInThePicture: two measurements of the same
// programs give the same bytes.
func TestNumbersThatAreDealtOutAreNotInThePicture(t *testing.T) {
	m := recorded(t)
	for i := range m.Columns {
		c := &m.Columns[i]
		c.Inside.Processes = append(c.Inside.Processes, 4000)
		if i == 0 || c.Name < "02" {
			c.Inside.PID += 100
		} else if c.Name > "02-pid" {
			c.Inside.Processes = []int{1}
		}
	}
	require.Equal(t, Picture(recorded(t)), Picture(m))
}

// TestAProgramsWordsStayWords: what a program calls itself is no markup and no
// escape sequence.
func TestAProgramsWordsStayWords(t *testing.T) {
	m := recorded(t)
	evil := "<script>\x1b[2J&"
	m.Columns[1].Name, m.Columns[2].Inside.Hostname = evil, evil
	m.Left = []probe.Omission{{Name: evil, Reason: evil}}
	require.NotContains(t, Terminal(m, 100, false), "\x1b")
	page, err := Page(m)
	require.NoError(t, err)
	for _, text := range []string{page, Picture(m)} {
		require.NotContains(t, text, "<script")
		require.NotContains(t, text, "\x1b")
	}
}

// TestDrawingsAreWellFormed reads them as XML.
func TestDrawingsAreWellFormed(t *testing.T) {
	m := recorded(t)
	for _, drawing := range []string{Picture(m), Drawing(m.Columns[8], m.Columns[0], m.Columns[0])} {
		for d := xml.NewDecoder(strings.NewReader(drawing)); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
	}
}

// TestNoNumberOfANamespaceIsShown: the kernel gives those of the dead again, and
// an engine's host has others; a reader would compare them.
func TestNoNumberOfANamespaceIsShown(t *testing.T) {
	m := recorded(t)
	page, err := Page(m)
	require.NoError(t, err)
	for _, c := range m.Columns {
		require.NotEmpty(t, c.Outside.Namespaces)
		for kind, namespace := range c.Outside.Namespaces {
			number := strings.Trim(strings.TrimPrefix(namespace, strings.TrimSuffix(kind, "_for_children")), ":[]")
			require.Regexp(t, "^[0-9]+$", number)
			require.NotContains(t, Terminal(m, 150, false), number)
			require.NotContains(t, page, number)
		}
	}
}

// TestTheCaptionsSayWhatIsNew, what is only otherwise than in the step before,
// and what is partly the host's.
func TestTheCaptionsSayWhatIsNew(t *testing.T) {
	page, err := Page(recorded(t))
	require.NoError(t, err)
	for _, caption := range []string{
		"Nothing is its own.", // 00-none
		"New: hostname, uts namespace.",
		"New: processes in sight, mounts, root filesystem, device nodes, mnt namespace; in part: the host&#39;s files.",
		"New: no new privileges, seccomp filter, ipc namespace; changed: mounts, capabilities.",
		"Its own: hostname, process number, ", // runc
	} {
		require.Equal(t, 1, strings.Count(page, "<figcaption>"+caption), caption)
	}
}

// TestThePageNeedsNothingElse: no address to fetch from but the name of SVG.
func TestThePageNeedsNothingElse(t *testing.T) {
	page, err := Page(recorded(t))
	require.NoError(t, err)
	page = strings.ReplaceAll(page, "http://www.w3.org/2000/svg", "")
	for _, word := range []string{"http:", "https:", "src=", "url(", "@import", "<link", "<script"} {
		require.NotContains(t, page, word)
	}
}

// TestAnEngineIsComparedWithItsOwnHost: on another machine the numbers of
// namespaces mean nothing.
func TestAnEngineIsComparedWithItsOwnHost(t *testing.T) {
	m := recorded(t)
	own := func(c probe.Column) Sharing {
		for _, r := range NewTable(probe.Measurement{Columns: []probe.Column{m.Columns[0], c}}).Rows {
			if r.Name == "user namespace" {
				return r.Cells[1].Sharing
			}
		}
		return Partly
	}
	engine := m.Columns[9]
	engine.Outside.Namespaces = map[string]string{"user": "user:[7]"}
	require.Equal(t, Own, own(engine))
	engine.Base = &probe.Column{Outside: probe.Outside{Namespaces: map[string]string{"user": "user:[7]"}}}
	require.Equal(t, Shared, own(engine))
	m.Columns = append(m.Columns, engine)
	require.Contains(t, Terminal(m, 80, false), "runc: on this machine and compared with it")
}
