package isolation

import (
	"strings"

	"containers-from-scratch/harness/probe"
)

// A Table is the map: a row per fact, a cell per column.
type Table struct {
	Columns []string
	Rows    []Row
}

// A Row is one fact, as it is of each column.
type Row struct {
	Name, Read string
	Cells      []Cell
}

// A Cell is what one column has of a fact.
type Cell struct {
	Column  string
	Text    string
	Sharing Sharing
	// Same means that the step before had it, too: from the host, or of its
	// own. An address that is dealt out anew each time is no change.
	Same bool
}

// NewTable reads the facts off a measurement, whose first column is the host.
func NewTable(m probe.Measurement) Table {
	var t Table
	for _, c := range m.Columns {
		t.Columns = append(t.Columns, printable(c.Name))
	}
	for _, f := range facts {
		if !f.onlyDrawn {
			t.Rows = append(t.Rows, f.row(m))
		}
	}
	return t
}

// row is one fact of all columns.
func (f fact) row(m probe.Measurement) Row {
	row := Row{Name: f.name, Read: f.read}
	for i, c := range m.Columns {
		cell := Cell{Column: printable(c.Name), Text: printable(f.value(c)), Sharing: f.sharing(c, hostOf(c, m))}
		switch {
		case cell.Sharing == Own && f.own != "":
			cell.Text = f.own
		case cell.Sharing == Shared && f.counts && i > 0:
			cell.Text = theHosts
		}
		if i > 0 && c.Series {
			before := row.Cells[i-1]
			cell.Same = before.Sharing == cell.Sharing &&
				(cell.Sharing == Shared || cell.Text == before.Text || f.dealt)
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}

// hostOf is the column that a column is compared with.
func hostOf(c probe.Column, m probe.Measurement) probe.Column {
	if c.Base != nil {
		return *c.Base
	}
	return m.Columns[0]
}

// elsewhere names the columns that have another host, and says so.
func elsewhere(m probe.Measurement) string {
	var names []string
	for _, c := range m.Columns {
		if c.Base != nil {
			names = append(names, printable(c.Name))
		}
	}
	if names == nil {
		return ""
	}
	return strings.Join(names, " and ") + ": on this machine and compared with it, with --network none"
}
