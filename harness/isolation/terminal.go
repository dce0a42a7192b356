package isolation

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"containers-from-scratch/harness/probe"
)

// legend explains the marks below the table.
const legend = `● its own   ◐ its own in part   no mark: the host's   · as in the step before`

// Terminal is the table as text, at most so many columns of characters wide:
// what does not fit goes below. With bold, what is the container's own is so;
// the marks say the same.
func Terminal(m probe.Measurement, width int, bold bool) string {
	t := NewTable(m)
	label := 0
	for _, r := range t.Rows {
		label = max(label, utf8.RuneCountInString(r.Name))
	}
	var b strings.Builder
	for from := 0; from < len(t.Columns); {
		to, used := from, label
		for to < len(t.Columns) {
			more := 2 + t.width(to)
			if to > from && used+more > width {
				break
			}
			used += more
			to++
		}
		if from > 0 {
			b.WriteByte('\n')
		}
		t.block(&b, label, from, to, bold)
		from = to
	}
	b.WriteString("\n" + legend + "\n")
	if note := elsewhere(m); note != "" {
		b.WriteString(note + "\n")
	}
	for _, left := range m.Left {
		fmt.Fprintf(&b, "left out: %s: %s\n", printable(left.Name), printable(left.Reason))
	}
	return b.String()
}

// width is that of one column.
func (t Table) width(column int) int {
	w := utf8.RuneCountInString(t.Columns[column])
	for _, r := range t.Rows {
		w = max(w, utf8.RuneCountInString(r.Cells[column].terminal()))
	}
	return w
}

// block writes some of the columns.
func (t Table) block(b *strings.Builder, label, from, to int, bold bool) {
	line := func(name string, cell func(i int) (text string, own bool)) {
		text := pad(name, label)
		for i := from; i < to; i++ {
			value, own := cell(i)
			blanks := pad("", t.width(i)-utf8.RuneCountInString(value))
			if own && bold {
				value = "\x1b[1m" + value + "\x1b[0m"
			}
			text += "  " + value + blanks
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("", func(i int) (string, bool) { return t.Columns[i], false })
	for _, r := range t.Rows {
		line(r.Name, func(i int) (string, bool) {
			return r.Cells[i].terminal(), r.Cells[i].Sharing != Shared && !r.Cells[i].Same
		})
	}
}

// terminal is a cell with its mark.
func (c Cell) terminal() string {
	switch {
	case c.Same:
		return "·"
	case c.Sharing == Shared:
		return c.Text
	}
	return c.Sharing.Mark() + " " + c.Text
}

// printable keeps a program's own words from being escape sequences.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r <= 0x9f {
			return '?'
		}
		return r
	}, s)
}

// pad fills up with blanks.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}
