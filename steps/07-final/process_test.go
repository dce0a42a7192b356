//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestValidateProcess wants an error, with these words, for what cannot be.
func TestValidateProcess(t *testing.T) {
	for text, want := range map[string]string{
		``:                    "",
		`"args": []`:          "no command",
		`"args": [""]`:        "no command",
		`"cwd": "tmp"`:        `process.cwd: "tmp" is not absolute`,
		`"cwd": ""`:           "is not absolute",
		`"env": ["A="]`:       "",
		`"env": ["A=\u0000"]`: "NUL",
		`"args": ["a\u0000"]`: "NUL",
		`"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_CORE"}]`: "",
		`"rlimits": [{"type": "RLIMIT_TEST"}]`:                                                  `unknown type "RLIMIT_TEST"`,
		`"rlimits": [{"type": "NOFILE"}]`:                                                       `unknown type "NOFILE"`,
		`"rlimits": [{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_CPU"}]`:                           "RLIMIT_CPU is there twice",
		`"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]`:                             "soft limit 2 above hard limit 1",
		`"oomScoreAdj": -1000`:                                                                  "",
		`"oomScoreAdj": 1001`:                                                                   "oomScoreAdj",
		`"user": {"umask": 63}`:                                                                 "",
		`"user": {"umask": 512}`:                                                                "umask: 01000",
		`"scheduler": {"policy": "SCHED_BATCH", "nice": 19}`:                                    "",
		`"scheduler": {"policy": "SCHED_FIFO", "priority": 99}`:                                 "",
		`"scheduler": {"policy": "SCHED_FIFO", "priority": 100}`:                                "no priority 100",
		`"scheduler": {"policy": "SCHED_OTHER", "priority": 1}`:                                 "no priority 1",
		`"scheduler": {"policy": "SCHED_OTHER", "nice": 20}`:                                    "nice 20",
		`"scheduler": {"policy": "SCHED_RR", "period": 1}`:                                      "no runtime, deadline and period",
		`"scheduler": {"policy": "X"}`:                                                          `unknown policy "X"`,
		`"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}`:                                `unknown flag "X"`,
		`"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7}`:                           "",
		`"ioPriority": {"class": "IOPRIO_CLASS_NONE", "priority": 7}`:                           "unknown class",
		`"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}`:                             "priority 8",
		`"execCPUAffinity": {"initial": "0-3,7", "final": "1"}`:                                 "",
		`"execCPUAffinity": {"initial": "3-1"}`:                                                 `"3-1" is no list of CPUs`,
		`"execCPUAffinity": {"final": "1,,2"}`:                                                  "no list of CPUs",
		`"execCPUAffinity": {"final": "99999999"}`:                                              "no list of CPUs",
		`"capabilities": {"bounding": ["CAP_TEST"]}`:                                            "", // a warning, later
	} {
		fields := map[string]any{"args": []string{"sh"}, "cwd": "/"}
		require.NoError(t, json.Unmarshal([]byte("{"+text+"}"), &fields), text)
		merged, _ := json.Marshal(fields)
		var p specs.Process
		require.NoError(t, json.Unmarshal(merged, &p), text)
		if err := validateProcess(&p); want == "" {
			assert.NoError(t, err, text)
		} else {
			assert.ErrorContains(t, err, want, text)
		}
	}
}

// FuzzProcess wants an answer for any process, and translations of what is
// valid.
func FuzzProcess(f *testing.F) {
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}]}`))
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "execCPUAffinity": {"initial": "0-3,7"}, "oomScoreAdj": 5}`))
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "scheduler": {"policy": "SCHED_RR", "priority": 3}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p specs.Process
		if json.Unmarshal(text, &p) != nil || validateProcess(&p) != nil {
			return
		}
		for _, limit := range p.Rlimits {
			number := numberIn(rlimits, "RLIMIT_", limit.Type)
			assert.True(t, 0 <= number && number < 16, limit.Type)
		}
		parseCapabilities(p.Capabilities)
	})
}

// TestRlimitNames pins a few numbers, and the last.
func TestRlimitNames(t *testing.T) {
	for name, number := range map[string]int{"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_NPROC": unix.RLIMIT_NPROC,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME} {
		assert.Equal(t, number, numberIn(rlimits, "RLIMIT_", name))
	}
}

// TestSchedulerAttr pins the numbers of policies and flags.
func TestSchedulerAttr(t *testing.T) {
	for policy, number := range map[specs.LinuxSchedulerPolicy]uint32{specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO,
		specs.SchedRR: unix.SCHED_RR, specs.SchedBatch: unix.SCHED_BATCH, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE} {
		attr, err := schedulerAttr(&specs.Scheduler{Policy: policy})
		assert.NoError(t, err)
		assert.Equal(t, number, attr.Policy, policy)
	}
	attr, err := schedulerAttr(&specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1, Deadline: 2, Period: 3,
		Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork, specs.SchedFlagReclaim, specs.SchedFlagUtilClampMax}})
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Runtime: 1, Deadline: 2, Period: 3,
		Flags: unix.SCHED_FLAG_RESET_ON_FORK | unix.SCHED_FLAG_RECLAIM | unix.SCHED_FLAG_UTIL_CLAMP_MAX}, *attr))
}

// TestProcessAttributes sets them in a process of its own and asks the kernel.
func TestProcessAttributes(t *testing.T) {
	if os.Getenv("TEST_PROCESS") != "" {
		os.Stdout.WriteString(strings.Join(setAllAttributes(), "\n"))
		os.Exit(0)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestProcessAttributes$")
	c.Env = append(os.Environ(), "TEST_PROCESS=1")
	output, err := c.CombinedOutput()
	require.NoError(t, err, string(output))
	assert.Empty(t, cmp.Diff([]string{"oom 500", "nice 3", "policy 3", "io 16388", "cpus 1", "persona 8",
		"nofile 100 200", "umask 027", "labels 1", "labels 1"}, strings.Split(string(output), "\n")))
}

// setAttributes sets attributes of this process and reports what they are.
func setAllAttributes() (report []string) {
	runtime.LockOSThread()
	say := func(format string, values ...any) { report = append(report, fmt.Sprintf(format, values...)) }
	adj, mask := 500, uint32(0o27)
	for _, err := range []error{
		setOOMScoreAdj(os.Getpid(), &adj),
		setScheduler(&specs.Scheduler{Policy: specs.SchedBatch, Nice: 3}),
		setIOPriority(&specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 4}),
		setCPUAffinity("0"),
		setPersonality(&specs.LinuxPersonality{Domain: specs.PerLinux32}),
		setRlimits([]specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}),
		setOOMScoreAdj(os.Getpid(), nil), setScheduler(nil), setIOPriority(nil), setCPUAffinity(""), setPersonality(nil),
	} {
		if err != nil {
			say("%v", err)
		}
	}
	setUmask(&mask)
	setUmask(nil)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	say("oom %s", strings.TrimSpace(string(score)))
	attr, _ := unix.SchedGetAttr(0, 0)
	say("nice %d", attr.Nice)
	say("policy %d", attr.Policy)
	io, _, _ := unix.RawSyscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	say("io %d", io)
	var cpus unix.CPUSet
	unix.SchedGetaffinity(0, &cpus)
	say("cpus %d", cpus.Count())
	persona, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, math.MaxUint32, 0, 0)
	say("persona %d", persona)
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	say("nofile %d %d", limit.Cur, limit.Max)
	say("umask %03o", unix.Umask(0))
	for _, p := range []*specs.Process{{ApparmorProfile: "x"}, {SelinuxLabel: "x"}} {
		warnings, err := setExecLabels(p)
		if err != nil { // the module runs here and knows no x
			warnings = append(warnings, err.Error())
		}
		say("labels %d", len(warnings))
	}
	return report
}

// TestWriteAttribute wants a file that only looks like one of proc refused.
func TestWriteAttribute(t *testing.T) {
	file := t.TempDir() + "/exec"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.ErrorContains(t, writeAttribute(file, "exec x"), "is not of proc")
}

// TestValidatePersonality wants the two domains of the specification.
func TestValidatePersonality(t *testing.T) {
	assert.NoError(t, validatePersonality(nil))
	assert.NoError(t, validatePersonality(&specs.LinuxPersonality{Domain: specs.PerLinux32}))
	assert.ErrorContains(t, validatePersonality(&specs.LinuxPersonality{Domain: "X"}), `unknown domain "X"`)
	assert.ErrorContains(t, validatePersonality(&specs.LinuxPersonality{Domain: "LINUX", Flags: []specs.LinuxPersonalityFlag{"X"}}), "flags")
}
