//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// newTestState makes the state of a container whose process is pid.
func newTestState(t *testing.T, root, id string, pid int) *state {
	s, err := newState(root, id)
	require.NoError(t, err)
	s.Pid, s.Status = pid, specs.StateCreated
	s.StartTime, _ = startTime(pid)
	require.NoError(t, s.save())
	require.NoError(t, s.lock.Close())
	return s
}

func TestAnIDIsAFileName(t *testing.T) {
	for _, id := range []string{"a", "A.b-c_d+9", "..a", strings.Repeat("x", 200)} {
		require.NoError(t, checkID(id), id)
	}
	for _, id := range []string{"", ".", "..", "a/b", "../a", "a b", "a\nb", "\x1b[2J", "é", "a\x00", strings.Repeat("x", 1025)} {
		require.Error(t, checkID(id), "%q", id)
		_, err := newState(t.TempDir(), id)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "\x1b")
	}
}

func TestOfManyWhoCreateAnIDOneSucceeds(t *testing.T) {
	root := t.TempDir()
	var made, refused int
	var lock sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := newState(root, "same")
			lock.Lock()
			defer lock.Unlock()
			if err == nil {
				made++
			} else if strings.Contains(err.Error(), "exists") {
				refused++
			}
		})
	}
	all.Wait()
	require.Equal(t, [2]int{1, 7}, [2]int{made, refused})
}

func TestStatusFollowsTheProcess(t *testing.T) {
	root := t.TempDir()
	sleep := exec.Command("sleep", "60")
	require.NoError(t, sleep.Start())
	newTestState(t, root, "c", sleep.Process.Pid)
	start := filepath.Join(root, "c", startFile)
	require.NoError(t, os.WriteFile(start, nil, 0o600))

	s, err := loadState(root, "c")
	require.NoError(t, err)
	require.Equal(t, specs.StateCreated, s.Status)
	require.NoError(t, os.Remove(start))
	s, err = loadState(root, "c")
	require.NoError(t, err)
	require.Equal(t, specs.StateRunning, s.Status)
	require.NoError(t, s.signal(0))

	require.NoError(t, sleep.Process.Kill())
	_ = sleep.Wait()
	s, err = loadState(root, "c")
	require.NoError(t, err)
	require.Equal(t, specs.StateStopped, s.Status)
	require.Zero(t, s.Pid)
}

func TestALaterProcessOfThatNumberIsNotTheContainer(t *testing.T) {
	root := t.TempDir()
	s := newTestState(t, root, "c", os.Getpid())
	s.StartTime++
	require.NoError(t, s.save())
	require.ErrorIs(t, s.signal(0), errNotRunning)
	s, err := loadState(root, "c")
	require.NoError(t, err)
	require.Equal(t, specs.StateStopped, s.Status)
}

func TestABrokenStateIsListedAndCanBeDeleted(t *testing.T) {
	root := t.TempDir()
	newTestState(t, root, "c", os.Getpid())
	require.NoError(t, os.WriteFile(filepath.Join(root, "c", stateFile), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "c", configFile), []byte("{}"), 0o600))
	s, err := loadState(root, "c")
	require.Error(t, err)
	require.Equal(t, specs.ContainerState("broken"), s.Status)
	require.Error(t, remove(root, "c", false))
	require.NoError(t, remove(root, "c", true))
	require.NoDirExists(t, filepath.Join(root, "c"))
}

func TestWhatIsMissing(t *testing.T) {
	root := t.TempDir()
	for _, err := range []error{remove(root, "c", false), start(root, "c"), pause(root, "c", true), kill(root, "c", 9, false)} {
		require.ErrorIs(t, err, errMissing)
		require.Contains(t, err.Error(), "container does not exist")
	}
	require.NoError(t, remove(root, "c", true), "as engines expect")
}

func TestOnlyAFileThatIsWholeIsAState(t *testing.T) {
	root := t.TempDir()
	s := newTestState(t, root, "c", os.Getpid())
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
	info, err := os.Stat(s.dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestTheStartTimeIsReadBehindAnyName(t *testing.T) {
	_, err := startTime(1 << 30)
	require.True(t, errors.Is(err, os.ErrNotExist))
	mine, err := startTime(os.Getpid())
	require.NoError(t, err)
	require.NotZero(t, mine)
}
