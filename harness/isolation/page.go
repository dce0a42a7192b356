package isolation

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"containers-from-scratch/harness/probe"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// A figure is one column of the page.
type figure struct {
	Name    string
	Drawing template.HTML // made by Drawing, which escapes what it is told
	Changes []string
}

// Page is the map as one HTML file that needs nothing else: no network, no
// font, no script.
func Page(m probe.Measurement) (string, error) {
	data := struct {
		Sandbox, Kernel string
		Elsewhere       string
		Figures         []figure
		Table           Table
		Left            []probe.Omission
	}{m.Sandbox, m.Kernel, elsewhere(m), nil, NewTable(m), nil}
	for _, left := range m.Left {
		data.Left = append(data.Left, probe.Omission{Name: printable(left.Name), Reason: printable(left.Reason)})
	}
	for i, c := range m.Columns[min(1, len(m.Columns)):] {
		host := hostOf(c, m)
		before := host // what is no step is compared with the host
		if c.Series {
			before = m.Columns[i]
		}
		data.Figures = append(data.Figures, figure{
			Name:    printable(c.Name),
			Drawing: template.HTML(Drawing(c, host, before)),
			Changes: changes(data.Table, i+1, c.Series),
		})
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return "", fmt.Errorf("draw the page: %w", err)
	}
	return b.String(), nil
}

// changes names the rows in which a column has what the one before has not.
func changes(t Table, column int, series bool) (names []string) {
	for _, r := range t.Rows {
		if c := r.Cells[column]; series && !c.Same || !series && c.Sharing != Shared {
			names = append(names, r.Name)
		}
	}
	return names
}

// Sentence says what is new in a figure.
func (f figure) Sentence() string {
	if len(f.Changes) == 0 {
		return "Nothing is its own."
	}
	return "Its own: " + strings.Join(f.Changes, ", ") + "."
}
