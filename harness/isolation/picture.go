package isolation

import (
	"fmt"
	"html"
	"strings"

	"containers-from-scratch/harness/probe"
)

// The measures of drawings, in pixels.
const (
	barHeight = 30
	barGap    = 6
	textSize  = 13
)

// A look is how a bar of one Sharing is drawn: dark, grey or white, so that it
// is told apart in print, too; a mark says the same.
type look struct{ fill, stroke, dash, text string }

var looks = map[Sharing]look{
	Shared: {"#ffffff", "#8a94a0", "", "#24292f"},
	Partly: {"#d5dde6", "#0b4f6c", "5 3", "#10222e"},
	Own:    {"#0b4f6c", "#0b4f6c", "", "#ffffff"},
}

// An svg is a drawing in the making.
type svg struct{ strings.Builder }

// open begins a drawing with what it shows in words.
func (s *svg) open(width, height int, title string) {
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="%d">`+"\n",
		width, height, html.EscapeString(printable(title)), textSize)
	fmt.Fprintf(s, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height) // also on a dark page
}

// bar draws a labelled bar. Narrow ones hold what fits.
func (s *svg) bar(x, y, width int, sharing Sharing, text string) {
	l := looks[sharing]
	dash := ""
	if l.dash != "" {
		dash = fmt.Sprintf(` stroke-dasharray="%s"`, l.dash)
	}
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%d" height="%d" rx="5" fill="%s" stroke="%s" stroke-width="1.5"%s/>`+"\n",
		x, y, width, barHeight, l.fill, l.stroke, dash)
	s.mark(x+14, y+barHeight/2, sharing, l.text)
	s.text(x+26, y+barHeight/2+5, l.text, "", fit(text, width-34))
}

// mark draws what Sharing.Mark writes: a circle that is empty, half or full.
func (s *svg) mark(x, y int, sharing Sharing, colour string) {
	const r = 5
	fill := "none"
	if sharing == Own {
		fill = colour
	}
	fmt.Fprintf(s, `<circle cx="%d" cy="%d" r="%d" fill="%s" stroke="%s" stroke-width="1.5"/>`+"\n", x, y, r, fill, colour)
	if sharing == Partly {
		fmt.Fprintf(s, `<path d="M%d %d a%d %d 0 0 0 0 %d z" fill="%s"/>`+"\n", x, y-r, r, r, 2*r, colour)
	}
}

// text writes a line; more are attributes such as an anchor.
func (s *svg) text(x, y int, colour, more, text string) {
	fmt.Fprintf(s, `<text x="%d" y="%d" fill="%s"%s>%s</text>`+"\n", x, y, colour, more, html.EscapeString(printable(text)))
}

// fit cuts a text to a width, at what a letter takes on the average and a bit:
// fonts differ from machine to machine.
func fit(text string, width int) string {
	const letter = 0.62 * textSize
	runes, most := []rune(text), int(float64(width)/letter)
	if len(runes) > most && most > 0 {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// close ends the drawing.
func (s *svg) close() string {
	s.WriteString("</svg>\n")
	return s.String()
}

// A span is what neighbouring columns have in common.
type span struct {
	from, to int // columns, to is the first that has it no more
	sharing  Sharing
	text     string
}

// spans joins neighbours of which a drawing says the same.
func (f fact) spans(columns []probe.Column) (list []span) {
	for i, c := range columns {
		sharing := f.sharing(c, columns[0])
		text := f.picture(c, sharing)
		if n := len(list) - 1; n >= 0 && list[n].sharing == sharing && list[n].text == text {
			list[n].to = i + 1
			continue
		}
		list = append(list, span{i, i + 1, sharing, text})
	}
	return list
}

// Picture is one drawing of the steps, as SVG. A bar reaches over the columns
// that have the same thing: a white one from the host on, a dark one from the
// step that gives the container its own. It says nothing that differs between
// two measurements of the same programs.
func Picture(m probe.Measurement) string {
	const label, column, head = 150, 104, 34
	columns := series(m)
	rows := drawn()
	width := label + column*len(columns) + 8
	height := head + len(rows)*(barHeight+barGap) + 34
	var s svg
	s.open(width, height, "What each step shares with the host, and what it has of its own")
	for i, c := range columns {
		x := label + i*column
		s.text(x+column/2, 21, "#24292f", ` text-anchor="middle" font-weight="600"`, c.Name)
		if i > 0 {
			fmt.Fprintf(&s, `<path d="M%d %d V%d" stroke="#c8ced6" stroke-dasharray="2 4"/>`+"\n", x, head-4, height-34)
		}
	}
	for i, f := range rows {
		y := head + i*(barHeight+barGap)
		s.text(8, y+barHeight/2+5, "#24292f", "", pictureName(f.name))
		for _, span := range f.spans(columns) {
			s.bar(label+span.from*column+2, y, (span.to-span.from)*column-4, span.sharing, span.text)
		}
	}
	x, y := label+2, height-14
	for _, l := range []struct {
		sharing Sharing
		text    string
	}{{Shared, "the host's, shared"}, {Partly, "shared in part"}, {Own, "the container's own"}} {
		s.mark(x+6, y-5, l.sharing, "#24292f")
		s.text(x+18, y, "#24292f", "", l.text)
		x += 180
	}
	return s.close()
}

// drawn are the facts that drawings show.
func drawn() (rows []fact) {
	for _, f := range facts {
		if f.picture != nil {
			rows = append(rows, f)
		}
	}
	return rows
}

// series are the host and the steps.
func series(m probe.Measurement) (columns []probe.Column) {
	for i, c := range m.Columns {
		if i == 0 || c.Series {
			columns = append(columns, c)
		}
	}
	return columns
}

// pictureName is what a drawing calls a row.
func pictureName(name string) string {
	if short, ok := map[string]string{
		"process number": "process numbers", "the host's files": "files", "its user outside": "users",
		"interfaces": "network", "ipc namespace": "message queues", "seccomp filter": "system calls",
	}[name]; ok {
		return short
	}
	return name
}
