//go:build linux

package main

import (
	"encoding/json"
	"fmt"
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
		`"env": ["A=\u0000"]`: `NUL in "A=\x00"`,
		`"args": ["a\u0000"]`: `NUL in "a\x00"`,
		`"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_CORE"}]`: "",
		`"rlimits": [{"type": "RLIMIT_TEST"}]`:                                                  `unknown type "RLIMIT_TEST"`,
		`"rlimits": [{"type": "NOFILE"}]`:                                                       `unknown type "NOFILE"`,
		`"rlimits": [{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_CPU"}]`:                           "RLIMIT_CPU is there twice",
		`"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]`:                             "soft limit 2 above hard limit 1",
		`"oomScoreAdj": -1000`:                                                                  "",
		`"oomScoreAdj": 1001`:                                                                   "oomScoreAdj",
		`"user": {"umask": 63}`:                                                                 "",
		`"user": {"umask": 512}`:                                                                "umask: 01000",
		`"scheduler": {"policy": "SCHED_OTHER"}`:                                                "process.scheduler is not supported",
		`"ioPriority": {"class": "IOPRIO_CLASS_IDLE"}`:                                          "process.ioPriority is not supported",
		`"execCPUAffinity": {"initial": "0"}`:                                                   "process.execCPUAffinity is not supported",
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
	f.Add([]byte(`{"args": ["sh"], "cwd": "/", "user": {"umask": 63}, "oomScoreAdj": 5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p specs.Process
		if json.Unmarshal(text, &p) != nil || validateProcess(&p) != nil {
			return
		}
		for _, limit := range p.Rlimits {
			number := rlimitNumber(limit.Type)
			assert.True(t, 0 <= number && number < 16, limit.Type)
		}
		parseCapabilities(p.Capabilities)
	})
}

// TestRlimitNames pins a few numbers, and the last.
func TestRlimitNames(t *testing.T) {
	for name, number := range map[string]int{"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_NPROC": unix.RLIMIT_NPROC,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME} {
		assert.Equal(t, number, rlimitNumber(name))
	}
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
	assert.Empty(t, cmp.Diff([]string{"oom 500", "nofile 100 200"}, strings.Split(string(output), "\n")))
}

// setAllAttributes sets attributes of this process and reports what they are.
func setAllAttributes() (report []string) {
	runtime.LockOSThread()
	say := func(format string, values ...any) { report = append(report, fmt.Sprintf(format, values...)) }
	adj := 500
	for _, err := range []error{
		setOOMScoreAdj(os.Getpid(), &adj),
		setRlimits([]specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}),
		setOOMScoreAdj(os.Getpid(), nil),
	} {
		if err != nil {
			say("%v", err)
		}
	}
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	say("oom %s", strings.TrimSpace(string(score)))
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	say("nofile %d %d", limit.Cur, limit.Max)
	return report
}

// TestLabelsAreSetOrWarnedOf wants neither a process without its label nor a
// refusal where no module could do anything.
func TestLabelsAreSetOrWarnedOf(t *testing.T) {
	runtime.LockOSThread() // for good: the kernel may have taken a label
	p := &specs.Process{ApparmorProfile: "no-such-profile", SelinuxLabel: "no-such-label"}
	s := &specs.Spec{Process: p, Linux: &specs.Linux{MountLabel: p.SelinuxLabel}}
	dropLabels(s)
	assert.Equal(t, p.SelinuxLabel, s.Linux.MountLabel)
	if p.ApparmorProfile == "" && p.SelinuxLabel == "" {
		assert.NoError(t, setExecLabels(p), "neither runs here")
	} else {
		assert.ErrorContains(t, setExecLabels(p), "set label no-such-")
	}
	assert.Error(t, setExecLabels(&specs.Process{SelinuxLabel: "x"}), "no module here has it")
}

// TestADirectoryOfOtherBytesIsRefused, as JSON would make it another.
func TestADirectoryOfOtherBytesIsRefused(t *testing.T) {
	require.ErrorContains(t, validateProcess(&specs.Process{Args: []string{"sh"}, Cwd: "/\xff"}), "is no UTF-8")
}
