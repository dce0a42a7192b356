package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"containers-from-scratch/harness/docs"
)

// recordTranscripts runs the transcripts of the texts in a sandbox and writes
// what they print into the texts. Where no sandbox works they stay as they are:
// make carry has other work, which needs none.
func recordTranscripts([]string) error {
	m := book(1)
	defer m.close()
	place := cmp.Or(os.Getenv("SANDBOX"), "auto") // one that is named must work
	if <-m.ready; m.err != nil && place == "auto" && !errors.As(m.err, new(usageError)) {
		fmt.Fprintln(os.Stderr, "the transcripts stay as they are:", firstLine(m.err))
		return nil
	}
	b, err := buildTools(spec().Arch)
	if err != nil {
		return err
	}
	job := b.job()
	job.Args = []string{"/box/checks.test", "-test.run=^TestTranscripts$", "-record"}
	job.Timeout = 10 * time.Minute
	var said bytes.Buffer
	job.Stdout, job.Stderr = &said, os.Stderr // each is written by a goroutine of its own
	status, err := m.run(job)
	if err != nil {
		return err
	}
	var others []string
	recordings := map[string][]docs.Recording{} // by file
	for line := range strings.Lines(said.String()) {
		data, ok := strings.CutPrefix(line, docs.RecordingIn)
		if !ok {
			others = append(others, line)
			continue
		}
		var r docs.Recording
		if err := json.Unmarshal([]byte(data), &r); err != nil {
			return broke(err)
		}
		recordings[r.File] = append(recordings[r.File], r)
	}
	if status != 0 || len(recordings) == 0 {
		return broke(fmt.Errorf("recording the transcripts:\n%s", strings.Join(others, "")))
	}
	for file, list := range recordings {
		if err := recordInto(file, list); err != nil {
			return broke(err)
		}
	}
	return nil
}

// recordInto writes recordings into a text, and names the blocks that change.
func recordInto(file string, recordings []docs.Recording) error {
	blocks, err := docs.Read(".", file)
	if err != nil {
		return err
	}
	write := false
	for i := range blocks {
		for _, r := range recordings {
			if blocks[i].Line != r.Line {
				continue
			}
			changed, err := blocks[i].Record(r)
			if err != nil {
				return err
			}
			if changed {
				fmt.Println("recorded anew:", blocks[i].At(0))
				write = true
			}
		}
	}
	if !write {
		return nil
	}
	return docs.Write(".", file, blocks)
}
