// Command harness runs the steps, and a learner's own program, in throwaway
// machines and tells which facts about a container hold. make calls it; its
// exit status is 0 when all is well, 1 when the program is wrong, 2 when this
// machine cannot test it, 3 when the harness itself broke, and its last line
// says which.
package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"containers-from-scratch/harness/bench"
	"containers-from-scratch/harness/conformance"
	"containers-from-scratch/harness/doctor"
	"containers-from-scratch/harness/engines"
	"containers-from-scratch/harness/sandbox"
)

// verbs are what make calls; each returns the exit status.
var verbs = map[string]func(args []string) error{
	"start":       start,             // [N]: put what step N begins with into work/
	"watch":       watchProgram,      // [N]: the learner's loop
	"test-step":   testStep,          // N: try the facts of step N
	"test":        testAll,           // every test there is
	"shell":       shell,             // a shell in a sandbox
	"engines":     tryEngines,        // podman, docker and containerd with RUNTIME
	"mutants":     tryMutants,        // [N]: delete statements, see whether facts notice
	"bench":       measure,           // what a start costs, beside other runtimes
	"conformance": validate,          // the OCI's validation suite, on RUNTIME
	"doctor":      diagnose,          // what this machine is good for
	"exec":        execTest,          // TEST-BINARY ARG...: for go test -exec
	"job":         runJob,            // JSON: one job, as root, for SANDBOX=host
	"kit":         makeKit,           // all that the harness takes from the network, as one archive
	"demo":        playDemo,          // N: the attack of step N in two panes, host and container
	"demo-pane":   demoPane,          // SOCKET SIDE: what runs in one of them
	"record":      recordTranscripts, // write into the texts what their transcripts print
	"map":         drawMap,           // what each step shares with the host, and what it does not
}

func main() {
	if os.Getpid() == 1 && os.Args[0] == "/init" {
		sandbox.GuestVM()
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "guest-box":
			sandbox.GuestBox(os.Args[2:])
		case "guest-container":
			os.Exit(sandbox.GuestContainer(os.Args[2:]))
		case "guest-suite":
			exit(conformance.Guest(os.Args[2:]))
		case "guest-bench":
			exit(bench.Guest(os.Args[2:]))
		case "guest-engines":
			exit(engines.Guest(os.Args[2:]))
		}
		if verb, ok := verbs[os.Args[1]]; ok {
			exit(verb(os.Args[2:]))
		}
	}
	var known []string
	for name := range verbs {
		known = append(known, name)
	}
	sort.Strings(known)
	exit(usage("usage: harness VERB, one of %s", strings.Join(known, " ")))
}

// An outcome is an error with the exit status that it is worth.
type outcome struct {
	status int
	error
}

func (o outcome) Unwrap() error { return o.error }

// usage is an outcome for which no machine and no program is to blame.
func usage(format string, args ...any) error {
	return outcome{2, usageError(fmt.Sprintf(format, args...))}
}

type usageError string

func (u usageError) Error() string { return string(u) }

// wrong, cannot and broke are the three ways in which a test does not pass.
func wrong(err error) error  { return outcome{1, err} }
func cannot(err error) error { return outcome{2, err} }
func broke(err error) error  { return outcome{3, err} }

// exit ends the program; the last line says whose fault it is.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	var o outcome
	if !errors.As(err, &o) {
		o = outcome{3, err}
	}
	prefix := map[int]string{
		1: "the program is wrong: ", 2: "this machine cannot test it: ", 3: "the harness broke: ",
	}[o.status]
	if errors.As(err, new(usageError)) {
		prefix = ""
	}
	if o.error != nil {
		fmt.Fprintln(os.Stderr, prefix+o.Error())
	}
	os.Exit(o.status)
}

// diagnose prints what this machine is good for.
func diagnose([]string) error {
	if status := doctor.Main(spec(), os.Stdout); status != 0 {
		return outcome{status: status}
	}
	return nil
}

// shell opens a shell in the chosen sandbox, with the steps and PROGRAM in its
// PATH: isolation to play with. Whatever becomes of the machine, it is over.
func shell([]string) error {
	info, err := os.Stdin.Stat()
	if err != nil {
		return cannot(err)
	}
	m := book(1)
	defer m.close()
	built, err := buildForShell()
	if err != nil {
		return err
	}
	job := built.job()
	job.Args = []string{"/bin/sh", "-c", "command -v bash >/dev/null && exec bash --norc; exec sh"}
	job.Env = append(job.Env, `PS1=\h \w \$ `)
	job.Dir = "/root"
	job.Timeout = 24 * time.Hour
	job.Stdin, job.Stdout, job.Stderr, job.TTY = os.Stdin, os.Stdout, os.Stderr, info.Mode()&os.ModeCharDevice != 0
	<-m.ready // its lines come first
	fmt.Fprintf(os.Stderr, "a throwaway machine: %s are in PATH; exit leaves it\n", strings.Join(built.programs(), ", "))
	if m.kind == "user" {
		fmt.Fprintln(os.Stderr, "it has one user only: the attacks of lesson 05 need SANDBOX=vm")
	}
	_, err = m.run(job)
	var died machineError
	if errors.As(err, &died) {
		fmt.Fprintln(os.Stderr, "the machine is gone:", firstLine(err))
		return nil
	}
	return err
}

// buildForShell is build, with the learner's program where PROGRAM names no other.
// One that does not compile is left out: the shell may be what is wanted to find out.
func buildForShell() (built, error) {
	if _, err := os.Stat(learnersDir); err != nil || os.Getenv("PROGRAM") != "" {
		return build(spec().Arch)
	}
	b, err := buildTools(spec().Arch)
	if err != nil {
		return b, err
	}
	if b.program, err = buildProgram(spec().Arch, learnersDir, learnersDir, b.dir); err != nil {
		fmt.Fprintf(os.Stderr, "without %s: %v\n", learnersDir, err)
		return b, nil
	}
	return b, os.Setenv("PROGRAM", learnersDir) // b.name asks for it
}
