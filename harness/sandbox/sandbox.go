// Package sandbox makes the throwaway machines in which the harness runs
// programs that change a machine: a virtual machine, a privileged container,
// or fresh namespaces on this one.
//
// A machine is small and the same everywhere: a shell and a few programs, /
// mounted shared as systemd mounts it, and nothing of the host's that a test
// could spoil. What is to run in it is a Job.
package sandbox

import (
	"fmt"
	"io"
	"os"
	"time"
)

// A Spec says what machine is wanted. The zero value is the default machine.
type Spec struct {
	Arch   string    // GOARCH of the machine; "" is this one's (vm only)
	Cgroup string    // "v2", "v1" or "hybrid"; "" is v2 (vm only)
	Kernel string    // a directory with boot/vmlinuz-* and lib/modules; "" is Debian's cloud kernel, fetched and cached (vm only)
	Accel  string    // "auto", "kvm" or "tcg"; "" is auto (vm only)
	CPUs   int       // 0 is one (vm only)
	Self   string    // the harness's own executable, static, for Arch: it is process 1 of every machine
	Log    io.Writer // takes lines that say what a long wait is for
}

// A Job is one program to run in a machine, as its root.
type Job struct {
	// Files are copied into the machine before the program starts: path in
	// the machine -> file or directory on the host, modes kept.
	Files map[string]string

	// Binds are directories of this machine that the machine shows, read-only,
	// in the place of its own. Machines that share no kernel with this one, or
	// are an engine's, refuse them.
	Binds []string

	Args []string // the program and its arguments; Args[0] is a path in the machine
	Dir  string   // working directory in the machine, made if it is not there
	Env  []string // the whole environment

	Stdin          *os.File // nil is /dev/null
	Stdout, Stderr io.Writer
	// TTY gives the program a terminal of its own, joined to Stdin, which is
	// one; Ctrl-C and changes of size reach the program.
	TTY bool

	Out     string        // host directory that receives what the job leaves in /out; "" drops it
	Timeout time.Duration // the job is killed after it; 0 is 10 minutes
}

// refuseBinds is for machines that cannot show this one's directories.
func (j Job) refuseBinds(place string) error {
	if len(j.Binds) > 0 {
		return fmt.Errorf("sandbox %s cannot show %s of this machine: SANDBOX=host can", place, j.Binds[0])
	}
	return nil
}

// A Machine runs jobs, one at a time.
type Machine interface {
	// Run runs job to its end and returns the program's exit status, 128+n
	// when signal n killed it. An error means that the machine itself failed
	// (a kernel panic, no room, the timeout), never the program.
	Run(job Job) (status int, err error)
	// Close ends the machine and everything in it.
	Close() error
}

// A Place is a way to make machines.
type Place interface {
	Name() string // as in SANDBOX=
	// Check tries the real thing, quickly, and says whether machines can be
	// made here. It never asks for a password.
	Check(Spec) Finding
	Start(Spec) (Machine, error)
}

// A Finding is what a Check found.
type Finding struct {
	OK     bool
	Reason string // one line; when OK, what will be used ("KVM", "podman with runc")
	Fix    string // the command that mends it, when not OK
}

// Places are all there are, the best first.
func Places() []Place { return places }
