package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"containers-from-scratch/harness/probe"

	"github.com/stretchr/testify/require"
)

func TestTheLaunchersCgroupIsFoundInEachTree(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, current string
		want            []hierarchy
	}{
		"version 2": {
			"30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			"0::/user.slice/session-2.scope\n",
			[]hierarchy{{"/sys/fs/cgroup", "cgroup2", "", "/sys/fs/cgroup/user.slice/session-2.scope"}},
		},
		"hybrid": {
			"30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n" +
				"31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
				"32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				"33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"34 30 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" +
				"35 30 0:30 / /elsewhere rw - cgroup cgroup rw,cpuset\n",
			"3:cpuset:/\n2:cpu,cpuacct:/user.slice\n1:name=systemd:/a:b\n0::/c\n",
			[]hierarchy{
				{"/sys/fs/cgroup/unified", "cgroup2", "", "/sys/fs/cgroup/unified/c"},
				{"/sys/fs/cgroup/systemd", "cgroup", "none,name=systemd", "/sys/fs/cgroup/systemd/a:b"},
				{"/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/user.slice"},
				{"/sys/fs/cgroup/cpuset", "cgroup", "cpuset", "/sys/fs/cgroup/cpuset"},
			},
		},
		"in a container without a cgroup namespace": {
			"33 30 0:29 /docker/1f /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			"2:pids:/docker/1f/below\n",
			[]hierarchy{{"/sys/fs/cgroup/pids", "cgroup", "pids", "/sys/fs/cgroup/pids/below"}},
		},
	} {
		mounts, err := probe.ParseMounts(c.mounts)
		require.NoError(t, err)
		require.Equal(t, c.want, hierarchies(mounts, c.current), name)
	}
}

func TestVersion2MustHaveWhatNoOtherTreeHas(t *testing.T) {
	require.Equal(t, stepControllers, notInVersion1([]hierarchy{{Kind: "cgroup2"}}))
	require.Equal(t, []string{"memory", "pids"}, notInVersion1([]hierarchy{{Data: "cpu,cpuacct"}, {Data: "cpuset"}}))
}

// aHostBox returns a machine of the host sandbox and its cgroups' mode, or skips
// where there are none.
func aHostBox(t *testing.T) (Machine, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	m, err := host{}.Start(Spec{Self: self, Log: os.Stderr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	status, mode, err := sh(t, m, Job{}, "echo $SANDBOX_CGROUP")
	require.NoError(t, err)
	require.Zero(t, status)
	if mode == "none\n" {
		t.Skip("no cgroups can be made here")
	}
	return m, mode
}

func TestAHostBoxHasTheCgroupsOfThisMachineFromItsOwnOn(t *testing.T) {
	m, mode := aHostBox(t)
	require.Equal(t, cgroupKind()+"\n", mode)

	status, out, err := sh(t, m, Job{}, `while IFS=: read -r id names path; do
			case $id:$path in 0:/init|[1-9]*:/) ;; *) echo "$id $names $path" ;; esac
		done </proc/self/cgroup
		cd /sys/fs/cgroup; test -e cgroup.procs || cd memory; mkdir mine && test -e mine/cgroup.procs && echo made`)
	require.NoError(t, err)
	require.Equal(t, "made\n", out)
	require.Zero(t, status)
}

func TestAUserBoxShowsCgroupsReadOnly(t *testing.T) {
	_, out, err := sh(t, aBox(t), Job{}, `echo $SANDBOX_CGROUP
		cd /sys/fs/cgroup; test -e cgroup.procs || cd memory; mkdir mine 2>&1 || test ! -e mine && echo refused`)
	require.NoError(t, err)
	require.Contains(t, out, "none\n")
	require.Contains(t, out, "refused\n")
}

// TestAKilledLaunchersCgroupsAreRemovedByTheNext kills a launcher that has made
// cgroups, and others in them.
func TestAKilledLaunchersCgroupsAreRemovedByTheNext(t *testing.T) {
	if os.Getenv("LAUNCH") != "" {
		c, err := makeCgroups()
		require.NoError(t, err)
		defer c.remove() // it is killed first; but what nobody will use, the collector would close
		for _, dir := range c.directories() {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
		}
		fmt.Println(strings.Join(c.directories(), " "))
		time.Sleep(time.Hour)
		return
	}
	aHostBox(t)
	launcher := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	launcher.Env = append(os.Environ(), "LAUNCH=1")
	stdout, err := launcher.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, launcher.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	dirs := strings.Fields(line)
	require.NotEmpty(t, dirs)

	next := func() {
		c, err := makeCgroups()
		require.NoError(t, err)
		c.remove()
		for _, dir := range c.directories() {
			require.NoDirExists(t, dir)
		}
	}
	next()
	for _, dir := range dirs {
		require.DirExists(t, dir, "in use")
	}
	require.NoError(t, launcher.Process.Kill())
	_ = launcher.Wait() // it was killed
	next()
	for _, dir := range dirs {
		require.NoDirExists(t, dir)
	}
}
