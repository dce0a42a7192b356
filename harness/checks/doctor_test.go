//go:build linux

package checks

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"containers-from-scratch/harness/doctor/leftover"
	"containers-from-scratch/harness/probe"

	"github.com/stretchr/testify/require"
)

// TestTheDoctorNamesWhatAKilledRunLeaves kills step 04, which then cannot
// remove its cgroup, and does what make doctor says.
func TestTheDoctorNamesWhatAKilledRunLeaves(t *testing.T) {
	tryHere(t)
	before := cgroupsNamed("container-*") // the tree may be a whole machine's
	trial := &Trial{Program: ours(Steps[4])}
	defer trial.cleanUp()
	run := trial.Start("sleep", "5858")
	run.Command("sleep 5858")
	made := slices.DeleteFunc(cgroupsNamed(fmt.Sprintf("container-%d-*", run.cmd.Process.Pid)), func(dir string) bool {
		return slices.Contains(before, dir)
	})
	named := func() []string {
		return slices.DeleteFunc(leftover.Cgroups(), func(dir string) bool { return !slices.Contains(made, dir) })
	}
	require.NotEmpty(t, made)
	require.Empty(t, named(), "they have processes")

	run.Signal(syscall.SIGKILL)
	<-run.ended
	_, err := waitFor(named, func(dirs []string) bool { return len(dirs) == len(made) }, nil)
	require.NoError(t, err, "the kernel has killed the container, and %q are not named", made)
	out, err := exec.Command("sh", "-c", "rmdir "+strings.Join(named(), " ")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, dir := range made {
		require.NoDirExists(t, dir)
	}
}

// TestTheDoctorNamesTheBridge finds the bridge of step 06, which the program may
// leave: not while a container is plugged in.
func TestTheDoctorNamesTheBridge(t *testing.T) {
	tryHere(t)
	trial := &Trial{Program: ours(Steps[6])}
	defer trial.cleanUp()
	run := trial.Start("sleep", "5959")
	run.Command("sleep 5959")
	require.False(t, leftover.Bridge())
	run.Signal(syscall.SIGTERM)
	run.Wait()
	require.True(t, leftover.Bridge())
}

// cgroupsNamed lists the cgroups at the top of each tree whose names match.
func cgroupsNamed(pattern string) (list []string) {
	mounts, _ := probe.Mounts()
	for _, h := range probe.Hierarchies(mounts) {
		dirs, _ := filepath.Glob(filepath.Join(h.Root, pattern))
		list = append(list, dirs...)
	}
	return list
}
