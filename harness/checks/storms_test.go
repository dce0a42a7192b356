//go:build linux

package checks

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newest is the program of the last step: it makes more than all others.
func newest() Program { return ours(Steps[len(Steps)-1]) }

// TestFiftyAtOnce runs fifty containers side by side.
func TestFiftyAtOnce(t *testing.T) {
	tryHere(t)
	before := observeHost()
	var group sync.WaitGroup
	statuses := make([]int, 50)
	for i := range statuses {
		group.Go(func() {
			cmd := exec.Command(newest().Path, "run", "sh", "-c", "exit "+itoa(i))
			_ = cmd.Run() // the status tells
			statuses[i] = status(cmd.ProcessState)
		})
	}
	group.Wait()
	for i, got := range statuses {
		require.Equal(t, i, got)
	}
	require.Empty(t, before.changed())
}

// TestKilledAtRandomMoments sends a signal to the program at forty moments of
// its life, from before it has done anything until its command runs. Run by an
// ordinary user the program has one process more, and gets ten.
func TestKilledAtRandomMoments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SEED=%d repeats it", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	before := observeHost()
	moments := map[int]int{ordinary(): 10}
	moments[0] = 40
	for user, n := range moments {
		words := slices.Concat(as(user), []string{newest().Path, "run"})
		command := func(name string, args ...string) *exec.Cmd {
			line := slices.Concat(words, []string{name}, args)
			return exec.Command(line[0], line[1:]...)
		}
		start := time.Now()
		require.NoError(t, command("sh", "-c", ":").Run())
		life := time.Since(start)

		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(sig.String()+" to user "+itoa(user), func(t *testing.T) {
				for range n {
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
				left := before.changed()
				if sig == syscall.SIGKILL { // which may leave a cgroup, with nobody in it
					left = slices.DeleteFunc(left, func(line string) bool {
						dir, isCgroup := strings.CutPrefix(line, "+ cgroup ")
						return isCgroup && unix.Rmdir(dir) == nil
					})
				}
				require.Empty(t, left)
			})
		}
	}
}
