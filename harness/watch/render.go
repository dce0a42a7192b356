package watch

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Style is what a terminal can show.
type Style struct {
	Width int
	Color bool
	Keys  bool // somebody may press them
}

// The colours say nothing that words do not say as well.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// paint colours a text.
func (s Style) paint(color, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// wrap breaks a text between words, and a word that is too long anywhere. Lines
// after the first begin with indent blanks; before the first, used are taken.
func (s Style) wrap(text string, used, indent int) string {
	var lines []string
	line, room := "", s.Width-used
	flush := func() {
		lines = append(lines, line)
		line, room = "", s.Width-indent
	}
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
		for utf8.RuneCountInString(line) > room {
			runes := []rune(line)
			line = string(runes[:room])
			rest := string(runes[room:])
			flush()
			line = rest
		}
	}
	lines = append(lines, line)
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}

// item is a text behind a label, and as wide as the label is indented.
func (m *Model) item(label, text string) string {
	n := utf8.RuneCountInString(label)
	return m.Style.paint(bold, label) + m.Style.wrap(text, n, n) + "\n"
}

// say is a line of its own.
func (m *Model) say(text string) string { return m.Style.wrap(text, 0, 0) + "\n" }

// raw breaks a line of somebody else's where the terminal ends.
func (s Style) raw(line string) string {
	line = strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", "    ")
	runes := []rune(line)
	shown := ""
	for len(runes) > s.Width {
		shown += string(runes[:s.Width]) + "\n"
		runes = runes[s.Width:]
	}
	return shown + string(runes) + "\n"
}

// quote breaks a line of somebody else's between words, and keeps how far it is
// indented.
func (s Style) quote(line string) string {
	line = strings.ReplaceAll(line, "\t", "    ")
	line = strings.Map(func(r rune) rune { // a machine's console, say
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, line)
	text := strings.TrimLeft(line, " ")
	before := min(len(line)-len(text), s.Width/2)
	return strings.Repeat(" ", before) + s.wrap(text, before, before+4) + "\n"
}

// Head is what a run begins with.
func (m *Model) Head() string {
	return m.Style.paint(bold, fmt.Sprintf("step %s", m.Step.Name)) + "   lesson: " + m.Step.Lesson + "\n\n"
}

// verdict shows how the last run ended.
func (m *Model) verdict() string {
	v := m.Verdict
	took := fmt.Sprintf(" (%.1f s)", v.Took.Round(100*time.Millisecond).Seconds())
	switch v.Kind {
	case Holds:
		return m.stepHolds(took)
	case Fails:
		shown := m.say(m.howFar(took))
		shown += "\n" + m.Style.paint(red, "FAILS  ") + m.Style.wrap(v.Claim, 7, 7) + "\n\n"
		for _, line := range v.Lines {
			if len(line) > 11 && line[10] == ' ' { // "I ran      …"
				shown += m.item(line[:11], line[11:])
			} else {
				shown += m.Style.quote(line)
			}
		}
		return shown
	case NoProgram:
		shown := m.Style.paint(red, "NO PROGRAM") + "\n\n"
		for i, line := range v.Lines {
			if i == 12 {
				shown += fmt.Sprintf("… and %d more lines\n", len(v.Lines)-i)
				break
			}
			shown += m.Style.quote(line)
		}
		return shown
	}
	shown := m.Style.paint(yellow, "NO VERDICT") + "\n\n"
	for _, line := range v.Lines {
		shown += m.Style.quote(line)
	}
	return shown
}

// howFar says what this run has seen to hold beside the fact that fails: of those
// that the step adds, which are tried first, and once all of them hold of all. The
// fact that failed last comes before them: when it still does, nothing was counted.
func (m *Model) howFar(took string) string {
	held := 0
	for _, claim := range m.Own {
		if m.holds[claim] {
			held++
		}
	}
	switch {
	case len(m.Own) == 0:
		return fmt.Sprintf("%s facts hold%s, and this one does not:", m.bar(len(m.holds), len(m.Claims)), took)
	case len(m.holds) == 0:
		return fmt.Sprintf("The first fact that was tried%s does not hold:", took)
	case held < len(m.Own):
		return fmt.Sprintf("%s of the step's own facts are seen to hold%s, and this one does not:", m.bar(held, len(m.Own)), took)
	}
	return fmt.Sprintf("%s facts hold, all that the step adds%s, and this one does not:", m.bar(len(m.holds), len(m.Claims)), took)
}

// stepHolds says so, and where it goes on.
func (m *Model) stepHolds(took string) string {
	v := m.Verdict
	line := fmt.Sprintf("%s: step %02d holds%s", m.bar(len(v.Held), len(v.Held)), m.Step.Number, took)
	if v.Skipped > 0 {
		line += fmt.Sprintf("; could not be tried here: %d more", v.Skipped)
	}
	shown := m.Style.paint(green, m.say(line)) + "\n"
	switch {
	case m.Next == nil:
		shown += m.say("That was the last step to write. The next is to be read: steps/07-final/README.md")
	case m.Style.Keys:
		shown += m.say(fmt.Sprintf("Next: read %s, then press n. Your program stays as it is.", m.Next.Lesson))
	default:
		shown += m.say(fmt.Sprintf("Next: read %s, then: %s", m.Next.Lesson, m.again(fmt.Sprintf("make watch %d", m.Next.Number))))
	}
	return shown
}

// difference shows what separates the program from ours, at most atMost lines.
func (m *Model) difference(diff []string, atMost int) string {
	if len(diff) == 0 {
		return m.say("There is no difference to ours.")
	}
	shown := m.say(fmt.Sprintf("Ours does it so (- yours, + steps/%s):", m.Step.Name)) + "\n"
	for i, line := range diff {
		if i == atMost {
			more := fmt.Sprintf("… and %d more", len(diff)-i)
			if m.Style.Keys {
				more += ": press d"
			}
			return shown + m.say(more) + "\n"
		}
		color := map[byte]string{'+': green, '-': red}[(line + " ")[0]]
		line = m.Style.raw(line)
		if color != "" {
			line = m.Style.paint(color, strings.TrimSuffix(line, "\n")) + "\n"
		}
		shown += line
	}
	return shown + "\n"
}

// list shows every fact, and what is known of it: those that hold first, so that
// what there is to do is what a short terminal keeps.
func (m *Model) list() string {
	if len(m.Claims) == 0 {
		return m.say("The facts are listed once they have been tried: the program must compile.")
	}
	var hold, open, fails string
	for _, claim := range m.Claims {
		line := m.Style.wrap(claim, 7, 7) + "\n"
		switch {
		case m.Verdict != nil && m.Verdict.Claim == claim:
			fails += m.Style.paint(red, "FAILS  ") + line
		case m.holds[claim]:
			hold += m.Style.paint(green, "holds  ") + line
		default:
			open += "  …    " + line
		}
	}
	return m.say(fmt.Sprintf("The facts of step %02d (… not tried with this save):", m.Step.Number)) + hold + open + fails
}

// barWidth is what stands between the brackets of a bar.
const barWidth = 20

// bar shows how far it goes.
func (m *Model) bar(done, of int) string {
	full := 0
	if of > 0 {
		full = barWidth * min(done, of) / of
	}
	return fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), done, of)
}

// Status is the last line of the screen: what is going on, or which keys there
// are. It never fills the line, so that no terminal breaks it.
func (m *Model) Status() string {
	line := ""
	switch n := m.News; {
	case m.asking:
		line = fmt.Sprintf("begin step %02d from our step %02d? yours is kept. y yes, n no", m.Step.Number, m.Step.Number-1)
	case m.Running && n.Now == "":
		line = n.Waiting + " …"
	case m.Running:
		line = m.bar(n.Done, n.Total) + " " + n.Now
		if m.OwnHold {
			line = fmt.Sprintf("the step's own facts hold (%d); trying the others: %d/%d %s", len(m.Own), n.Done, n.Total, n.Now)
		}
	default:
		keys := "h hint  l list  r run  x reset  q quit"
		if m.Verdict != nil && m.Verdict.Kind == Holds {
			keys = "l list  d diff  r run  x reset  q quit"
			if m.Next != nil {
				keys = "n next  " + keys
			}
		}
		return m.Style.paint(bold, cut(keys, m.Style.Width-1))
	}
	return cut(line, m.Style.Width-1)
}

// cut takes the first runes of a line.
func cut(line string, width int) string {
	if runes := []rune(line); len(runes) > width {
		return string(runes[:max(0, width-1)]) + "…"
	}
	return line
}
