//go:build linux

package checks

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"containers-from-scratch/harness/hints"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newest is the program of the last step: it makes more than all others.
func newest() Program { return ours(Steps[len(Steps)-1]) }

// inStorms tries the last program that a learner writes, and the newest, to which
// most is left in the vm, where it takes its time.
func inStorms(t *testing.T, storm func(*testing.T, Program)) {
	for _, program := range []Program{ours(Steps[hints.LastStep]), newest()} {
		t.Run(program.Name, func(t *testing.T) { storm(t, program) })
	}
}

// TestAHundredInARow runs a hundred containers one after the other.
func TestAHundredInARow(t *testing.T) {
	inStorms(t, func(t *testing.T, program Program) {
		tryHere(t)
		for i := range storm(100) {
			cmd := exec.Command(program.Path, "run", "sh", "-c", "exit "+itoa(i))
			said, _ := cmd.CombinedOutput() // the status tells
			require.Equal(t, i, status(cmd.ProcessState), "%s", said)
		}
		require.Empty(t, pristine.changed())
	})
}

// TestFiftyAtOnce runs fifty containers side by side.
func TestFiftyAtOnce(t *testing.T) {
	inStorms(t, func(t *testing.T, program Program) {
		tryHere(t)
		var group sync.WaitGroup
		statuses := make([]int, storm(50))
		for i := range statuses {
			group.Go(func() {
				cmd := exec.Command(program.Path, "run", "sh", "-c", "exit "+itoa(i))
				_ = cmd.Run() // the status tells
				statuses[i] = status(cmd.ProcessState)
			})
		}
		group.Wait()
		for i, got := range statuses {
			require.Equal(t, i, got)
		}
		require.Empty(t, pristine.changed())
	})
}

// TestKilledAtRandomMoments sends a signal to the program at forty moments of
// its life, from before it has done anything until its command runs. Run by an
// ordinary user the program has one process more, and gets a quarter. After
// SIGKILL, which nothing can handle, one empty cgroup may stay of each run, on v1
// one in each hierarchy: a later run does not trip over it.
func TestKilledAtRandomMoments(t *testing.T) { inStorms(t, killAtRandomMoments) }

// killAtRandomMoments does that to one program.
func killAtRandomMoments(t *testing.T, program Program) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SEED=%d repeats the moments, as parts of a run's length", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	for _, user := range slices.Compact([]int{0, ordinary()}) {
		command := func(args ...string) *exec.Cmd {
			line := slices.Concat(as(user), []string{program.Path, "run"}, args)
			return exec.Command(line[0], line[1:]...)
		}
		start := time.Now()
		require.NoError(t, command("sh", "-c", ":").Run())
		life := time.Since(start)
		require.Empty(t, pristine.changed()) // its interface takes a while to go

		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			times := 40
			if user != 0 {
				times = 10
			}
			if sig != syscall.SIGKILL || program != newest() {
				times = storm(times)
			}
			t.Run(sig.String()+" to user "+itoa(user), func(t *testing.T) {
				tryHere(t)
				for range times {
					cmd := command("sleep", "999")
					require.NoError(t, cmd.Start())
					moment := time.Duration(random.Int64N(int64(life)))
					time.Sleep(moment)
					require.NoError(t, cmd.Process.Signal(sig))
					hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
					_ = cmd.Wait() // the status tells
					require.True(t, hung.Stop(), "still running %v after %v at %v", patience, sig, moment)
					require.Equal(t, 128+int(sig), status(cmd.ProcessState), "%v at %v", sig, moment)
				}
				if sig == syscall.SIGKILL {
					require.NoError(t, command("sh", "-c", ":").Run())
				}
				left := pristine.changed()
				if sig == syscall.SIGKILL {
					left = withoutEmptyCgroups(left, times)
				}
				require.Empty(t, left)
			})
		}
	}
}

// TestSignalsInterruptNothing sends SIGURG, which does nothing, all the time: what
// waits in the kernel ends with EINTR, see signal(7), and is to be done again.
func TestSignalsInterruptNothing(t *testing.T) {
	tryHere(t)
	for range storm(40) {
		var stderr bytes.Buffer
		cmd := exec.Command(newest().Path, "run", "true")
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		ended := make(chan error)
		go func() { ended <- cmd.Wait() }()
		for running := true; running; {
			select {
			case err := <-ended:
				require.NoError(t, err, stderr.String())
				running = false
			default:
				_ = cmd.Process.Signal(syscall.SIGURG)
			}
		}
	}
	require.Empty(t, pristine.changed())
}

// withoutEmptyCgroups leaves out of what was left behind, and removes, what the
// contract allows: at most so many cgroups in each hierarchy, with nobody in them.
func withoutEmptyCgroups(left []string, most int) []string {
	stayed := map[string]int{} // hierarchy -> cgroups
	return slices.DeleteFunc(left, func(line string) bool {
		dir, isCgroup := strings.CutPrefix(line, "+ cgroup ")
		stayed[filepath.Dir(dir)]++
		return isCgroup && strings.HasPrefix(filepath.Base(dir), "container-") &&
			stayed[filepath.Dir(dir)] <= most && unix.Rmdir(dir) == nil
	})
}
