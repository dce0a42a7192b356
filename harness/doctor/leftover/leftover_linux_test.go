package leftover

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyEmptyCgroupsOfRunsThatAreGoneAreLeftOver(t *testing.T) {
	memory, pids := t.TempDir(), t.TempDir()
	for dir, processes := range map[string]string{
		memory + "/container-12-ab12":       "",
		memory + "/container-12-ab12/inner": "",
		pids + "/container-12-ab12":         "",
		memory + "/container-13-0":          "1713\n", // a process is in it
		memory + "/container-14-0":          "",
		memory + "/container-14-0/inner":    "1714\n", // or below it
		memory + "/container-15-0":          "",       // the run lives
		memory + "/container-x-0":           "",       // other names
		memory + "/container-16":            "",
		memory + "/other/container-12-ab12": "",
	} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(dir+"/cgroup.procs", []byte(processes), 0o644))
	}
	require.NoError(t, os.Mkdir(memory+"/container-17-0", 0o755)) // no cgroup
	left := cgroups([]string{memory, pids}, func(pid int) bool { return pid == 15 })
	require.Equal(t, []string{
		memory + "/container-12-ab12/inner", memory + "/container-12-ab12", pids + "/container-12-ab12",
	}, left)
}

func TestANumberMayHaveAnotherOwnerByNow(t *testing.T) {
	require.False(t, runs(2000000000)) // above any pid_max
	require.False(t, runs(os.Getpid()))
	for arg, want := range map[string]bool{"run": true, "walk": false} {
		cmd := exec.Command("/bin/sh", "-c", "echo; read line", "program", arg)
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = stdout.Read(make([]byte, 1)) // Start returns before it has its arguments
		require.NoError(t, err)
		require.Equal(t, want, runs(cmd.Process.Pid), arg)
		require.NoError(t, stdin.Close())
		_ = cmd.Wait()
	}
}
