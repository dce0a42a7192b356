package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"containers-from-scratch/harness/docs"
	"containers-from-scratch/harness/engines"
	"containers-from-scratch/harness/sandbox"
)

// engineFiles are what the engines read of this machine's /etc. None of it is
// about images or containers that are there.
var engineFiles = []string{"/etc/alternatives", "/etc/cni", "/etc/containers", "/etc/ld.so.cache", "/etc/protocols", "/etc/services"}

// tryEngines drives the runtime that RUNTIME names, ours by default, by each
// engine that is installed.
func tryEngines(args []string) error {
	if len(args) > 0 {
		return usage("usage: make engines; RUN=text chooses checks, or an engine")
	}
	if where := os.Getenv("SANDBOX"); where != "" && where != "host" {
		return usage("the engines are this machine's own: SANDBOX=host")
	}
	s := spec()
	runtime, err := buildRuntime(s.Arch)
	if err != nil {
		return err
	}
	box, err := sandbox.FetchBusybox(s.Arch, os.Stderr)
	if err != nil {
		return cannot(err)
	}
	list, run := engines.Named(os.Getenv("RUN"))
	plan := engines.Plan{Runtime: runtime.path, Run: run}
	if plan.Texts, err = engineLines(); err != nil {
		return broke(err)
	}
	skipped := 0
	for _, e := range list {
		missing := slices.IndexFunc(e.Programs, func(program string) bool {
			_, err := exec.LookPath(program)
			return err != nil
		})
		switch {
		case missing < 0:
			plan.Engines = append(plan.Engines, e.Name)
		case os.Getenv("MUST_RUN") == "1":
			return cannot(fmt.Errorf("MUST_RUN=1, and %s is not installed, which %s needs", e.Programs[missing], e.Name))
		default:
			fmt.Printf("SKIP %s: %s is not installed\n", e.Name, e.Programs[missing])
			skipped++
		}
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return broke(err)
	}
	job := sandbox.Job{
		Files:   map[string]string{"/box/harness": s.Self, "/box/busybox": box},
		Binds:   []string{"/usr"},
		Args:    []string{"/box/harness", "guest-engines", string(text)},
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"},
		Stderr:  os.Stderr,
		Timeout: 30 * time.Minute,
	}
	for _, file := range engineFiles {
		if _, err := os.Stat(file); err == nil {
			job.Files[file] = file
		}
	}
	job.Files[runtime.path] = runtime.files[runtime.path] // its libraries are in /usr
	read, write := io.Pipe()
	done := make(chan [2]int)
	go func() { done <- countChecks(read, os.Stdout) }()
	job.Stdout = write
	status, err := runIn("host", s, job)
	write.Close()
	counts := <-done
	switch {
	case err != nil:
		return err
	case status != 0:
		return broke(fmt.Errorf("the engines ended with status %d", status))
	case counts[0]+counts[1] == 0:
		return cannot(errors.New("no engine is installed, or no check is called so"))
	}
	fmt.Printf("%s with %s\n%d passed, %d failed, %d skipped\n", runtime.name, strings.Join(plan.Engines, ", "), counts[0], counts[1], skipped)
	if counts[1] > 0 {
		return wrong(errors.New(howMany(counts[1], "check fails", "checks fail")))
	}
	return nil
}

// engineLines are the lines of the texts under "engine".
func engineLines() (list []engines.Text, err error) {
	for _, file := range docs.Files {
		blocks, err := docs.Read(".", file)
		if err != nil {
			return nil, err
		}
		for _, block := range blocks {
			if block.Kind != "engine" {
				continue
			}
			commands, err := block.Commands()
			if err != nil {
				return nil, err
			}
			for _, c := range commands {
				list = append(list, engines.Text{Engine: block.Args, At: block.At(c.Index), Line: c.Line, Shows: c.Output})
			}
		}
	}
	return list, nil
}

// countChecks copies lines, and counts those that pass and those that fail.
func countChecks(from io.Reader, to io.Writer) (counts [2]int) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(to, lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "PASS "):
			counts[0]++
		case strings.HasPrefix(lines.Text(), "FAIL "):
			counts[1]++
		}
	}
	_, _ = io.Copy(io.Discard, from) // or the machine would wait for its reader
	return counts
}
