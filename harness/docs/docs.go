// Package docs reads the texts of this repository, so that tests can keep them
// true: listings are compared with the code, transcripts are run.
//
// What a block of a text shows is said by a comment in the line above it:
//
//	<!-- code: steps/03-mount/mount.go pivotRoot -->   a declaration, as go
//	<!-- diff: 02-pid 03-mount main.go -->             one file of two steps
//	<!-- file: harness/engines/config/daemon.json -->  a whole file
//	<!-- run -->                                       commands and their output
//	<!-- run: as 1000 -->                              the same by an ordinary user
//	<!-- run: v2 -->                                   only where cgroups are
//	<!-- breaks: 03-mount main.go leaveOldRoot, => --> what make test-step says of
//	                                                   a step with that replaced
//	<!-- fails: 02-pid the command is ... -->          a false fact, as told
//	<!-- here -->                                      commands for the reader's own
//	                                                   machine: COMMANDS=1, in .ci/run
//	<!-- engine: podman -->                            a line that make engines tries
//	<!-- not run: reason -->                           recorded, but not tested
package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Files are the texts, by their path in the repository.
var Files = []string{
	"README.md",
	"steps/01-uts/README.md",
	"steps/02-pid/README.md",
	"steps/03-mount/README.md",
	"steps/04-cgroup/README.md",
	"steps/05-user/README.md",
	"steps/06-net/README.md",
	"steps/07-final/README.md",
	"steps/07-final/ENGINES.md",
	"harness/README.md",
	"harness/CONTRACT.md",
	"harness/instructor.md",
	"harness/places.md",
}

// A Block is what stands between two fences of a text.
type Block struct {
	File   string   // the text's path in the repository
	Line   int      // of the first line in the block, from 1
	Kind   string   // of the marker above: "code", "run"; "" without one
	Args   string   // what the marker says after its kind
	Lang   string   // "go", "console"
	Lines  []string // without the fences
	opened int      // index of the line after the opening fence
}

// At names a line of the block, from 0: "README.md:17".
func (b Block) At(i int) string { return fmt.Sprintf("%s:%d", b.File, b.Line+i) }

var marker = regexp.MustCompile(`^<!-- (not run|\w+)(?:: (.*))? -->$`)

// Read returns the blocks of a text; dir is the repository's root.
func Read(dir, file string) ([]Block, error) {
	text, err := os.ReadFile(dir + "/" + file)
	if err != nil {
		return nil, err
	}
	var blocks []Block
	var open *Block
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		switch fence, lang := strings.HasPrefix(line, "```"), strings.TrimLeft(line, "`"); {
		case !fence && open != nil:
			open.Lines = append(open.Lines, line)
		case fence && open != nil:
			blocks = append(blocks, *open)
			open = nil
		case fence:
			open = &Block{File: file, Line: i + 2, Lang: lang, opened: i + 1}
			if m := marker.FindStringSubmatch(lines[max(i-1, 0)]); m != nil {
				open.Kind, open.Args = m[1], m[2]
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block has no end", file, open.Line-1)
	}
	return blocks, nil
}

// Write puts other lines into the blocks of a text, which Read has returned.
func Write(dir, file string, blocks []Block) error {
	text, err := os.ReadFile(dir + "/" + file)
	if err != nil {
		return err
	}
	old, next := strings.Split(string(text), "\n"), 0
	var lines []string
	for _, b := range blocks {
		lines = append(append(lines, old[next:b.opened]...), b.Lines...)
		for next = b.opened; !strings.HasPrefix(old[next], "```"); {
			next++
		}
	}
	lines = append(lines, old[next:]...)
	return os.WriteFile(dir+"/"+file, []byte(strings.Join(lines, "\n")), 0o644)
}

// A Command is one line of a transcript, after "$ ", and what it prints.
type Command struct {
	Line   string
	Output []string
	Index  int // of its line in the block, from 0
}

// Commands takes a transcript apart.
func (b Block) Commands() ([]Command, error) {
	var list []Command
	for i, line := range b.Lines {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			list = append(list, Command{Line: command, Index: i})
		} else if len(list) == 0 {
			return nil, fmt.Errorf("%s: output before the first command", b.At(i))
		} else {
			last := &list[len(list)-1]
			last.Output = append(last.Output, line)
		}
	}
	return list, nil
}

// Edit is the change of a step that a block under "breaks" is about.
func (b Block) Edit() (step, file, before, after string, err error) {
	words := strings.SplitN(b.Args, " ", 3)
	found := false
	if len(words) == 3 {
		before, after, found = strings.Cut(words[2]+" ", " => ")
	}
	if !found {
		return "", "", "", "", fmt.Errorf("%s: <!-- breaks: %s -->: want STEP FILE BEFORE => AFTER", b.At(-2), b.Args)
	}
	return words[0], words[1], before, strings.TrimSpace(after), nil
}

// Compare tells where output differs from what the text promises, or returns
// "". Three things may differ from machine to machine:
//
//   - "laptop" stands for the name of the machine, host
//   - a number of four or more digits stands for any of two or more: a process,
//     a namespace
//   - "…" stands for anything up to the end of the line
func (b Block) Compare(c Command, host string, output []string) string {
	for i := range max(len(c.Output), len(output)) {
		switch {
		case i >= len(c.Output):
			return fmt.Sprintf("%s: %s\nprints also  %q", b.At(c.Index), c.Line, output[i])
		case i >= len(output):
			return fmt.Sprintf("%s: %s\ndoes not print this line  %q", b.At(c.Index+1+i), c.Line, c.Output[i])
		case !Pattern(c.Output[i], host).MatchString(output[i]):
			return fmt.Sprintf("%s: %s\npromises  %q\nprints    %q", b.At(c.Index+1+i), c.Line, c.Output[i], output[i])
		}
	}
	return ""
}

// A Recording is what the commands of a block have printed.
type Recording struct {
	File    string
	Line    int        // the block's
	Host    string     // the name of the machine
	Outputs [][]string // of each command, in their order
}

// RecordingIn begins a line that holds a Recording as JSON: of a sandbox, only
// what is printed comes out.
const RecordingIn = "recording "

// Record puts into a block what its commands have printed, and tells whether
// that changes it. What the text promises stays wherever it is still true:
// whole lines, counted from the first or from the last, and else words.
func (b *Block) Record(r Recording) (changed bool, err error) {
	commands, err := b.Commands()
	if err != nil {
		return false, err
	}
	if len(commands) != len(r.Outputs) {
		return false, fmt.Errorf("%s: %d commands, and the output of %d", b.At(0), len(commands), len(r.Outputs))
	}
	host := r.Host
	if !slices.ContainsFunc(b.Lines, func(line string) bool { return strings.Contains(line, "laptop") }) {
		host = "" // a machine may be called by a word of the output
	}
	var lines []string
	for i, c := range commands {
		lines = append(lines, "$ "+c.Line)
		more := len(r.Outputs[i]) - len(c.Output)
		for j, printed := range r.Outputs[i] {
			line := asPrinted(printed, host)
			first, last := at(c.Output, j), at(c.Output, j-more)
			words := reworded(first, printed, host)
			switch {
			case stands(first, printed, host):
				line = first
			case stands(last, printed, host):
				line = last
			case more == 0 && stands(words, printed, host):
				line = words
			}
			lines = append(lines, line)
		}
	}
	changed = !slices.Equal(lines, b.Lines)
	b.Lines = lines
	return changed, nil
}

// at is a line of a list, "…" where it has none: that line promises nothing.
func at(lines []string, i int) string {
	if i < 0 || i >= len(lines) {
		return "…"
	}
	return lines[i]
}

// stands tells whether a promise says something, and what was printed keeps it.
func stands(promise, printed, host string) bool {
	return promise != "…" && Pattern(promise, host).MatchString(printed)
}

// reworded is a printed line with those words of a promise that are still true,
// and with all that stands at and after its "…".
func reworded(promise, printed, host string) string {
	old, words := strings.Split(promise, " "), strings.Split(printed, " ")
	for i := range words {
		switch {
		case i >= len(old):
			words[i] = asPrinted(words[i], host)
		case strings.Contains(old[i], "…"):
			return strings.Join(append(words[:i], old[i:]...), " ")
		case Pattern(old[i], host).MatchString(words[i]):
			words[i] = old[i]
		default:
			words[i] = asPrinted(words[i], host)
		}
	}
	return strings.Join(words, " ")
}

// asPrinted is a line with "laptop" for the name of the machine.
func asPrinted(printed, host string) string {
	if host == "" {
		return printed
	}
	return regexp.MustCompile(`\b`+regexp.QuoteMeta(host)+`\b`).ReplaceAllLiteralString(printed, "laptop")
}

var numbers = regexp.MustCompile(`[0-9]{4,}`)

// exact are the numbers that a lesson teaches: limits, and ids.
var exact = []string{"67108864", "50000", "100000", "65536"}

// Pattern is what a line of a text stands for, see Compare.
func Pattern(line, host string) *regexp.Regexp {
	p := numbers.ReplaceAllStringFunc(regexp.QuoteMeta(line), func(n string) string {
		if slices.Contains(exact, n) {
			return n
		}
		return `[0-9]{2,}`
	})
	p = regexp.MustCompile(`\blaptop\b`).ReplaceAllLiteralString(p, regexp.QuoteMeta(host))
	return regexp.MustCompile("^" + strings.ReplaceAll(p, "…", ".*") + "$")
}
