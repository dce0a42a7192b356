package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"containers-from-scratch/harness/isolation"
	"containers-from-scratch/harness/probe"
	"containers-from-scratch/harness/sandbox"
)

// The files that make map writes. The picture is part of the repository: with
// "picture" the map is drawn for it, too.
const (
	mapPage    = ".build/map.html"
	mapData    = ".build/map.json"
	mapPicture = "harness/isolation/map.svg"
)

// drawMap measures what each step, PROGRAM and runc share with the host, shows
// it on the terminal and writes the page.
func drawMap(args []string) error {
	m, err := measureMap()
	if err != nil {
		return err
	}
	text := isolation.Terminal(m, columnsOfTerminal(), colourful())
	page, err := isolation.Page(m)
	if err != nil {
		return broke(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return broke(err)
	}
	files := map[string]string{mapPage: page, mapData: string(data) + "\n"}
	if slices.Contains(args, "picture") {
		files[mapPicture] = isolation.Picture(m)
	}
	for file, content := range files {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return broke(err)
		}
	}
	fmt.Printf("%s\nthe page: %s\n", text, mapPage)
	for _, left := range m.Left {
		if program := os.Getenv("PROGRAM"); program != "" && left.Name == program {
			return wrong(fmt.Errorf("PROGRAM=%s: %s", program, left.Reason))
		}
	}
	return nil
}

// measureMap runs the probe on the host and inside each program, in a sandbox.
func measureMap() (m probe.Measurement, err error) {
	booked := book(1)
	defer booked.close()
	b, err := build(spec().Arch)
	if err != nil {
		return m, err
	}
	steps := b.steps()
	job := b.job()
	job.Args = append([]string{"/probe", "measure"}, steps...)
	noRunc := addRunc(&job)
	if b.program != "" { // last: what is half done may leave anything behind
		job.Args = append(job.Args, "/box/own/"+b.name())
	}
	var out bytes.Buffer
	job.Stdout, job.Stderr = &out, os.Stderr
	job.Timeout = 5 * time.Minute
	if status, err := booked.run(job); err != nil {
		return m, err
	} else if status != 0 {
		return m, broke(fmt.Errorf("measuring ended with status %d", status))
	}
	if m, err = probe.Decode(out.Bytes()); err != nil {
		return m, broke(fmt.Errorf("read the measurement: %w", err))
	}
	for i, c := range m.Columns { // PROGRAM, which has a path, may have a step's name
		m.Columns[i].Series, m.Columns[i].Name = slices.Contains(steps, c.Name), filepath.Base(c.Name)
	}
	for i, left := range m.Left {
		if filepath.IsAbs(left.Name) {
			m.Left[i].Name = os.Getenv("PROGRAM")
		}
	}
	// PROGRAM is shown beside the steps.
	if i := slices.IndexFunc(m.Columns, func(c probe.Column) bool { return c.Name == "runc" }); i >= 0 {
		runc := m.Columns[i]
		m.Columns = append(slices.Delete(m.Columns, i, i+1), runc)
	}
	if noRunc != nil {
		m.Left = append(m.Left, probe.Omission{Name: "runc", Reason: noRunc.Error()})
	}
	for _, engine := range []string{"podman", "docker"} {
		column, err := b.engineColumn(engine)
		if err != nil {
			m.Left = append(m.Left, probe.Omission{Name: engine, Reason: err.Error()})
			continue
		}
		m.Columns = append(m.Columns, column)
	}
	return m, nil
}

// engineColumn measures an engine's container, on this machine and compared
// with it: an engine is too large for the throwaway one. Nothing but the probe
// runs in it, which only looks.
func (b built) engineColumn(engine string) (c probe.Column, err error) {
	if arch := spec().Arch; arch != "" && arch != runtime.GOARCH {
		return c, errors.New("this machine's is for " + runtime.GOARCH)
	}
	file := filepath.Join(b.dir, "bin", "probe")
	words, err := sandbox.EngineCommand(engine, file)
	if err != nil {
		return c, err
	}
	var said bytes.Buffer
	cmd := exec.Command(file, append([]string{"column", engine}, words...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return c, errors.New(strings.TrimSpace(said.String()))
	}
	return c, json.Unmarshal(out, &c)
}

// addRunc puts this machine's runc into the job, to be measured as well, or
// says why it cannot.
func addRunc(job *sandbox.Job) error {
	if arch := spec().Arch; arch != "" && arch != runtime.GOARCH {
		return errors.New("this machine's is for " + runtime.GOARCH)
	}
	files, err := sandbox.ProgramFiles("runc", "/box/bin")
	if err != nil {
		return err
	}
	for at, file := range files {
		job.Files[at] = file
	}
	job.Args = append(job.Args, "runc")
	return nil
}

// steps are the names of step 00 and of the steps, as they are in a sandbox.
func (b built) steps() []string {
	dirs, _ := filepath.Glob("steps/0*")
	names := []string{"00-none"}
	for _, dir := range dirs {
		names = append(names, filepath.Base(dir))
	}
	return names
}

// colourful tells whether stdout may get bold text, see no-color.org.
func colourful() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("NO_COLOR") == "" && !strings.EqualFold(os.Getenv("TERM"), "dumb")
}
