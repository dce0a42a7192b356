package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"containers-from-scratch/harness/conformance"
	"containers-from-scratch/harness/sandbox"
)

const (
	suiteDir     = "harness/conformance/suite"
	suiteModule  = "github.com/opencontainers/runtime-tools"
	expectedFile = "harness/conformance/expected.txt"
)

// A validation is one machine in which the suite runs.
type validation struct{ name, sandbox, cgroup string }

// validations are tried when neither SANDBOX nor CGROUP says which. The third
// has what this machine has: often v1 and v2 side by side.
var validations = []validation{
	{"vm v1", "vm", "v1"},
	{"vm v2", "vm", "v2"},
	{"host", "host", ""},
}

// validate runs the OCI's validation suite on the runtime that RUNTIME names,
// ours by default, and compares with expected.txt.
func validate(args []string) error {
	if len(args) > 0 {
		return usage("usage: make conformance; RUN=text chooses tests")
	}
	s := spec()
	if err := known(s); err != nil {
		return err
	}
	suite, err := buildSuite(s.Arch)
	if err != nil {
		return err
	}
	runtime, err := buildRuntime(s.Arch)
	if err != nil {
		return err
	}
	where := validations
	if os.Getenv("SANDBOX")+s.Cgroup != "" {
		name := strings.TrimSpace(os.Getenv("SANDBOX") + " " + s.Cgroup)
		where = []validation{{name, os.Getenv("SANDBOX"), s.Cgroup}}
	}
	var scores []string
	passed, worse, expected := 0, 0, 0 // the last fail for a reason in expected.txt
	for _, v := range where {
		score, err := v.run(s, suite, runtime)
		if err != nil {
			return err
		}
		passed, worse, expected = passed+score.Pass+score.Quiet, worse+score.Worse, expected+score.Fail-score.Worse
		scores = append(scores, fmt.Sprintf("%s: %v", v.name, score))
	}
	fmt.Printf("%s: %s\n", runtime.name, strings.Join(scores, "; "))
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, worse, expected)
	if worse > 0 {
		return wrong(fmt.Errorf("%s of the validation suite that should pass", howMany(worse, "test fails", "tests fail")))
	}
	return nil
}

// A suite is the validation suite, built.
type suite struct {
	dir      string // the executables, and the root filesystem of their containers
	tests    []string
	expected conformance.Expectations
}

// buildSuite compiles every test. They are a module of their own, which the go
// command takes from its cache or fetches.
func buildSuite(arch string) (suite, error) {
	s := suite{dir: filepath.Join(buildDir(arch), "suite")}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return s, broke(err)
	}
	if out, err := goTool(arch, "build", "-C", suiteDir, "-ldflags=-s -w", "-o", s.dir+"/", "tool"); err != nil {
		return s, broke(fmt.Errorf("build the validation suite:\n%s", out))
	}
	list, err := goTool(arch, "list", "-C", suiteDir, "tool")
	if err != nil {
		return s, broke(fmt.Errorf("list the validation suite:\n%s", list))
	}
	for _, path := range strings.Fields(list) {
		if test, ok := strings.CutPrefix(path, suiteModule+"/validation/"); ok {
			s.tests = append(s.tests, test)
		}
	}
	if err := unzipRootfs(arch, s.dir); err != nil {
		return s, err
	}
	slices.Sort(s.tests)
	file, err := os.Open(expectedFile)
	if err != nil {
		return s, broke(err)
	}
	defer file.Close()
	if s.expected, err = conformance.ReadExpected(file, s.tests); err != nil {
		return s, broke(fmt.Errorf("%s: %w", expectedFile, err))
	}
	if text := os.Getenv("RUN"); text != "" {
		s.tests = slices.DeleteFunc(s.tests, func(test string) bool { return !strings.Contains(test, text) })
		if len(s.tests) == 0 {
			return s, usage("RUN=%s: the validation suite has no such test", text)
		}
	}
	return s, nil
}

// unzipRootfs puts the root filesystem of the suite's containers among its
// tests. They have tar unpack "rootfs-amd64.tar.gz", and a busybox tar does not
// notice that it is compressed: here it is not, for any tar.
func unzipRootfs(arch, dir string) error {
	module, err := goTool(arch, "list", "-C", suiteDir, "-m", "-f", "{{.Dir}}", suiteModule)
	if err != nil {
		return broke(fmt.Errorf("find the validation suite:\n%s", module))
	}
	name := "rootfs-" + filepath.Base(buildDir(arch)) + ".tar.gz"
	zipped, err := os.Open(filepath.Join(module, name))
	if err != nil {
		return cannot(fmt.Errorf("the validation suite has no root filesystem for this architecture: %w", err))
	}
	defer zipped.Close()
	content, err := gzip.NewReader(zipped)
	if err != nil {
		return broke(err)
	}
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return broke(err)
	}
	if _, err := io.Copy(file, content); err != nil {
		return broke(errors.Join(err, file.Close()))
	}
	return file.Close()
}

// A runtimeProgram is an OCI runtime that is to be tried.
type runtimeProgram struct {
	name  string            // and, of one that says so, its version
	path  string            // in the machine
	files map[string]string // what must be in the machine, for Job.Files
}

// buildRuntime finds or builds what RUNTIME names: a Go package, an executable,
// or a command in PATH. One that is linked dynamically brings its libraries.
func buildRuntime(arch string) (runtimeProgram, error) {
	name := cmp.Or(os.Getenv("RUNTIME"), "steps/07-final")
	if path, err := exec.LookPath(name); err == nil && !strings.Contains(name, "/") {
		name = path
	}
	file, err := buildProgram(arch, "RUNTIME", name, buildDir(arch))
	if err != nil {
		return runtimeProgram{}, err
	}
	r := runtimeProgram{name: filepath.Base(name), path: "/box/runtime/" + filepath.Base(name)}
	r.files = map[string]string{}
	return r, carry(r.files, r.path, file)
}

// run runs the suite in one machine, writes what is not as expected, and keeps
// all that the tests said in .build/conformance.
func (v validation) run(s sandbox.Spec, suite suite, runtime runtimeProgram) (score conformance.Score, err error) {
	job := sandbox.Job{
		Files:   map[string]string{"/box/harness": s.Self, "/box/suite": suite.dir},
		Args:    append([]string{"/box/harness", "guest-suite"}, suite.tests...),
		Dir:     "/box/suite",
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "RUNTIME=" + runtime.path},
		Stderr:  os.Stderr,
		Timeout: 30 * time.Minute,
	}
	for at, file := range runtime.files {
		job.Files[at] = file
	}
	read, write := io.Pipe()
	var m conformance.Machine
	var runs []conformance.Run
	done := make(chan error)
	go func() {
		var err error
		m, runs, err = follow(read, len(suite.tests))
		_, _ = io.Copy(io.Discard, read) // or the machine would wait for its reader
		done <- err
	}()
	job.Stdout = write
	start := time.Now()
	s.Cgroup = v.cgroup
	s.CPUs = 2 // linux_cgroups_relative_cpus wants CPUs 0-1
	status, err := runIn(v.sandbox, s, job)
	write.Close()
	heard := <-done
	clearProgress()
	switch {
	case err != nil:
		return score, err
	case status != 0 || heard != nil || len(runs) != len(suite.tests):
		return score, broke(fmt.Errorf("the suite ended with status %d after %d of %d tests: %w", status, len(runs), len(suite.tests), heard))
	}
	if err := keep(filepath.Join(".build/conformance", runtime.name, strings.ReplaceAll(v.name, " ", "-")), runs); err != nil {
		return score, broke(err)
	}
	lacks := ""
	if len(m.Lacks) > 0 {
		lacks = ", without " + strings.Join(m.Lacks, ", ")
	}
	fmt.Printf("%s (%s%s), %.0f s\n", v.name, m.Cgroup, lacks, time.Since(start).Seconds())
	score = conformance.Report(os.Stdout, runs, m, suite.expected, os.Getenv("V") == "1")
	fmt.Printf("  %v\n", score)
	return score, nil
}

// follow reads what Guest writes.
func follow(from io.Reader, of int) (m conformance.Machine, runs []conformance.Run, err error) {
	d := json.NewDecoder(from)
	if err := d.Decode(&m); err != nil {
		return m, nil, err
	}
	for {
		var r conformance.Run
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return m, runs, nil
		} else if err != nil {
			return m, runs, err
		}
		runs = append(runs, r)
		if progress(len(runs), of, "/"+r.Test); !onTerminal() && len(runs)%10 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d tests, the last %s\n", len(runs), of, r.Test)
		}
	}
}

// keep writes a file for each test.
func keep(dir string, runs []conformance.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range runs {
		var text bytes.Buffer
		fmt.Fprintf(&text, "%s# stderr\n%s# status %d after %.1f s\n", r.Stdout, r.Stderr, r.Status, r.Seconds)
		if err := os.WriteFile(filepath.Join(dir, r.Test+".txt"), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// runIn runs one job in a machine of its own, of a place that need not be the
// one that the environment asks for.
func runIn(name string, s sandbox.Spec, job sandbox.Job) (status int, err error) {
	if name == "host" && os.Geteuid() > 0 {
		return runAsRoot(job)
	}
	place, finding, err := sandbox.Choose(name, s)
	if err != nil {
		return 0, cannot(err)
	}
	fmt.Fprintf(os.Stderr, "sandbox %s: %s\n", place.Name(), finding.Reason)
	machine, err := place.Start(s)
	if err != nil {
		return 0, cannot(err)
	}
	defer machine.Close()
	job.Env = append(job.Env, "SANDBOX_KIND="+place.Name())
	if status, err = machine.Run(job); err != nil {
		return 0, broke(err)
	}
	return status, nil
}
