package isolation

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// measuringScript writes what is wrong with the layout into a copy of a page.
//
//go:embed testdata/measure.js
var measuringScript string

// A layout is what the script finds.
type layout struct {
	Width    int      // of the window
	Texts    int      // how many there are
	Findings []string // what overlaps, and what is cut or sticks out
}

// browse opens a page in a real browser, without a window, and measures it.
func browse(t *testing.T, page string, width int) (l layout) {
	t.Helper()
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no chromium is installed")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	// In a frame: a window cannot be as narrow as a telephone.
	framed := fmt.Sprintf(`<!DOCTYPE html><iframe style="border:0;width:%dpx;height:9000px" srcdoc="%s"></iframe><script>
		onload = () => document.body.append(document.querySelector("iframe").contentDocument.getElementById("layout").cloneNode(true))
		</script>`, width, html.EscapeString(page+"<script>"+measuringScript+"</script>"))
	require.NoError(t, os.WriteFile(file, []byte(framed), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--disable-gpu", "--hide-scrollbars",
		"--no-sandbox", // it is refused to root, and the page is ours
		"--user-data-dir="+dir+"/profile",
		"--dump-dom", "file://"+file)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, said.String())
	_, text, ok := strings.Cut(string(out), `</iframe>`)
	require.True(t, ok)
	_, text, ok = strings.Cut(text, `<pre id="layout">`)
	require.True(t, ok, "the script did not run: %s", said.String())
	text, _, _ = strings.Cut(text, "</pre>")
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(text)), &l))
	require.Equal(t, width, l.Width, "the window is not as wide as was asked for")
	return l
}

// TestNothingOverlapsOnThePage opens the page with as many columns as there can
// be, at the width of a laptop and of a telephone.
func TestNothingOverlapsOnThePage(t *testing.T) {
	m := recorded(t)
	for _, name := range []string{"work", "podman", "docker"} {
		more := m.Columns[len(m.Columns)-1]
		more.Name, more.Inside.Hostname = name, "afb4d3f16807" // as engines call them
		m.Columns = append(m.Columns, more)
	}
	page, err := Page(m)
	require.NoError(t, err)
	for _, width := range []int{1280, 390} {
		l := browse(t, page, width)
		require.Greater(t, l.Texts, 200)
		require.Empty(t, l.Findings, "at %d pixels", width)
	}
}

// TestNothingOverlapsInThePicture opens the README's picture as wide as the
// README shows it.
func TestNothingOverlapsInThePicture(t *testing.T) {
	l := browse(t, "<!DOCTYPE html><body style='margin:0'>"+Picture(recorded(t)), 900)
	require.Greater(t, l.Texts, 30)
	require.Empty(t, l.Findings)
}

// TestTheBrowserNotices is the control: a page on which something overlaps,
// something sticks out, a bar is too short for its text and a word is broken.
func TestTheBrowserNotices(t *testing.T) {
	var s svg
	s.open(300, 100, "")
	s.bar(10, 10, 80, Own, "")
	s.text(30, 30, "#000", "", "longer than its bar")
	l := browse(t, `<!DOCTYPE html><body style="margin:0"><p>under</p><p style="position:absolute;top:16px;margin:0">over</p>
		<div style="width:2000px">wide</div><div style="width:9px;overflow-wrap:anywhere">unbreakable</div>`+s.close(), 1280)
	all := strings.Join(l.Findings, "\n")
	for _, finding := range []string{`"under" and "over" overlap`, "the page is 2000 pixels wide", `"longer than its bar" sticks out of its bar`, `"unbreakable" is broken`} {
		require.Contains(t, all, finding)
	}
}
