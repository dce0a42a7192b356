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
	Changes []change
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
		before := c // only a step has one before it
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

// A change is one group of a figure's rows.
type change struct {
	What string // "new"
	Rows []string
}

// changes names the rows in which a step has what the one before has not, and
// of another column all that is not the host's.
func changes(t Table, column int, series bool) []change {
	groups := []change{{What: "new"}, {What: "changed"}, {What: "the host’s again"}, {What: "in part"}}
	if !series {
		groups[0].What = "its own"
	}
	for _, r := range t.Rows {
		c, group := r.Cells[column], 0
		switch {
		case series && c.Same, !series && c.Sharing == Shared:
			continue
		case c.Sharing == Partly:
			group = 3
		case c.Sharing == Shared:
			group = 2
		case series && r.Cells[column-1].Sharing == Own: // and has it otherwise
			group = 1
		}
		groups[group].Rows = append(groups[group].Rows, r.Name)
	}
	return groups
}

// Sentence says what is new in a figure.
func (f figure) Sentence() string {
	var parts []string
	for _, c := range f.Changes {
		if c.Rows != nil {
			parts = append(parts, c.What+": "+strings.Join(c.Rows, ", "))
		}
	}
	if parts == nil {
		return "Nothing is its own."
	}
	text := strings.Join(parts, "; ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
