//go:build linux

package checks

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Fact is one sentence about a container, and how to see that it is true.
type Fact struct {
	Claim string // in the present tense: "the command is process 1"

	// Holds tells for each step, from 00, whether the fact holds there (+) or
	// fails (-), as measured; its last mark goes for all later steps. Empty, it
	// is a fact of the contract and holds in every step.
	Holds string
	// Broken names the broken programs (testdata/broken) that fail a fact of
	// the contract: without one it would not be known that the fact can fail.
	// without-user,masks is step 07 without these protections.
	Broken []string
	// Despite lists protections without which the fact still holds at step 07,
	// since others stop the same: so that one layer does not hide another's loss.
	Despite []string

	Because string   // the rule of the kernel, or of the contract, behind it
	LookAt  string   // the place to look at in anybody's program
	Ours    []string // that place in ours: "02-pid/pid.go wait"
	Read    string   // the manual pages

	// Show tries it: it runs the program and compares. It stops at the first
	// difference, which makes the fact false.
	Show func(t *Trial)
}

// HoldsAt tells whether the fact is true of step n.
func (f Fact) HoldsAt(n int) bool {
	return f.Holds == "" || f.Holds[min(n, len(f.Holds)-1)] == '+'
}

// A Failure is what a false fact looks like.
type Failure struct {
	Fact          Fact
	Ran           string // a command to paste
	Expected, Saw []string
	Hung          bool   // the program had to be killed
	Reached       bool   // the command had been seen to run by then
	Left          bool   // the program left something behind
	Refused       bool   // the program failed by itself, and said why, or panicked
	Died          string // where, "pid.go:57", if it panicked in its own code
}

// String tells a failure in six short lines.
func (f Failure) String() string {
	cause := f.cause()
	if cause.Ours != "" {
		file, symbol, _ := strings.Cut(cause.Ours, " ")
		cause.LookAt += fmt.Sprintf(" (ours: %s in steps/%s)", symbol, file)
	}
	return fmt.Sprintf("I ran      %s\nexpected   %s\nsaw        %s\nbecause    %s\nlook at    %s\nread       %s",
		f.Ran, oneLine(f.Expected), oneLine(f.Saw), cause.Because, cause.LookAt, cause.Read)
}

// A cause is what a failure says of its reason.
type cause struct{ Because, LookAt, Ours, Read string }

// missesDirectory is how a program refuses that mounts on what is not there.
var missesDirectory = regexp.MustCompile("container: .*mount.*: no such file or directory")

// cause is the fact's own, unless the program failed by itself.
func (f Failure) cause() cause {
	switch own := (cause{f.Fact.Because, f.Fact.LookAt, "", f.Fact.Read}); {
	case f.Refused && missesDirectory.MatchString(strings.Join(f.Saw, " ")):
		return cause{"a root filesystem may be all but empty: what is mounted, and what it is mounted on, has to be there",
			"what is made before each mount", "03-mount/mount.go mountFilesystems", "mount(2), mkdir(2)"}
	case f.Died != "":
		return cause{"the program itself panicked: a slip in Go, not in what it isolates",
			f.Died + ", the first line of its own in the trace", "", "the trace: run the same in make shell"}
	case f.Refused:
		return cause{"the program itself failed, and this is what it says",
			"the act that it names, and what must be done before it", "", "the manual page of that act"}
	case f.Hung && !f.Reached && len(f.Saw) == 1:
		return cause{"the command does not run, or does not end, and nothing is said",
			"what each half of the program waits for", "02-pid/pid.go awaitRelease", "pipe(7), wait(2)"}
	case f.Hung && !f.Reached && strings.HasPrefix(f.Saw[0], "still running"):
		return cause{"the program itself does not end, though its command has run",
			"what the outer half waits for", "02-pid/pid.go wait", "wait(2), pipe(7)"}
	case f.Left:
		for _, kind := range leftBehind {
			if strings.Contains(f.Saw[0], kind.what) {
				return kind.cause
			}
		}
		return own
	default:
		if len(f.Fact.Ours) > 0 {
			own.Ours = f.Fact.Ours[0]
		}
		return own
	}
}

// leftBehind are the reasons for what a program leaves on the host.
var leftBehind = []struct {
	what string
	cause
}{
	{"/proc/sys/kernel/hostname", cause{"without a UTS namespace of its own, sethostname(2) names the host",
		"where the UTS namespace is made, and on which thread", "01-uts/main.go run", "uts_namespaces(7)"}},
	{" process ", cause{"what a program starts lives on when it ends, unless the kernel is told",
		"the parent death signal, and what the program waits for", "02-pid/pid.go reexec", "PR_SET_PDEATHSIG(2const), wait(2)"}},
	{" mount ", cause{"with a shared /, or without a mount namespace, each mount and unmount also happens on the host",
		"the propagation of the mounts", "03-mount/mount.go makeMountsPrivate", "mount_namespaces(7)"}},
	{" interface ", cause{"an interface goes with its network namespace, or with the other end of its cable; others stay",
		"in which network namespace each interface is made", "06-net/net.go connect", "veth(4), network_namespaces(7)"}},
	{" firewall ", cause{"the rules of a firewall are whose machine it is, and what one adds changes what the others let through",
		"what is done for packets to pass", "06-net/net.go connect", "nft(8), iptables(8)"}},
	{" setting /proc/sys/net", cause{"a setting of the host's network goes for all that it has, long after the container",
		"what is done for packets to pass", "06-net/net.go connect", "the kernel's ip-sysctl.rst"}},
	{" cgroup ", cause{"a cgroup is a directory: it stays until somebody removes it, and those below it first",
		"what is done after the end of the command, also of one that failed", "04-cgroup/cgroup.go remove", "cgroups(7)"}},
	{" file ", cause{"what a program makes on the host is its own to remove",
		"where the root is changed, and what is made before", "03-mount/mount.go mountRootfs", "pivot_root(2)"}},
}

// oneLine shows at most five values, and how many there are.
func oneLine(values []string) string {
	if len(values) == 0 {
		return "nothing"
	}
	shown := slices.Clone(values[:min(5, len(values))])
	for i, v := range shown {
		shown[i] = printable(v)
	}
	if more := len(values) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("… and %d more", more))
	}
	return strings.Join(shown, " | ")
}

// sequences are what a shell sends to its terminal beside text: colours, modes,
// the carriage return at the end of a line.
var sequences = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\r+$")

// printable cuts a long value, leaves out what only a terminal understands, and
// shows other control characters as Go writes them, so that no program under test
// writes to the terminal through a failure.
func printable(s string) string {
	s = sequences.ReplaceAllString(s, "")
	if runes := []rune(s); len(runes) > 120 {
		s = string(runes[:120]) + "…"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(s) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// A HarnessError says that the harness could not do its part: nothing follows
// from it about the program.
type HarnessError struct{ error }

// A Skip says why a fact cannot be tried on this machine, or not all of it.
type Skip struct{ Reason string }

// Error is the reason.
func (s Skip) Error() string { return s.Reason }

// Try shows the fact of a program. It returns nil when the fact holds; an
// error when it could not be tried.
func (f Fact) Try(p Program) (failure *Failure, err error) {
	if spoilt != nil {
		return nil, HarnessError{spoilt}
	}
	t := &Trial{Program: p, fact: f, seen: pristine}
	defer func() {
		t.cleanUp()
		switch stop := recover().(type) {
		case nil:
		case *Failure:
			failure = stop
		case HarnessError:
			err = stop
		case Skip:
			if failure = t.left(); failure == nil {
				err = stop
			}
		default:
			panic(stop)
		}
	}()
	f.Show(t)
	return t.left(), nil
}
