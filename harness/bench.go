package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"containers-from-scratch/harness/bench"
	"containers-from-scratch/harness/sandbox"
)

// measure compares what a start costs with ours, RUNTIME if it is set, and with
// the other runtimes that are installed.
func measure(args []string) error {
	if len(args) > 0 {
		return usage("usage: make bench")
	}
	s := spec()
	if err := known(s); err != nil {
		return err
	}
	b, err := build(s.Arch)
	if err != nil {
		return err
	}
	box, err := sandbox.FetchBusybox(s.Arch, os.Stderr)
	if err != nil {
		return cannot(err)
	}
	plan := bench.Plan{Rounds: 30}
	files := map[string]string{"/box/harness": s.Self, "/box/busybox": box}
	add := func(name, file string, kinds ...bench.Kind) error {
		p := bench.Peer{Name: name, Path: "/box/peers/" + name + "/" + filepath.Base(file), Kinds: kinds}
		plan.Peers = append(plan.Peers, p)
		return carry(files, p.Path, file)
	}
	if ours, err := buildRuntime(s.Arch); err == nil {
		err = add(bench.Ours, ours.files[ours.path], bench.OCI, bench.Command)
		if err != nil {
			return err
		}
	} else if os.Getenv("RUNTIME") != "" {
		return err
	} else {
		fmt.Fprintln(os.Stderr, "ours is left out:", err)
	}
	for _, p := range []struct {
		name string
		kind bench.Kind
	}{{"runc", bench.OCI}, {"crun", bench.OCI}, {"bwrap", bench.Bwrap}, {"unshare", bench.Unshare}} {
		file, err := exec.LookPath(p.name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed, and left out\n", p.name)
			continue
		}
		if err := add(p.name, file, p.kind); err != nil {
			return err
		}
	}
	if err := add("06-net", filepath.Join(b.dir, "bin", "06-net"), bench.Command); err != nil {
		return err
	}
	where := os.Getenv("SANDBOX")
	if where == "" {
		where = "host" // a VM without KVM measures the emulator
	}
	if where == "vm" {
		plan.Rounds = 10
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return broke(err)
	}
	samples, err := sample(where, s, sandbox.Job{
		Files:   files,
		Args:    []string{"/box/harness", "guest-bench", string(text)},
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
		Stderr:  os.Stderr,
		Timeout: 30 * time.Minute,
	})
	if err != nil {
		return err
	}
	bench.Report(os.Stdout, plan.Peers, samples)
	return nil
}

// carry puts an executable, and the libraries that it needs, among the files of
// a job.
func carry(files map[string]string, at, file string) error {
	libraries, err := sandbox.Libraries(file)
	if err != nil {
		return cannot(fmt.Errorf("find the libraries of %s: %w", file, err))
	}
	files[at] = file
	for _, library := range libraries {
		files[library] = library
	}
	return nil
}

// sample runs the job and reads what it measures.
func sample(where string, s sandbox.Spec, job sandbox.Job) (samples []bench.Sample, err error) {
	read, write := io.Pipe()
	done := make(chan error)
	go func() {
		for d := json.NewDecoder(read); ; {
			var one bench.Sample
			if err := d.Decode(&one); err != nil {
				_, _ = io.Copy(io.Discard, read) // or the machine would wait for its reader
				done <- err
				return
			}
			samples = append(samples, one)
			progress(len(samples), 0, "/"+one.Peer+": "+one.Scenario)
		}
	}()
	job.Stdout = write
	status, err := runIn(where, s, job)
	write.Close()
	heard := <-done
	clearProgress()
	if err == nil && (status != 0 || !errors.Is(heard, io.EOF)) {
		err = broke(fmt.Errorf("the measurements ended with status %d: %w", status, heard))
	}
	return samples, err
}
