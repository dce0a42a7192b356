package isolation

import (
	"cmp"
	"fmt"
	"html"

	"containers-from-scratch/harness/probe"
)

// Drawing is one column as SVG: the host as a box, the container as a box in
// it. What the container shares is one bar that reaches over its wall; what it
// has of its own lies behind the wall, and the host's beside it.
func Drawing(c, host, before probe.Column) string {
	const (
		width, head = 460, 58
		left, wall  = 12, 166 // where bars begin; where the wall is
		right       = width - 12
	)
	rows := drawn()
	height := head + len(rows)*(barHeight+14+barGap) + 14
	var s svg
	s.open(width, height, "What "+c.Name+" shares with the host, and what it has of its own")
	fmt.Fprintf(&s, `<rect x="1" y="1" width="%d" height="%d" rx="8" fill="#f6f8fa" stroke="#57606a" stroke-width="1.5"/>`+"\n", width-2, height-2)
	fmt.Fprintf(&s, `<rect x="%d" y="34" width="%d" height="%d" rx="6" fill="none" stroke="#0b4f6c" stroke-width="3"/>`+"\n", wall-8, right-wall+14, height-42)
	s.text(left+2, 23, "#24292f", ` font-weight="600"`, "the host")
	s.text(wall+2, 23, "#24292f", ` font-weight="600"`, "in "+fit(c.Name, 200))
	for i, f := range rows {
		y := head - 4 + i*(barHeight+14+barGap)
		sharing, was := f.sharing(c, host), f.sharing(before, host)
		text := f.picture(c, sharing)
		small := func(x int, text string) {
			fmt.Fprintf(&s, `<text x="%d" y="%d" fill="#24292f" font-size="12">%s</text>`+"\n", x, y+9, html.EscapeString(text))
		}
		small(left+2, pictureName(f.name))
		if sharing != was || sharing != Shared && text != f.picture(before, was) {
			small(wall+4, "new")
		}
		switch sharing {
		case Shared:
			s.bar(left, y+14, right-left, Shared, text)
		case Partly:
			s.bar(left, y+14, right-left, Partly, text)
		default:
			s.bar(left, y+14, wall-left-20, Shared, cmp.Or(f.beside, f.value(host)))
			s.bar(wall+2, y+14, right-wall-2, Own, text)
		}
	}
	return s.close()
}
