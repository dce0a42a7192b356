package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"containers-from-scratch/harness/demo"
)

// playDemo plays the demonstration of one step in two panes of tmux. All that
// it runs, runs in a throwaway machine.
func playDemo(args []string) error {
	n, err := 0, error(nil)
	if len(args) == 1 {
		n, err = strconv.Atoi(args[0])
	}
	scene, ok := demo.Scenes[n]
	if len(args) != 1 || err != nil || !ok {
		steps := slices.Sorted(maps.Keys(demo.Scenes))
		return usage("make demo wants the number of a step, %d to %d: make demo 3", steps[0], steps[len(steps)-1])
	}
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		return usage("make demo needs a terminal: its panes are tmux's")
	}
	if err := demo.Available(); err != nil {
		return cannot(err)
	}
	self, err := os.Executable()
	if err != nil {
		return broke(err)
	}
	m := book(1)
	defer m.close()
	b, err := build(spec().Arch)
	if err != nil {
		return err
	}
	job := b.job()
	job.Args, job.Dir, job.Timeout = []string{"/probe", "converse"}, "/root", 24*time.Hour
	questions, ask, err := os.Pipe()
	if err != nil {
		return broke(err)
	}
	answers, say, err := os.Pipe()
	if err != nil {
		return broke(err)
	}
	job.Stdin, job.Stdout, job.Stderr = questions, say, os.Stderr
	<-m.ready // its lines come first, and its refusal
	if m.err != nil {
		return m.err
	}
	stage, err := demo.NewStage(self, fmt.Sprintf("step %d: %s", n, scene.Title))
	if err != nil {
		return cannot(err)
	}
	ran := make(chan error, 1)
	go func() {
		_, err := m.run(job)
		say.Close() // whoever waits for an answer hears that there is none
		ran <- err
	}()
	played := make(chan error, 1)
	go func() {
		played <- stage.Play(scene, demo.NewTalk(ask, answers).Ask)
		stage.Close()
	}()
	attached := stage.Attach() // until Play, or the instructor, ends it
	stage.Close()
	err = <-played
	ask.Close() // ends the machine's part
	machine := <-ran
	switch {
	case err != nil:
		return broke(fmt.Errorf("demonstration %d: %w", n, errors.Join(err, machine)))
	case attached != nil:
		return cannot(fmt.Errorf("tmux attach: %w", attached))
	}
	return machine
}

// demoPane is what runs in each pane.
func demoPane(args []string) error {
	if len(args) != 2 {
		return broke(errors.New("usage: harness demo-pane SOCKET SIDE"))
	}
	return demo.Pane(args[0], args[1], os.Stdin, os.Stdout)
}
