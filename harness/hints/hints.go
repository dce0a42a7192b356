// Package hints holds what a learner is told about a fact that fails: three
// hints, each of which says more than the one before and none the code.
//
//  1. a nudge: what the kernel does, as a question or a rule
//  2. where: which part of the program, which call
//  3. how: the order of acts, in words
package hints

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

// LastStep is the last that a learner writes. 07-final is there to be read.
const LastStep = 6

//go:embed *.md
var texts embed.FS

// all are the hints by the fact's sentence, and the file that each stands in.
var all = read()

// For returns the hints for a fact, in their order; none when there are none.
func For(claim string) []string { return all[claim] }

// Claims are the facts that have hints.
func Claims() (claims []string) {
	for claim := range all {
		claims = append(claims, claim)
	}
	return claims
}

var numbered = regexp.MustCompile(`^([1-9])\. `)

// read takes the files apart: a heading for each fact, and a numbered list. The
// tests read them first, so that a mistake ends no learner's session.
func read() map[string][]string {
	hints := map[string][]string{}
	files, err := texts.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		text, err := texts.ReadFile(file.Name())
		if err != nil {
			panic(err)
		}
		claim := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			switch heading, is := strings.CutPrefix(line, "## "); {
			case is && hints[heading] != nil:
				panic(fmt.Sprintf("%s: two lists for %q", file.Name(), heading))
			case is:
				claim = heading
			case claim == "" || line == "":
			case numbered.MatchString(line):
				hints[claim] = append(hints[claim], line[3:])
			case len(hints[claim]) > 0:
				last := &hints[claim][len(hints[claim])-1]
				*last += " " + strings.TrimSpace(line)
			}
		}
	}
	return hints
}
