//go:build linux

package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dockerRules are those of docker and podman for a container without
// privileges.
const dockerRules = `[{"allow": false, "access": "rwm"},
	{"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
	{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
	{"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
	{"allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
	{"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
	{"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
	{"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]`

// dockerResources are what docker gives by default, with limits.
func dockerResources(t testing.TB) *specs.LinuxResources {
	var r specs.LinuxResources
	require.NoError(t, json.Unmarshal([]byte(`{"devices": `+dockerRules+`,
		"memory": {"limit": 67108864, "disableOOMKiller": false}, "cpu": {"shares": 512, "quota": 50000, "period": 100000},
		"pids": {"limit": 64}, "blockIO": {"weight": 0}}`), &r))
	return &r
}

// plan plans the limits of JSON for a host with v2, or v1, and files.
func plan(t *testing.T, v2 bool, files map[string]string, text string) (string, error) {
	var r specs.LinuxResources
	require.NoError(t, json.Unmarshal([]byte(text), &r), text)
	limits, err := planLimits(r, func(string) bool { return v2 }, func(_, file string) string { return files[file] })
	var lines []string
	for _, l := range limits {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(l.file, l.controller+".")+"="+l.value))
	}
	return strings.Join(lines, ", "), err
}

func TestLimitsOfEachVersion(t *testing.T) {
	const refused = "refused"
	for _, c := range []struct{ json, v2, v1 string }{
		{`{}`, "", ""},
		{`{"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0}, "blockIO": {"weight": 0}}`, "", ""},
		{`{"memory": {"limit": 100, "swap": 150}}`, "max=100, swap.max=50", "limit_in_bytes=100, memsw.limit_in_bytes=150"},
		{`{"memory": {"limit": 100, "swap": 100}}`, "max=100, swap.max=0", "limit_in_bytes=100, memsw.limit_in_bytes=100"},
		{`{"memory": {"limit": 100, "swap": -1}}`, "max=100, swap.max=max", "limit_in_bytes=100, memsw.limit_in_bytes=-1"},
		{`{"memory": {"limit": -1}}`, "max=max, swap.max=max", "limit_in_bytes=-1, memsw.limit_in_bytes=-1"},
		{`{"memory": {"limit": 100, "swap": 50}}`, refused, "limit_in_bytes=100, memsw.limit_in_bytes=50"},
		{`{"memory": {"swap": 1000}}`, "swap.max=200", "memsw.limit_in_bytes=1000"}, // memory.max is 800
		{`{"memory": {"limit": -1, "swap": 50}}`, refused, "limit_in_bytes=-1, memsw.limit_in_bytes=50"},
		{`{"memory": {"reservation": 70}}`, "low=70", "soft_limit_in_bytes=70"},
		{`{"memory": {"kernel": 70}}`, refused, refused},
		{`{"memory": {"kernelTCP": 70}}`, refused, refused},
		{`{"memory": {"kernel": 0, "kernelTCP": 0}}`, "", ""},
		{`{"memory": {"swappiness": 0}}`, refused, "swappiness=0"},
		{`{"memory": {"disableOOMKiller": true}}`, refused, "oom_control=1"},
		{`{"memory": {"disableOOMKiller": false}}`, "", "oom_control=0"},
		{`{"memory": {"useHierarchy": true}}`, refused, refused},
		{`{"memory": {"useHierarchy": false}}`, refused, refused},
		{`{"memory": {"limit": 500, "checkBeforeUpdate": true}}`, refused, refused},
		{`{"memory": {"limit": 500, "checkBeforeUpdate": false}}`, "max=500", "limit_in_bytes=500"},
		{`{"cpu": {"shares": 1024}}`, "weight=100", "shares=1024"},
		{`{"cpu": {"shares": 1024, "idle": 1}}`, "weight=100, idle=1", "shares=1024, idle=1"},
		{`{"cpu": {"shares": 1024, "idle": 0}}`, "weight=100, idle=0", "shares=1024, idle=0"},
		{`{"cpu": {"quota": 50, "period": 100}}`, "max=50 100", "cfs_period_us=100, cfs_quota_us=50"},
		{`{"cpu": {"quota": -1}}`, "max=max", "cfs_quota_us=-1"},
		{`{"cpu": {"period": 100}}`, "max=7 100", "cfs_period_us=100"}, // cpu.max is 7 10
		{`{"cpu": {"quota": 50, "burst": 0}}`, "max=50, max.burst=0", "cfs_quota_us=50, cfs_burst_us=0"},
		{`{"cpu": {"realtimeRuntime": 5}}`, refused, refused},
		{`{"cpu": {"realtimePeriod": 5}}`, refused, refused},
		{`{"cpu": {"cpus": "0-1", "mems": "0"}}`, "cpus=0-1, mems=0", "cpus=0-1, mems=0"},
		{`{"pids": {"limit": 0}}`, "max=0", "max=0"},
		{`{"pids": {"limit": -1}}`, "max=max", "max=max"},
		{`{"pids": {}}`, "", ""},
		{`{"blockIO": {"weight": 10}}`, "bfq.weight=10", "bfq.weight=10"},
		{`{"blockIO": {"leafWeight": 10}}`, refused, refused},
		{`{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}}`, "bfq.weight=8:0 1000", "bfq.weight_device=8:0 1000"},
		{`{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000, "leafWeight": 1}]}}`, refused, refused},
		{`{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}], "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 0}]}}`,
			"max=8:0 rbps=600, max=8:1 wiops=max", "throttle.read_bps_device=8:0 600, throttle.write_iops_device=8:1 0"},
		{`{"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}`, "2MB.max=9, 2MB.rsvd.max=9", "2MB.limit_in_bytes=9, 2MB.rsvd.limit_in_bytes=9"},
		{`{"hugepageLimits": [{"pageSize": "1GB", "limit": 9}]}`, "1GB.max=9", "1GB.limit_in_bytes=9"}, // no rsvd
		{`{"hugepageLimits": [{"pageSize": "../2MB", "limit": 9}]}`, refused, refused},
		{`{"rdma": {"a": {"hcaHandles": 3}}}`, refused, refused},
		{`{"network": {"classID": 7}}`, refused, "classid=7"},
		{`{"network": {"priorities": [{"name": "lo", "priority": 3}]}}`, refused, "ifpriomap=lo 3"},
		{`{"unified": {"io.max": "8:0 rbps=1\n8:1 rbps=2", "cpu.weight": "5"}}`, "cpu.weight=5, io.max=8:0 rbps=1, io.max=8:1 rbps=2", "cpu.weight=5, io.max=8:0 rbps=1, io.max=8:1 rbps=2"},
		{`{"unified": {"../memory.max": "5"}}`, refused, refused},
		{`{"unified": {"..": "5"}}`, refused, refused},
		{`{"unified": {"": "5"}}`, refused, refused},
		{`{"unified": {"cgroup.procs": "1"}}`, refused, refused},
	} {
		files := map[string]string{"memory.max": "800", "memory.current": "600", "cpu.max": "7 10",
			"hugetlb.2MB.rsvd.max": "max", "hugetlb.2MB.rsvd.limit_in_bytes": "0"}
		for _, v2 := range []bool{true, false} {
			want := map[bool]string{true: c.v2, false: c.v1}[v2]
			got, err := plan(t, v2, files, c.json)
			if want == refused {
				require.Error(t, err, "v2 %t: %s", v2, c.json)
				require.Empty(t, got)
				continue
			}
			require.NoError(t, err, "v2 %t: %s", v2, c.json)
			got = strings.NewReplacer("io.throttle", "throttle", "blkthrottle", "throttle").Replace(got)
			require.Empty(t, cmp.Diff(want, got), "v2 %t: %s", v2, c.json)
		}
	}
	_, err := plan(t, true, map[string]string{"memory.max": "max"}, `{"memory": {"swap": 1000}}`)
	require.Error(t, err)
	_, err = plan(t, true, nil, `{"memory": {"kernelTCP": 70}}`)
	require.EqualError(t, err, "linux.resources.memory.kernelTCP is not supported with cgroup v2")
}

func TestSharesBecomeWeightsThatMeetEndsAndDefault(t *testing.T) {
	for shares, weight := range map[uint64]string{1: "1", 2: "1", 1024: "100", 262144: "10000", 1 << 40: "10000", 512: "59", 2048: "174"} {
		require.Equal(t, weight, cpuWeight(shares), shares)
	}
	last := 0
	for shares := uint64(2); shares <= 262144; shares++ {
		weight, err := strconv.Atoi(cpuWeight(shares))
		require.NoError(t, err)
		require.GreaterOrEqual(t, weight, last)
		last = weight
	}
}

// rulesOf reads rules from JSON.
func rulesOf(t testing.TB, text string) ([]deviceRule, error) {
	var list []specs.LinuxDeviceCgroup
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	return deviceRules(list)
}

// written are the rules in v1's words.
func written(rules []deviceRule) (lines []string) {
	for _, r := range rules {
		lines = append(lines, map[bool]string{true: "+", false: "-"}[r.allow]+r.String())
	}
	return lines
}

func TestDeviceRulesKeepTheirOrder(t *testing.T) {
	defaults := []string{"+c *:* m", "+b *:* m", "+c 1:3 mrw", "+c 1:5 mrw", "+c 1:7 mrw", "+c 1:8 mrw", "+c 1:9 mrw", "+c 5:0 mrw", "+c 5:2 mrw", "+c 136:* mrw"}
	for _, c := range []struct {
		json string
		want []string
	}{
		{`[]`, append([]string{"-a *:* mrw"}, defaults...)},
		{`[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "minor": 20, "access": "rw"}]`,
			append([]string{"-a *:* mrw", "+c 10:229 mrw", "+b 8:20 rw"}, defaults...)},
		{`[{"allow": true, "access": "rwm"}]`, []string{"+a *:* mrw"}},
		{`[{"allow": false, "type": "c", "major": 1}, {"allow": true, "type": "a"}, {"allow": false, "access": "w"}]`, []string{"+a *:* mrw", "-b *:* w", "-c *:* w"}},
		{`[{"allow": true, "type": "c", "major": 5, "minor": -1, "access": "r"}]`, append([]string{"-a *:* mrw", "+c 5:* r"}, defaults...)},
		{`[{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]`, append([]string{"-a *:* mrw", "+c 1:3 mrw", "+c *:* m", "+b *:* m"}, defaults[3:]...)},
	} {
		rules, err := rulesOf(t, c.json)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(c.want, written(rules)), c.json)
	}
	for _, bad := range []string{`[{"type": "p"}]`, `[{"type": "cb"}]`, `[{"access": "x"}]`, `[{"major": -2}]`, `[{"minor": 4294967296}]`} {
		_, err := rulesOf(t, bad)
		require.Error(t, err, bad)
	}
}

func TestAnExceptionToAnExceptionIsRefusedOnV1(t *testing.T) {
	for _, text := range []string{
		`[{"allow": true, "type": "c", "major": 1}, {"allow": false, "type": "c", "major": 1, "minor": 1}]`,
		`[{"allow": true, "type": "c", "major": 1, "minor": 1}, {"allow": false, "type": "c", "major": 1}]`,
		`[{"allow": true}, {"allow": false, "type": "c", "major": 1}, {"allow": true, "type": "c", "minor": 1}]`,
	} {
		rules, err := rulesOf(t, text)
		require.NoError(t, err)
		dir := t.TempDir()
		for _, file := range []string{"/devices.allow", "/devices.deny"} {
			require.NoError(t, os.WriteFile(dir+file, nil, 0o600))
		}
		require.ErrorContains(t, limitDevicesV1(dir, rules), "exception", text)
	}
}

// allowed is what the rules mean, for one access after the other.
func allowed(rules []deviceRule, kind byte, major, minor int64, access int32) bool {
	for bit := int32(1); bit <= 4; bit <<= 1 {
		yes := false
		for _, r := range rules {
			if (r.kind == 'a' || r.kind == kind) && (r.major < 0 || r.major == major) && (r.minor < 0 || r.minor == minor) && r.access&bit != 0 {
				yes = r.allow
			}
		}
		if access&bit != 0 && !yes {
			return false
		}
	}
	return true
}

// interpret runs a program as the kernel does, as far as ours go.
func interpret(t *testing.T, program []bpfInstruction, kind byte, major, minor int64, access int32) bool {
	context := map[int16]uint64{0: uint64(access)<<16 | uint64(strings.IndexByte(" bc", kind)), 4: uint64(major), 8: uint64(minor)}
	var registers [11]uint64
	for i := 0; ; i++ {
		in := program[i]
		to, value := &registers[in.registers&15], uint64(int64(in.value))
		switch in.code {
		case unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W:
			*to = context[in.offset]
		case unix.BPF_ALU64 | unix.BPF_MOV:
			*to = value
		case unix.BPF_ALU64 | unix.BPF_AND:
			*to &= value
		case unix.BPF_ALU64 | unix.BPF_RSH:
			*to >>= value
		case unix.BPF_JMP | unix.BPF_JNE:
			if *to != value {
				i += int(in.offset)
			}
		case unix.BPF_JMP | unix.BPF_JSET:
			if *to&value != 0 {
				i += int(in.offset)
			}
		case unix.BPF_JMP | unix.BPF_JA:
			i += int(in.offset)
		case unix.BPF_JMP | unix.BPF_EXIT:
			return registers[0] != 0
		default:
			t.Fatalf("instruction %d: %#v", i, in)
		}
	}
}

// sameVerdicts compares the program with the rules, on every device they name
// and others.
func sameVerdicts(t *testing.T, rules []deviceRule) {
	program := deviceFilter(rules)
	majors, minors := map[int64]bool{0: true, 1: true}, map[int64]bool{0: true, 1: true}
	for _, r := range rules[:min(len(rules), 9)] {
		majors[max(0, r.major)], minors[max(0, r.minor)] = true, true
	}
	for _, kind := range []byte("bc") {
		for major := range majors {
			for minor := range minors {
				for access := int32(1); access < 8; access++ {
					want := allowed(rules, kind, major, minor, access)
					if want != interpret(t, program, kind, major, minor, access) {
						t.Fatalf("%c %d:%d, access %d: not %t by %v", kind, major, minor, access, want, written(rules))
					}
				}
			}
		}
	}
}

func TestTheProgramDecidesAsTheRules(t *testing.T) {
	for _, text := range []string{`[]`, `[{"allow": true}]`, dockerRules,
		`[{"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}, {"allow": true, "type": "c", "major": 1, "minor": 1, "access": "w"}]`,
		`[{"allow": true}, {"allow": false, "type": "b", "access": "w"}, {"allow": true, "type": "b", "major": 8, "access": "w"}]`,
	} {
		rules, err := rulesOf(t, text)
		require.NoError(t, err)
		sameVerdicts(t, rules)
	}
}

func TestTheKernelTakesLongPrograms(t *testing.T) {
	c := aCgroup(t, "")
	var list []specs.LinuxDeviceCgroup
	for i := range int64(300) {
		list = append(list, specs.LinuxDeviceCgroup{Allow: i%3 > 0 || c.Dirs["devices"] != "", Type: string("bc"[i%2]), Major: &i, Access: []string{"r", "rw", "rwm"}[i%3]})
	}
	require.NoError(t, c.create(&specs.LinuxResources{Devices: list}))
}

func TestCgroupMounts(t *testing.T) {
	m := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "ro"}}
	v2 := cgroup{"/d/x", map[string]string{"": "/sys/fs/cgroup/d/x", "memory": "/sys/fs/cgroup/d/x"}}
	v1 := cgroup{"/d/x", map[string]string{"": "/c/unified/d/x", "hugetlb": "/c/unified/d/x", "cpu": "/c/cpu,cpuacct/d/x", "cpuacct": "/c/cpu,cpuacct/d/x", "name=systemd": "/c/systemd/d/x"}}
	for _, c := range []struct {
		cgroup cgroup
		own    bool
		want   []string
	}{
		{v2, true, []string{"cgroup2 cgroup /sys/fs/cgroup nosuid,ro"}},
		{v2, false, []string{"bind /sys/fs/cgroup/d/x /sys/fs/cgroup nosuid,ro,bind"}},
		{v1, true, []string{
			"tmpfs tmpfs /sys/fs/cgroup nosuid,mode=755",
			"cgroup2 cgroup /sys/fs/cgroup/unified nosuid,ro",
			"cgroup cgroup /sys/fs/cgroup/systemd nosuid,ro,name=systemd,none",
			"cgroup cgroup /sys/fs/cgroup/cpu,cpuacct nosuid,ro,cpu,cpuacct",
			"cgroup cgroup /sys/fs/cgroup/cpu nosuid,ro,cpu,cpuacct",
			"cgroup cgroup /sys/fs/cgroup/cpuacct nosuid,ro,cpu,cpuacct",
			"tmpfs tmpfs /sys/fs/cgroup nosuid,ro,remount,bind"}},
		{v1, false, []string{
			"tmpfs tmpfs /sys/fs/cgroup nosuid,mode=755",
			"bind /c/unified/d/x /sys/fs/cgroup/unified nosuid,ro,bind",
			"bind /c/systemd/d/x /sys/fs/cgroup/systemd nosuid,ro,bind",
			"bind /c/cpu,cpuacct/d/x /sys/fs/cgroup/cpu,cpuacct nosuid,ro,bind",
			"bind /c/cpu,cpuacct/d/x /sys/fs/cgroup/cpu nosuid,ro,bind",
			"bind /c/cpu,cpuacct/d/x /sys/fs/cgroup/cpuacct nosuid,ro,bind",
			"tmpfs tmpfs /sys/fs/cgroup nosuid,ro,remount,bind"}},
	} {
		mounts, err := cgroupMounts(m, c.cgroup, c.own)
		require.NoError(t, err)
		var got []string
		for _, m := range mounts {
			got = append(got, strings.Join([]string{m.Type, m.Source, m.Destination, strings.Join(m.Options, ",")}, " "))
		}
		require.Empty(t, cmp.Diff(c.want, got))
	}
	require.Equal(t, []string{"nosuid", "ro"}, m.Options)
}

func FuzzResources(f *testing.F) {
	f.Add([]byte(`{"devices": `+dockerRules+`, "unified": {"a.b": "c\nd"}}`), true)
	f.Add([]byte(`{"memory": {"limit": -5, "swap": 9223372036854775807}, "cpu": {"quota": -9223372036854775808, "shares": 18446744073709551615}}`), true)
	f.Add([]byte(`{"hugepageLimits": [{"pageSize": "2MB/../.."}], "rdma": {"x\n": {}}, "blockIO": {"weightDevice": [{"weight": 3}]}}`), false)
	f.Fuzz(func(t *testing.T, text []byte, v2 bool) {
		var r specs.LinuxResources
		if json.Unmarshal(text, &r) != nil {
			return
		}
		limits, err := planLimits(r, func(string) bool { return v2 }, func(_, file string) string { return "7 7" })
		require.False(t, err != nil && limits != nil)
		for _, l := range limits {
			require.NotContains(t, l.file, "/")
			require.Contains(t, strings.Trim(l.file, "."), ".")
			require.NotEqual(t, "cgroup.procs", l.file)
		}
		if rules, err := deviceRules(r.Devices); err == nil {
			sameVerdicts(t, rules)
		}
	})
}
