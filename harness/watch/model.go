// Package watch is the learner's loop: it looks at a program's files, has the
// facts of the current step tried whenever one is saved, and shows the first
// that fails, with hints.
//
//	model.go     what is known, and what keys and news make of it: no effects
//	render.go    what it looks like, in any width, with and without colour
//	progress.go  what is kept from one session to the next
//	files.go     the files, polled: shared folders send no news of changes
//	start.go     the program that a step begins with, and backups
//	loop.go      the effects: terminal, clock, signals
package watch

import (
	"fmt"
	"time"
)

// A Kind is a way in which a run ends.
type Kind int

const (
	Stopped   Kind = iota // before its end, because something newer is to be tried
	Holds                 // every fact holds
	Fails                 // one does not
	NoProgram             // it does not compile, or is not there
	NoVerdict             // this machine, or the harness, is to blame
)

// A Verdict is how a run ended.
type Verdict struct {
	Kind    Kind
	Claim   string   // the fact that fails
	Itself  bool     // no fact's fault: the program failed, hung or panicked
	Left    bool     // nor here: it left something behind
	Lines   []string // how it fails, or why there is no verdict
	Held    []string // the facts that were tried and hold
	Skipped int      // facts that cannot be tried here
	Took    time.Duration
}

// News is what a run tells before its end.
type News struct {
	Waiting string   // what a wait is for
	Claims  []string // all facts that will be tried
	Own     []string // those of them that the step adds
	OwnHold bool     // all of those hold
	Now     string   // the fact that is being tried
	Done    int      // how many have been
	Total   int
}

// An Act is what a key asks for.
type Act int

const (
	Nothing Act = iota
	Run
	Reset // the program, to what the step begins with
	Next  // step
	Diff  // between the program and ours
	Quit
)

// A Step is what is known of one.
type Step struct {
	Number int
	Name   string // "03-mount"
	Lesson string // its path, "" when there is none
}

// A Model is the state of the loop.
type Model struct {
	Program string // as the learner calls it: "work"
	Step    Step
	Next    *Step // nil after the last
	Hints   func(claim string) []string
	Again   func(command string) string // with the settings of this one; nil: without any
	Style   Style

	Running bool
	News    News     // of the run
	Verdict *Verdict // of the last run that came to one, nil before
	Claims  []string // of the last run that announced any
	Own     []string // those of them that the step adds
	OwnHold bool     // in this run
	Shown   map[string]int
	holds   map[string]bool // facts that were tried in the last run, and held
	asking  bool            // whether to reset
}

// Begin is called when a run begins.
func (m *Model) Begin() {
	m.Running, m.OwnHold, m.News = true, false, News{Waiting: "building " + m.Program}
}

// Take takes news of the run.
func (m *Model) Take(n News) {
	if n.Claims != nil {
		m.Claims = n.Claims
	}
	if n.Own != nil {
		m.Own = n.Own
	}
	m.OwnHold = m.OwnHold || n.OwnHold
	if n.Waiting != "" || n.Now != "" {
		m.News = n
	}
}

// End takes the verdict, and returns what to show.
func (m *Model) End(v Verdict) string {
	m.Running = false
	if v.Kind == Stopped {
		return ""
	}
	m.Verdict = &v
	if v.Kind == Holds || v.Kind == Fails { // what an earlier save did says nothing of this one
		m.holds = map[string]bool{}
	}
	for _, claim := range v.Held {
		m.holds[claim] = true
	}
	return m.verdict()
}

// FailedLast is the fact to try first.
func (m *Model) FailedLast() string {
	if m.Verdict == nil || m.Verdict.Kind != Fails {
		return ""
	}
	return m.Verdict.Claim
}

// Key takes a key. It returns what to show, and what to do.
func (m *Model) Key(key byte) (show string, do Act) {
	if m.asking {
		m.asking = false
		if key == 'y' {
			return "", Reset
		}
		return m.say("Nothing is changed."), Nothing
	}
	switch key {
	case 'h':
		return m.hint(), Nothing
	case 'l':
		return m.list(), Nothing
	case 'r':
		return "", Run
	case 'd':
		return "", Diff
	case 'x':
		m.asking = true
		return "", Nothing
	case 'n':
		return m.next()
	case 'q', 4: // Ctrl-D
		return "", Quit
	}
	return "", Nothing
}

// again is a command to paste.
func (m *Model) again(command string) string {
	if m.Again == nil {
		return command
	}
	return m.Again(command)
}

// hint shows the next hint for the fact that fails, or all once they are known.
func (m *Model) hint() string {
	if m.Verdict == nil || m.Verdict.Kind != Fails {
		return m.say("A hint belongs to a fact that fails, and none does now.")
	}
	claim := m.Verdict.Claim
	if m.Verdict.Itself {
		return m.say("No hint for this fact helps: the program itself failed before it. The verdict says how, and where to look.")
	}
	if m.Verdict.Left {
		return m.say("No hint for this fact helps: the program left something behind. The verdict says what, and where to look.")
	}
	hints := m.Hints(claim)
	if len(hints) == 0 {
		return m.say("There is no hint for this.")
	}
	known := m.Shown[claim] == len(hints)
	number := min(m.Shown[claim]+1, len(hints))
	m.Shown[claim] = number
	shown := ""
	for i, hint := range hints[:number] {
		if i == number-1 || known {
			shown += m.item(fmt.Sprintf("hint %d/%d  ", i+1, len(hints)), hint)
		}
	}
	return shown
}

// next goes on when the step holds, and only then.
func (m *Model) next() (string, Act) {
	switch {
	case m.Verdict == nil || m.Verdict.Kind != Holds:
		return m.say(fmt.Sprintf("Step %02d does not hold yet. To begin the next one from our step %02d: %s",
			m.Step.Number, m.Step.Number, m.again(fmt.Sprintf("make start %d", m.Step.Number+1)))), Nothing
	case m.Next == nil:
		return m.say("This is the last step."), Nothing
	}
	return "", Next
}

// GoTo makes step the current one.
func (m *Model) GoTo(step Step, next *Step) {
	m.Step, m.Next, m.Verdict, m.Claims, m.Own = step, next, nil, nil, nil
	m.Shown, m.holds = map[string]int{}, map[string]bool{}
}
