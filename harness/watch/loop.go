package watch

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A Course is what the loop needs of the harness.
type Course struct {
	Dir   string                 // the learner's program
	Step  func(number int) *Step // nil when there is no such step
	Hints func(claim string) []string
	Again func(command string) string               // see Model
	Files func(step int) (map[string]string, error) // what a step begins with
	Diff  func(step Step) []string                  // between the program and ours
	// Try compiles the program and has the facts of a step tried, failedLast
	// first. It tells news, and ends early when ctx does.
	Try func(ctx context.Context, step int, failedLast string, tell func(News)) Verdict
}

const (
	// pollEvery is how often the files are looked at. A save is noticed after
	// half of it, on average.
	pollEvery = 150 * time.Millisecond
	// quiet is how long they must stay the same: many editors write twice.
	quiet = 40 * time.Millisecond
	// diffLines is how much of the difference to ours is shown unasked.
	diffLines = 24
)

// A loop is what Main does.
type loop struct {
	Course
	model    Model
	progress Progress
	out      io.Writer
	tty      *terminal // nil: nobody looks, and no key comes

	seen    Snapshot // what was tried last
	pending Snapshot // what was saved since, and may not be complete yet
	news    chan News
	ended   chan Verdict
	gone    chan struct{}      // closed when nobody takes news any more
	cancel  context.CancelFunc // of the run, nil when there is none
	started time.Time          // when what is tried was saved, or asked for
	again   bool               // once the run that is on has ended
}

// Main runs the loop until a key or a signal ends it. Without a terminal it has
// the program tried once, and returns what came of that; else nil: whoever quits
// has read the verdict, and has done nothing wrong.
func Main(c Course, in, out *os.File) (once *Verdict, err error) {
	l := &loop{Course: c, out: out, progress: Load(c.Dir), news: make(chan News), ended: make(chan Verdict), gone: make(chan struct{})}
	defer close(l.gone)
	step := c.Step(l.progress.Step)
	if step == nil {
		l.progress = Progress{Step: 1, Hints: map[string]int{}}
		step = c.Step(1)
	}
	if l.tty, err = openTerminal(in, out); err != nil {
		return nil, err
	}
	l.model = Model{Program: c.Dir, Hints: c.Hints, Again: c.Again, Style: l.style()}
	l.model.GoTo(*step, c.Step(step.Number+1))
	l.model.Shown = l.progress.Hints
	for _, claim := range l.progress.Holds {
		l.model.holds[claim] = true
	}
	if l.tty == nil {
		return l.once(), nil
	}
	defer l.tty.restore()
	return nil, l.forever()
}

// style asks the terminal, if there is one.
func (l *loop) style() Style {
	if l.tty == nil {
		return Style{Width: 80}
	}
	return Style{Width: l.tty.width(), Color: os.Getenv("NO_COLOR") == "", Keys: true}
}

// once tries the program and says what came of it, in lines.
func (l *loop) once() *Verdict {
	l.model.Begin()
	go func() {
		l.ended <- l.Try(context.Background(), l.model.Step.Number, l.progress.Failed, l.tell)
	}()
	started := time.Now()
	for {
		select {
		case n := <-l.news:
			if n.Waiting != "" {
				fmt.Fprintln(l.out, n.Waiting)
			}
			if n.OwnHold {
				fmt.Fprintln(l.out, "the step's own facts hold; trying the others")
			}
			l.model.Take(n)
		case v := <-l.ended:
			v.Took = time.Since(started)
			fmt.Fprint(l.out, l.end(v))
			return l.model.Verdict
		}
	}
}

// forever takes keys, changes, news and signals as they come.
func (l *loop) forever() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append(terminalSignals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	defer signal.Stop(signals)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	keys := l.tty.keys()
	l.started = time.Now()
	l.begin()
	var settled <-chan time.Time
	for {
		select {
		case key, open := <-keys:
			if !open || !l.key(key) {
				return l.quit(nil)
			}
		case <-poll.C:
			if now := Snap(l.Dir); l.pending == nil && !now.Equal(l.seen) {
				l.pending, settled = now, time.After(quiet)
				l.started = time.Now()
			}
		case <-settled:
			if now := Snap(l.Dir); !now.Equal(l.pending) {
				l.pending, settled = now, time.After(quiet)
				continue
			}
			l.pending, settled = nil, nil
			l.begin()
		case n := <-l.news:
			l.model.Take(n)
			l.status()
		case v := <-l.ended:
			l.cancel = nil
			if l.again {
				l.again = false
				l.begin()
				continue
			}
			v.Took = time.Since(l.started)
			l.show(l.end(v))
		case sig := <-signals:
			switch {
			case isContinue(sig): // the shell has had the terminal
				if err := l.tty.cbreak(); err != nil {
					return l.quit(err)
				}
				l.status()
			case isResize(sig):
				l.model.Style.Width = l.tty.width()
				l.status()
			default:
				return l.quit(nil)
			}
		}
	}
}

// begin has the program tried as it is now, once a run that is on has ended.
func (l *loop) begin() {
	if l.cancel != nil {
		l.again = true
		l.cancel()
		return
	}
	l.seen = Snap(l.Dir)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.model.Begin()
	fmt.Fprint(l.out, clear+l.model.Head()+l.model.Status())
	step, failed := l.model.Step.Number, l.progress.Failed
	go func() {
		defer cancel()
		l.ended <- l.Try(ctx, step, failed, l.tell)
	}()
}

// tell passes news on, as long as there is who takes them: a run that is given up
// may go on for a while, fetching or booting a machine.
func (l *loop) tell(n News) {
	select {
	case l.news <- n:
	case <-l.gone:
	}
}

// end notes a verdict, and returns what to show of it.
func (l *loop) end(v Verdict) string {
	shown := l.model.End(v)
	if v.Kind == Holds {
		shown = l.model.difference(l.Diff(l.model.Step), diffLines) + shown
	}
	if v.Kind == Holds || v.Kind == Fails {
		l.progress.Failed = l.model.FailedLast()
	}
	return shown + l.save()
}

// save keeps the progress, and says so when it cannot.
func (l *loop) save() string {
	l.progress.Step, l.progress.Hints = l.model.Step.Number, l.model.Shown
	l.progress.Holds = slices.Sorted(maps.Keys(l.model.holds))
	if err := l.progress.Save(l.Dir); err != nil {
		return l.model.say("the progress is not kept: " + err.Error())
	}
	return ""
}

// key does what a key asks for, and returns false to quit.
func (l *loop) key(key byte) bool {
	shown, do := l.model.Key(key)
	switch do {
	case Quit:
		return false
	case Run:
		l.started = time.Now()
		l.begin()
		return true
	case Diff:
		shown = l.model.difference(l.Diff(l.model.Step), 1<<20)
	case Reset:
		shown = l.reset()
	case Next:
		step := *l.model.Next
		l.model.GoTo(step, l.Step(step.Number+1))
		l.progress.Failed = ""
		l.show(l.save())
		l.started = time.Now()
		l.begin()
		return true
	}
	if shown != "" {
		l.show(shown + l.save())
	} else {
		l.status()
	}
	return true
}

// reset puts back what the step begins with. The change is noticed like any.
func (l *loop) reset() string {
	if _, err := os.Stat(filepath.Join(l.Dir, "README.md")); err == nil { // all would go to the backup
		return l.model.say(l.Dir + " holds more than a program of yours: a step of ours, or all of them. x leaves it alone.")
	}
	files, err := l.Files(l.model.Step.Number)
	backup := ""
	if err == nil {
		backup, err = Put(l.Dir, files, time.Now())
	}
	switch {
	case err != nil:
		return l.model.say("not reset: " + err.Error())
	case backup == "":
		return l.model.say(l.Dir + " is as the step begins.")
	}
	return l.model.say("What was there is in " + backup)
}

// quit ends the run that is on, and waits for that: it holds the machine.
func (l *loop) quit(err error) error {
	if l.cancel != nil {
		l.cancel()
		for waiting := true; waiting; {
			select {
			case <-l.news:
			case <-l.ended:
				waiting = false
			case <-time.After(quitAfter):
				waiting = false // a program that hangs goes with its machine
			}
		}
	}
	fmt.Fprint(l.out, "\r\x1b[K")
	return err
}

// quitAfter is how long a run may take to end when the loop does.
const quitAfter = 2 * time.Second

// clear empties the screen and leaves what was scrolled out of it.
const clear = "\x1b[H\x1b[2J"

// show puts text above the status line, and an empty line in between.
func (l *loop) show(text string) {
	if text != "" {
		text += "\n"
	}
	fmt.Fprint(l.out, "\r\x1b[K"+text+l.model.Status())
}

// status writes the last line anew.
func (l *loop) status() { l.show("") }
