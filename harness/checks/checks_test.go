//go:build linux

package checks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"containers-from-scratch/harness/hints"

	"github.com/stretchr/testify/require"
)

// TestMain refuses to run outside a sandbox: the programs under test change
// the machine, and the broken ones damage it.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_KIND") == "" || !exists("/box/bin") {
		fmt.Println("skipped: these tests change the machine they run on; use: make test")
		os.Exit(0)
	}
	if err := setStage(); err != nil {
		fmt.Println("harness:", err)
		os.Exit(3)
	}
	pristine = observeHost()
	fmt.Println("sandbox", os.Getenv("SANDBOX_KIND"))
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if h, found := hierarchyOf(controller); found && !h.V2 {
			fmt.Println("cgroups v1") // for the verdict
			break
		}
	}
	os.Exit(m.Run())
}

// ours is the program of step n, or of another name in the sandbox.
func ours(name string) Program {
	return Program{Name: name, Path: "/box/bin/" + name}
}

// underTest is the program of step n, or the one that PROGRAM names.
func underTest(n int) Program {
	if name := os.Getenv("PROGRAM_NAME"); name != "" {
		return Program{Name: name, Path: "/box/own/" + name}
	}
	return ours(Steps[n])
}

func TestStep01(t *testing.T) { proveStep(t, 1) }
func TestStep02(t *testing.T) { proveStep(t, 2) }
func TestStep03(t *testing.T) { proveStep(t, 3) }
func TestStep04(t *testing.T) { proveStep(t, 4) }
func TestStep05(t *testing.T) { proveStep(t, 5) }
func TestStep06(t *testing.T) { proveStep(t, 6) }
func TestStep07(t *testing.T) { proveStep(t, 7) }

// proveStep tries every fact that holds at step n, in a learner's order: for make
// watch, to the first that fails.
func proveStep(t *testing.T, n int) {
	first, live := os.LookupEnv("WATCH")
	facts := ForLearner(FactsAt(n), n, first)
	fmt.Printf("facts %d\n", len(facts))
	stopped := func() bool { return false }
	if live {
		stopped = watched(t)
		for _, f := range facts {
			if f.Adds(n) {
				fmt.Println("own", f.Claim)
			} else {
				fmt.Println("fact", f.Claim)
			}
		}
	}
	hung := 0
	defer func(p, s time.Duration) { patience, settling = p, s }(patience, settling)
	for _, f := range facts {
		if stopped() {
			return
		}
		t.Run(subtest(f), func(t *testing.T) {
			tryHere(t)
			if hung == mostHangs {
				t.Fatalf("not tried: the program hung in %d facts before", hung)
			}
			failure, err := f.Try(underTest(n))
			if skip := (Skip{}); errors.As(err, &skip) {
				t.Skip(skip.Reason)
			} else if err != nil {
				t.Fatalf("harness: %v", err)
			}
			if failure != nil {
				failure.Fact = failure.Fact.At(n)
				if failure.Hung { // and may again, several times in one fact
					hung++
					patience = min(patience, 5*time.Second)
				}
				if failure.Left { // and will again: waiting for it was worth it once
					settling = 100 * time.Millisecond
				}
				t.Errorf("\n%v", failure)
			}
		})
	}
}

// mostHangs is after how many the rest is not tried: each costs all patience. One
// says nothing of the other facts.
const mostHangs = 3

// watched prepares a run for make watch. The function that it returns tells
// whether to go no further: since a fact failed, or because the other end of
// stdin, which this run was given for that, is closed.
func watched(t *testing.T) (stopped func() bool) {
	// Whoever waits in front of a program that hangs should not wait long.
	limit, err := time.ParseDuration(os.Getenv("PATIENCE"))
	require.NoError(t, err)
	patience = limit
	settling = time.Second
	var closed atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		closed.Store(true)
	}()
	// Of two machines each tries one fact at least: else which failure is told,
	// the first fact's or the second's, would be chance.
	return func() bool { return t.Failed() || closed.Load() && dealt > 1 }
}

// dealt counts the tests that tryHere has seen.
var dealt int

// tryHere is the first act of each test, or of each of its subtests. Where
// machines share the work (MACHINE=1/2) tests are dealt out like cards, in the
// order in which they come, and one that another machine tries is skipped. So
// is one that skips.txt lists for this sandbox. Each round goes the other way:
// of neighbours, which are often alike, the second is not always for the same.
func tryHere(t *testing.T) {
	machine, machines := 1, 1
	if share := os.Getenv("MACHINE"); share != "" {
		_, err := fmt.Sscanf(share, "%d/%d", &machine, &machines)
		require.NoError(t, err, "MACHINE=%s", share)
	}
	round, seat := dealt/machines, dealt%machines
	if round%2 == 1 {
		seat = machines - 1 - seat
	}
	dealt++
	if seat != machine-1 {
		t.Skip("elsewhere") // tally.end knows the word
	}
	if reason := skipReason(os.Getenv("SANDBOX_KIND"), t.Name()); reason != "" {
		t.Skip(reason)
	}
}

// try tries a fact, or skips the test of what cannot be tried on this machine.
func try(t *testing.T, f Fact, p Program) *Failure {
	failure, err := f.Try(p)
	if skip := (Skip{}); errors.As(err, &skip) {
		t.Skip(skip.Reason)
	}
	require.NoError(t, err)
	return failure
}

// subtest is the claim as go test shows it, "the_command_is_process_1".
func subtest(f Fact) string { return strings.ReplaceAll(f.Claim, " ", "_") }

// TestTheHarnessNotices is the negative control: each fact must fail where it
// says that it fails, in an earlier step or of a program that breaks it.
func TestTheHarnessNotices(t *testing.T) {
	for _, f := range Facts() {
		var programs []string
		for n, step := range Steps {
			if !f.HoldsAt(n) {
				programs = append(programs, step)
			}
		}
		for _, name := range f.Broken {
			programs = append(programs, "broken-"+name)
		}
		for _, name := range programs {
			t.Run(subtest(f)+"/"+name, func(t *testing.T) {
				tryHere(t)
				require.FileExists(t, ours(name).Path)
				defer shorten(time.Second)()
				failure := try(t, f, ours(name))
				require.NotNil(t, failure, "the fact holds of %s", name)
				t.Log(failure)
			})
		}
	}
}

// TestOneLayerIsEnough tries facts that two protections of step 07 make true, and
// those that do not need its user namespace, without one of them.
func TestOneLayerIsEnough(t *testing.T) {
	for _, f := range Facts() {
		for _, protections := range f.Despite {
			t.Run(subtest(f)+"/"+protections, func(t *testing.T) {
				tryHere(t)
				failure := try(t, f, ours("broken-without-"+protections))
				require.Nil(t, failure, "%v", failure)
			})
		}
	}
}

// TestEachProtectionIsMissed finds protections of step 07 that could be lost and
// no fact would fail: each name that --without knows must fail one, alone or
// together with the others that stop the same.
func TestEachProtectionIsMissed(t *testing.T) {
	tryHere(t)
	said, err := exec.Command(newest().Path, "run", "--without", "nothing", "true").CombinedOutput()
	require.Error(t, err)
	_, list, _ := strings.Cut(string(said), "there is none of that name: ")
	protections := strings.Fields(list)
	require.Greater(t, len(protections), 10, "%s", said)
	var missed []string
	for _, f := range Facts() {
		for _, name := range f.Broken {
			if without, ok := strings.CutPrefix(name, "without-"); ok {
				missed = append(missed, strings.Split(without, ",")...)
			}
		}
	}
	require.Subset(t, missed, protections)
}

// TestSilenceFailsEveryFact finds facts that hold of a program which does
// nothing at all: those would only look for what is not there.
func TestSilenceFailsEveryFact(t *testing.T) {
	tryHere(t)
	defer shorten(time.Second)()
	for _, f := range Facts() {
		failure, err := f.Try(ours("broken-prints-nothing"))
		require.NoError(t, err)
		require.NotNil(t, failure, f.Claim)
	}
}

// TestASpoiltMachineIsPutRight runs programs that do damage: each is noticed
// by the first facts, and afterwards the machine serves as before.
func TestASpoiltMachineIsPutRight(t *testing.T) {
	for _, name := range []string{"prints-nothing", "hangs", "fails-open", "leaves-mounts", "makes-private", "leaves-a-process", "unmounts-proc"} {
		t.Run(name, func(t *testing.T) {
			tryHere(t)
			defer shorten(time.Second)()
			noticed := false
			for _, f := range FactsAt(3) {
				failure, err := f.Try(ours("broken-" + name))
				require.NoError(t, err)
				if failure != nil {
					t.Log(failure)
					noticed = true
					break
				}
			}
			require.True(t, noticed, "no fact fails")
			failure, err := step02[0].Try(ours("02-pid"))
			require.NoError(t, err)
			require.Nil(t, failure)
		})
	}
}

// TestEveryFactCanFail finds facts for which no program is known to fail, and
// texts that are missing.
func TestEveryFactCanFail(t *testing.T) {
	tryHere(t)
	for _, f := range Facts() {
		if !strings.Contains(f.Holds, "-") {
			require.NotEmpty(t, f.Broken, f.Claim)
		}
		for _, text := range []string{f.Claim, f.Because, f.LookAt, f.Read} {
			require.NotEmpty(t, text, f.Claim)
		}
		for _, name := range f.Broken {
			require.FileExists(t, filepath.Join("/box/bin", "broken-"+name), f.Claim)
		}
	}
}

// TestTheCourse: whoever begins step n, from step n-1, is told so by the first
// fact, and what he is to write makes that fact true. So it goes from a dozen
// lines that isolate nothing to the last step.
func TestTheCourse(t *testing.T) {
	for n := 1; n <= hints.LastStep; n++ {
		t.Run(Steps[n], func(t *testing.T) {
			tryHere(t)
			facts := ForLearner(FactsAt(n), n, "")
			first := facts[slices.IndexFunc(facts, func(f Fact) bool {
				return skipReason(os.Getenv("SANDBOX_KIND"), fmt.Sprintf("TestStep%02d/%s", n, subtest(f))) == ""
			})]
			require.True(t, first.Adds(n), "step %d makes no fact true", n)
			for _, name := range []string{Steps[0], Steps[n-1]} {
				failure, err := first.Try(ours(name))
				require.NoError(t, err)
				require.NotNil(t, failure, "%q holds of %s", first.Claim, name)
			}
			failure, err := first.Try(ours(Steps[n]))
			require.NoError(t, err)
			require.Nil(t, failure)
		})
	}
}

// TestALearnersProgram: whoever wrote what we wrote is told that it holds. Some
// facts ask less of another's program than of ours. In the vm it is a tenth of
// them, see storm.
func TestALearnersProgram(t *testing.T) {
	name := Steps[hints.LastStep]
	learners := Program{Name: name, Path: "/box/own/copy-of-" + name}
	for i, f := range FactsAt(hints.LastStep) {
		if i%(10/storm(10)) != 0 {
			continue
		}
		t.Run(subtest(f), func(t *testing.T) {
			tryHere(t)
			if reason := skipReason(os.Getenv("SANDBOX_KIND"), fmt.Sprintf("TestStep%02d/%s", hints.LastStep, subtest(f))); reason != "" {
				return // nor can it be of our own
			}
			require.NoError(t, os.MkdirAll(filepath.Dir(learners.Path), 0o755))
			program, err := os.ReadFile(ours(name).Path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(learners.Path, program, 0o755))
			defer os.Remove(learners.Path)
			failure, err := f.Try(learners)
			if errors.As(err, new(Skip)) {
				return
			}
			require.NoError(t, err)
			if failure != nil {
				t.Errorf("\n%v", failure)
			}
		})
	}
}

// TestALearnersOrder: the fact that failed last, then those of the step.
func TestALearnersOrder(t *testing.T) {
	tryHere(t)
	facts := ForLearner(FactsAt(2), 2, "the exit status is the command's own")
	require.Len(t, facts, len(FactsAt(2)))
	require.Equal(t, "the exit status is the command's own", facts[0].Claim)
	require.Equal(t, "the command is process 1", facts[1].Claim)
	require.Equal(t, "its root is nobody on the host", ForLearner(FactsAt(5), 5, "")[0].Claim)
	require.Equal(t, step02[0].Claim, ForLearner(FactsAt(2), 2, "no fact at all")[0].Claim)
}

// TestAFailureIsReadable: no sequence for a terminal is in it, and no control
// character; and it points at the step that is tried, not at the first of all.
func TestAFailureIsReadable(t *testing.T) {
	tryHere(t)
	require.Equal(t, `bash-5.2#  | "a\x00b"`, oneLine([]string{"\x1b[?2004hbash-5.2# \r", "a\x00b"}))
	usage := Fact{Because: "of it", LookAt: "there", Ours: []string{"01-uts/main.go main", "02-pid/main.go main", "04-cgroup/main.go run"}}
	require.Contains(t, Failure{Fact: usage.At(1)}.String(), "main in steps/01-uts/main.go")
	require.Contains(t, Failure{Fact: usage.At(3)}.String(), "main in steps/02-pid/main.go")
	missing := Failure{Fact: usage, Refused: true, Saw: []string{"stderr: container: mount proc on /proc: no such file or directory"}}
	require.Contains(t, missing.String(), "all but empty")
	const trace = "panic: x\n\ngoroutine 1 [running]:\nmain.reexec(...)\n\t/home/you/work/pid.go:57 +0x1d\nmain.main()\n"
	for said, because := range map[string]string{
		"panic: x\n\ngoroutine 1": "the program itself failed",
		trace:                     "look at    pid.go:57, the first line",
		"fatal error: all goroutines are asleep - deadlock!\n": "the program itself failed",
		"probe: x": usage.Because,
	} {
		trial := &Trial{fact: usage, status: 2, stderr: said}
		func() {
			defer func() { require.Contains(t, recover().(*Failure).String(), because) }()
			trial.Expect("a", "b")
		}()
	}
}

// TestWhatHoldsStdoutIsNoHang: the program ends, what it leaves has its stdout, and
// whoever watches is less patient than the wait for that.
func TestWhatHoldsStdoutIsNoHang(t *testing.T) {
	tryHere(t)
	defer shorten(patience)()
	patience, settling = 500*time.Millisecond, time.Second
	f := step02[2] // what it leaves running dies with it
	f.Show = func(t *Trial) { t.Sh("sleep 6666 & :") }
	failure, err := f.Try(ours("01-uts"))
	require.NoError(t, err)
	require.NotNil(t, failure)
	require.True(t, failure.Left && !failure.Hung, "%v", failure)
}

// TestWhatOutlivesItsCommandIsBlamedOnWait: what the command said comes after
// what is wrong.
func TestWhatOutlivesItsCommandIsBlamedOnWait(t *testing.T) {
	tryHere(t)
	defer shorten(time.Second)()
	failure, err := step01[0].Try(ours("broken-hangs-after"))
	require.NoError(t, err)
	require.NotNil(t, failure)
	require.Regexp(t, "(?s)saw        still running after 1s .*does not end, though its command has run.*wait in steps/02-pid", failure.String())
}

// TestASignalThatEndsNothingIsBlamedOnSignals: the command ran, so nobody waits for
// the other half.
func TestASignalThatEndsNothingIsBlamedOnSignals(t *testing.T) {
	tryHere(t)
	defer shorten(time.Second)()
	for claim, place := range map[string]string{
		"TERM, HUP and QUIT end a command that does not handle them": "a signal of its own",
		"the command is process 1":                                   "each half",
	} {
		f := Facts()[slices.IndexFunc(Facts(), func(f Fact) bool { return f.Claim == claim })]
		program := map[bool]string{true: "broken-hangs", false: "broken-swallows-signals"}[f.Holds != ""]
		failure, err := f.Try(ours(program))
		require.NoError(t, err)
		require.NotNil(t, failure)
		require.True(t, failure.Hung)
		require.Contains(t, failure.String(), place)
	}
}

// TestAHiddenProcIsBlamedOnMounts: it is the field's most reported mistake, and
// all processes are gone from sight with it.
func TestAHiddenProcIsBlamedOnMounts(t *testing.T) {
	tryHere(t)
	defer shorten(time.Second)()
	failure, err := contract[0].Try(ours("broken-unmounts-proc"))
	require.NoError(t, err)
	require.NotNil(t, failure)
	require.Contains(t, failure.String(), "the propagation of the mounts")
}
