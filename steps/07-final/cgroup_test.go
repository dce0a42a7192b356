//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// aCgroup is one that nobody else uses, not made yet; it is removed in the end.
// Only in a sandbox are the machine's cgroups the test's to change.
func aCgroup(t testing.TB, path string) cgroup {
	t.Helper()
	if os.Getenv("SANDBOX_KIND") == "" || os.Getenv("SANDBOX_CGROUP") == "none" {
		t.Skip("makes cgroups: go test -exec \"$PWD/.build/harness exec\" ./steps/07-final")
	}
	c, err := findCgroup(path, fmt.Sprintf("test-%d", os.Getpid()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.signal(unix.SIGKILL))
		require.NoError(t, c.remove())
		for _, dir := range c.directories() {
			require.NoDirExists(t, dir)
		}
	})
	return c
}

// A shell that runs in a cgroup, and does what it is told.
type shell struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// shellIn starts a shell in c.
func shellIn(t *testing.T, c cgroup) shell {
	t.Helper()
	s := shell{Cmd: exec.Command("sh")}
	in, err := s.StdinPipe()
	require.NoError(t, err)
	out, err := s.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.Start())
	t.Cleanup(func() {
		_ = s.Process.Kill() // it may have been killed already
		_ = s.Wait()
	})
	s.in, s.out = in, bufio.NewReader(out)
	addAll(t, c, s.Process.Pid)
	return s
}

// addAll puts a process into the cgroup, as only itself can do fast in v1.
func addAll(t testing.TB, c cgroup, pid int) {
	t.Helper()
	for _, dir := range c.directories() {
		if dir != c.Dirs[""] {
			require.NoError(t, writeCgroup(dir+"/cgroup.procs", strconv.Itoa(pid)))
		}
	}
	require.NoError(t, c.add(pid))
}

// run runs a line and returns what it says in a line.
func (s shell) run(t *testing.T, line string) string {
	t.Helper()
	_, err := io.WriteString(s.in, line+"\n")
	require.NoError(t, err)
	answer, err := s.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(answer)
}

// file returns what the file of a controller holds: v2's or v1's.
func (c cgroup) file(controller, v2, v1 string) string {
	if c.v2(controller) {
		return readCgroup(c.Dirs[controller] + "/" + v2)
	}
	return readCgroup(c.Dirs[controller] + "/" + v1)
}

func TestAPathLeadsNowhereElse(t *testing.T) {
	for _, path := range []string{"/..", "..", "a/../../b", "/a/..", "/", ".", "//", "/./", "system.slice:docker:abc", "::"} {
		_, err := findCgroup(path, "id")
		require.Error(t, err, path)
	}
	for path, want := range map[string]string{
		"": "/container-id", "/docker/1f": "/docker/1f", "a/b": "/a/b", "/a/./b//": "/a/b", "..a": "/..a", "/a:b": "/a:b",
	} {
		c, err := findCgroup(path, "id")
		if err == nil || len(c.Dirs) > 0 { // else there are no cgroups here
			require.NoError(t, err, path)
		}
		require.Equal(t, want, c.Path)
		for _, dir := range c.Dirs {
			require.True(t, strings.HasSuffix(dir, want), dir)
		}
	}
}

func TestTheDirectoryOfVersion2IsFirst(t *testing.T) {
	c := cgroup{"/x", map[string]string{"": "/u/x", "hugetlb": "/u/x", "cpu": "/c,a/x", "cpuacct": "/c,a/x", "name=systemd": "/s/x"}}
	require.Equal(t, []string{"/u/x", "/s/x", "/c,a/x"}, c.directories())
	require.True(t, c.v2("hugetlb"))
	require.False(t, c.v2("cpu"))
	require.False(t, c.v2("memory"))
}

func TestACgroupLives(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(defaultSpec(nil).Linux.Resources))
	require.Equal(t, "67108864", c.file("memory", "memory.max", "memory.limit_in_bytes"))
	require.Equal(t, "max", c.file("pids", "pids.max", "pids.max"), "until init sets it")
	require.Contains(t, c.file("cpu", "cpu.max", "cpu.cfs_quota_us"), "50000")
	require.Contains(t, []string{"0", "67108864", ""}, c.file("memory", "memory.swap.max", "memory.memsw.limit_in_bytes"))

	s := shellIn(t, c)
	require.Equal(t, "hello", s.run(t, "echo hello"))
	files, err := c.join(s.Process.Pid)
	require.NoError(t, err)
	init := &initHalf{initConfig: initConfig{Processes: new(int64(64))}, pidsMax: int(files[len(files)-1].Fd())}
	require.NoError(t, init.limitProcesses())
	require.Equal(t, "64", c.file("pids", "pids.max", "pids.max"))
	if !c.v2("memory") { // there it would be killed
		// What it had before it joined is not counted here.
		require.Equal(t, "200000", s.run(t, "x=$(printf %200000s); echo ${#x}"))
		require.ErrorContains(t, c.update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(4096))}}), "in use")
	}
	pids, err := c.processes()
	require.NoError(t, err)
	require.Equal(t, []int{s.Process.Pid}, pids)
	for _, dir := range c.directories() {
		require.Equal(t, fmt.Sprint(s.Process.Pid), readCgroup(dir+"/cgroup.procs"), dir)
	}
	require.ErrorContains(t, c.create(nil), "another container's", "in use")

	text, err := json.Marshal(c)
	require.NoError(t, err)
	var stored cgroup
	require.NoError(t, json.Unmarshal(text, &stored))
	require.Empty(t, cmp.Diff(c, stored))

	require.NoError(t, c.signal(unix.SIGKILL))
	require.NoError(t, c.remove())
	require.NoError(t, c.remove(), "twice")
	require.NoError(t, c.signal(unix.SIGKILL), "of none")
	pids, err = c.processes()
	require.NoError(t, err)
	require.Empty(t, pids)
}

func TestACgroupThatIsThereIsAnothers(t *testing.T) {
	c := aCgroup(t, fmt.Sprintf("/taken-%d/over", os.Getpid()))
	t.Cleanup(func() {
		for _, dir := range c.directories() {
			_ = os.Remove(filepath.Dir(dir)) // what is left is found by the sandbox
		}
	})
	require.NoError(t, c.create(defaultSpec(nil).Linux.Resources))
	require.ErrorIs(t, c.create(nil), os.ErrExist)
	require.Equal(t, "67108864", c.file("memory", "memory.max", "memory.limit_in_bytes"), "it is as it was")
	c.removeEmpty() // what is done when a runtime was killed right after create
	for _, dir := range c.directories() {
		require.NoDirExists(t, dir)
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	c := aCgroup(t, "")
	r := defaultSpec(nil).Linux.Resources
	r.Unified = map[string]string{"no.file": "1"}
	require.Error(t, c.create(r))
	for _, dir := range c.directories() {
		require.NoDirExists(t, dir)
	}
}

func TestAFrozenProcessStandsStill(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	s := shellIn(t, c)
	require.Equal(t, "1", s.run(t, "echo 1"))
	require.False(t, c.frozen())

	require.NoError(t, c.freeze(true))
	require.True(t, c.frozen())
	answer := make(chan string)
	go func() { answer <- s.run(t, "echo 2") }()
	select {
	case a := <-answer:
		t.Fatal("it answers: " + a)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, c.freeze(false))
	require.Equal(t, "2", <-answer)

	require.NoError(t, c.freeze(true), "a paused one can be killed")
	require.NoError(t, c.signal(unix.SIGKILL))
	require.NoError(t, c.remove())
}

func TestASignalReachesAllAlsoThoseBelow(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	a, b := shellIn(t, c), shellIn(t, c)
	for _, dir := range c.directories() {
		below := dir + "/deep/er"
		require.NoError(t, os.MkdirAll(below, 0o755))
		if dir == c.Dirs["cpuset"] && !c.v2("cpuset") {
			require.NoError(t, inheritCPUSet(dir, dir+"/deep"))
			require.NoError(t, inheritCPUSet(dir, below))
		}
		require.NoError(t, writeCgroup(below+"/cgroup.procs", fmt.Sprint(b.Process.Pid)))
	}
	pids, err := c.processes()
	require.NoError(t, err)
	require.ElementsMatch(t, []int{a.Process.Pid, b.Process.Pid}, pids)
	for _, s := range []shell{a, b} {
		require.Equal(t, "ready", s.run(t, "trap 'echo term' TERM; echo ready"))
	}
	require.NoError(t, c.signal(unix.SIGTERM))
	for _, s := range []shell{a, b} {
		require.Equal(t, "term", s.run(t, ":"))
	}
	require.NoError(t, c.signal(unix.SIGKILL))
	require.NoError(t, c.remove()) // nobody has waited for them
}

func TestANestOfCgroupsIsRemoved(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	at, err := unix.Open(c.directories()[0], unix.O_PATH, 0)
	require.NoError(t, err)
	name := strings.Repeat("n", 200)
	for range 40 { // 8,000 bytes: no path could be so long
		require.NoError(t, unix.Mkdirat(at, name, 0o755))
		below, err := unix.Openat(at, name, unix.O_PATH, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(at))
		at = below
	}
	require.NoError(t, unix.Close(at))
	require.NoError(t, c.remove())
}

func TestExecJoinsAContainerThatSharesItsCgroupOut(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	dir := c.Dirs["pids"]
	below := dir + "/init"
	require.NoError(t, os.Mkdir(below, 0o755))
	s := shellIn(t, c)
	require.NoError(t, writeCgroup(below+"/cgroup.procs", fmt.Sprint(s.Process.Pid)))
	if !c.v2("pids") { // v1 has no rule against processes above others
		shellIn(t, c)
		require.Len(t, strings.Fields(readCgroup(dir+"/cgroup.procs")), 1)
		return
	}
	require.NoError(t, writeCgroup(dir+"/cgroup.subtree_control", "+pids"))
	shellIn(t, c)
	require.Len(t, strings.Fields(readCgroup(below+"/cgroup.procs")), 2)
}

func TestLimitsGoUpAndDown(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(defaultSpec(nil).Linux.Resources))
	require.NoError(t, c.update(&specs.LinuxResources{Pids: defaultSpec(nil).Linux.Resources.Pids}))
	swapCounts := c.file("memory", "memory.swap.max", "memory.memsw.limit_in_bytes") != ""
	for _, step := range []struct{ memory, swap int64 }{
		{256 << 20, 512 << 20}, {32 << 20, 64 << 20}, {1 << 30, 1 << 30}, {-1, -1}, {16 << 20, 16 << 20}, {-1, 0}, {64 << 20, 0},
	} {
		r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &step.memory}}
		if swapCounts {
			r.Memory.Swap = &step.swap
		}
		require.NoError(t, c.update(r), step)
		if step.memory > 0 {
			require.Equal(t, fmt.Sprint(step.memory), c.file("memory", "memory.max", "memory.limit_in_bytes"))
		}
		if want := step.swap; swapCounts && want > 0 {
			if c.v2("memory") {
				want -= step.memory
			}
			require.Equal(t, fmt.Sprint(want), c.file("memory", "memory.swap.max", "memory.memsw.limit_in_bytes"))
		}
		require.Equal(t, "64", c.file("pids", "pids.max", "pids.max"), "it was not given")
		require.Contains(t, c.file("cpu", "cpu.max", "cpu.cfs_quota_us"), "50000")
	}
	period := uint64(50000)
	require.NoError(t, c.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Period: &period}}))
	require.Contains(t, []string{"50000 50000", "50000"}, c.file("cpu", "cpu.max", "cpu.cfs_quota_us"))
	require.Contains(t, []string{"50000 50000", "50000"}, c.file("cpu", "cpu.max", "cpu.cfs_period_us"))
	quota, burst, unlimited := int64(20000), uint64(10000), int64(-1)
	require.NoError(t, c.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Burst: &burst}}))
	require.Equal(t, "10000", c.file("cpu", "cpu.max.burst", "cpu.cfs_burst_us"))
	quota, burst = 5000, 2000
	require.NoError(t, c.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Burst: &burst}}), "both below the old burst")
	require.NoError(t, c.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &unlimited}, Pids: &specs.LinuxPids{Limit: &unlimited}}))
	require.Contains(t, []string{"max 50000", "-1"}, c.file("cpu", "cpu.max", "cpu.cfs_quota_us"))
	require.Equal(t, "max", c.file("pids", "pids.max", "pids.max"))
}

func TestWhatTheHostLacksIsAnError(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	for _, r := range []string{
		`{"rdma": {"nothing_0": {"hcaHandles": 3}}}`,
		`{"unified": {"nothing.max": "1"}}`,
		`{"unified": {"../cgroup.procs": "1"}}`,
		`{"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}`,
		`{"hugepageLimits": [{"pageSize": "/../../2MB", "limit": 1}]}`,
		`{"network": {"priorities": [{"name": "nothing", "priority": 1}]}}`,
		`{"cpu": {"cpus": "4000"}}`,
		`{"memory": {"swappiness": 201}}`,
		`{"blockIO": {"leafWeight": 10}}`,
	} {
		var resources specs.LinuxResources
		require.NoError(t, json.Unmarshal([]byte(r), &resources))
		require.Error(t, c.update(&resources), r)
	}
}

// TestDevicesAreAsTheRulesSay lets a shell open devices, in each way, and make
// a node. That of the kernel's log is no default, and harmless.
func TestDevicesAreAsTheRulesSay(t *testing.T) {
	dir := t.TempDir() // where the sandbox lets nodes be opened
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	require.NoError(t, unix.Mknod(dir+"/kmsg", unix.S_IFCHR|0o600, 1<<8|11))
	try := strings.ReplaceAll(`for d in null zero full random urandom; do ( : <>/dev/$d ) 2>/dev/null && printf '%s ' $d; done
		mknod DIR/node c 1 11 && printf 'mknod '; rm -f DIR/node
		( : <DIR/kmsg ) 2>/dev/null && printf 'read '; ( : >DIR/kmsg ) 2>/dev/null && printf 'write '; ( : <>DIR/kmsg ) 2>/dev/null && printf 'both '; echo .`, "DIR", dir)

	const defaults = "null zero full random urandom mknod "
	for i, step := range []struct{ rules, want string }{
		{`[]`, defaults + "."},
		{`[{"allow": true, "access": "rwm"}]`, defaults + "read write both ."},
		{`[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]`, defaults + "read ."},
		{`[{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]`, defaults + "write ."},
		{`[{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]`, defaults + "read write both ."},
		{`[{"allow": true}, {"allow": false, "type": "c", "major": 1, "minor": 11}]`, "null zero full random urandom ."},
		{`[{"allow": true}, {"allow": false, "type": "c", "major": 1, "minor": 7, "access": "w"}]`, "null zero random urandom mknod read write both ."},
		{`[{"allow": false}]`, defaults + "."},
	} {
		var rules []specs.LinuxDeviceCgroup
		require.NoError(t, json.Unmarshal([]byte(step.rules), &rules))
		c := aCgroup(t, fmt.Sprintf("test-%d-%d", os.Getpid(), i))
		require.NoError(t, c.create(&specs.LinuxResources{Devices: rules}), step.rules)
		require.Equal(t, step.want, shellIn(t, c).run(t, try), step.rules)
	}
}

// TestTheListOfDevicesBeginsAsConfigured is what the OCI's validation compares.
func TestTheListOfDevicesBeginsAsConfigured(t *testing.T) {
	c := aCgroup(t, "")
	var r specs.LinuxResources
	require.NoError(t, json.Unmarshal([]byte(`{"devices": [{"allow": false, "access": "rwm"},
		{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "minor": 20, "access": "rw"},
		{"allow": true, "type": "b", "major": 10, "minor": 200, "access": "r"}]}`), &r))
	require.NoError(t, c.create(&r))
	if c.v2("devices") || c.Dirs["devices"] == "" { // there it is a program
		return
	}
	list := readCgroup(c.Dirs["devices"] + "/devices.list")
	require.True(t, strings.HasPrefix(list, "c 10:229 rwm\nb 8:20 rw\nb 10:200 r\n"), list)
}

// TestTheMountsShowTheContainersCgroup mounts them one after the other.
func TestTheMountsShowTheContainersCgroup(t *testing.T) {
	c := aCgroup(t, "")
	require.NoError(t, c.create(nil))
	s := shellIn(t, c)
	dir := t.TempDir()
	mounts, err := cgroupMounts(specs.Mount{Destination: dir, Type: "cgroup", Options: []string{"ro"}}, c, false)
	require.NoError(t, err)
	for _, m := range mounts {
		if slices.Contains(m.Options, "remount") {
			require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
			continue
		}
		require.NoError(t, os.MkdirAll(m.Destination, 0o755))
		flags := uintptr(0)
		if slices.Contains(m.Options, "bind") {
			flags = unix.MS_BIND
		}
		require.NoError(t, unix.Mount(m.Source, m.Destination, m.Type, flags, ""), m)
		t.Cleanup(func() { require.NoError(t, unix.Unmount(m.Destination, unix.MNT_DETACH)) })
		if m.Type == "bind" {
			require.Equal(t, fmt.Sprint(s.Process.Pid), readCgroup(m.Destination+"/cgroup.procs"), m)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	c := aCgroup(b, "")
	r := dockerResources(b)
	for b.Loop() {
		require.NoError(b, c.create(r))
		b.StopTimer()
		require.NoError(b, c.remove())
		b.StartTimer()
	}
}

func BenchmarkFind(b *testing.B) {
	for b.Loop() {
		_, err := findCgroup("/docker/1f", "id")
		require.NoError(b, err)
	}
}

func BenchmarkLife(b *testing.B) {
	c := aCgroup(b, "")
	r := dockerResources(b)
	for b.Loop() {
		require.NoError(b, c.create(r))
		sleeper := exec.Command("sleep", "100")
		require.NoError(b, sleeper.Start())
		addAll(b, c, sleeper.Process.Pid)
		require.NoError(b, sleeper.Process.Kill())
		require.Error(b, sleeper.Wait())
		require.NoError(b, c.remove())
	}
}
