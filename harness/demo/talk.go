package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Question is what `probe converse` reads: a line for one of its shells.
type Question struct{ In, Run string }

// An Answer is what it says to each.
type Answer struct {
	Output string
	Failed string // why there is no more of that shell, "" if there is
}

// A Talk asks questions over one end of a conversation.
type Talk struct {
	to   *json.Encoder
	from *json.Decoder
}

// NewTalk is a conversation with `probe converse`.
func NewTalk(to io.Writer, from io.Reader) *Talk {
	return &Talk{json.NewEncoder(to), json.NewDecoder(from)}
}

// Ask runs a line in its shell and returns what it prints.
func (t *Talk) Ask(l Line) (string, error) {
	if err := t.to.Encode(Question{l.In, l.Run}); err != nil {
		return "", fmt.Errorf("ask the machine: %w", err)
	}
	var a Answer
	if err := t.from.Decode(&a); err != nil {
		return "", fmt.Errorf("hear the machine: %w", err)
	}
	if a.Failed != "" {
		return a.Output, errors.New(a.Failed)
	}
	return a.Output, nil
}
