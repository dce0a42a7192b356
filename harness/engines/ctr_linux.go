package engines

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ctrNames are the ids of containers that the checks of ctr make.
var ctrNames = []string{"c1", "c2"}

// startCtr starts a containerd of its own.
func startCtr(runtime string) (*engine, error) {
	const dir = "/box/containerd"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`version = 2
root = "%s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "%[1]s/socket"
`, dir)
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o644); err != nil {
		return nil, err
	}
	e := &engine{
		name: "ctr", runtime: runtime, checks: ctrChecks, state: "/run/containerd/runc/default",
		cli: []string{"ctr", "--address", dir + "/socket"},
	}
	ready := func() error {
		out, err := exec.Command(e.cli[0], append(e.cli[1:], "version")...).CombinedOutput()
		if err != nil {
			return errors.New(lastLines(string(out), 1))
		}
		return nil
	}
	if err := e.serve(ready, "containerd", "--config", dir+"/config.toml"); err != nil {
		return nil, err
	}
	return e, nil
}

// ctr runs a container by ctr run, with options before the id.
func (t *trial) ctr(id string, options []string, command ...string) result {
	return t.do(t.ctrRun(id, options, command...)...)
}

// ctrRun is the command line of ctr.
func (t *trial) ctrRun(id string, options []string, command ...string) []string {
	args := append([]string{"run", "--runtime", "io.containerd.runc.v2", "--runc-binary", t.runtime}, options...)
	return append(append(args, "--rootfs", rootfs, id), command...)
}

// task is the state that ctr tells of a task.
func (t *trial) task(id string) string {
	for line := range strings.Lines(t.do("tasks", "ls").is(0).stdout) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == id {
			return f[2]
		}
	}
	return ""
}

// ctrChecks are those of containerd's own command line.
var ctrChecks = []check{
	{"its configuration for Kubernetes is one that it reads", func(t *trial) {
		t.must(writeConfig("containerd.toml", "/box/containerd/cri.toml", "", t.runtime))
		t.run(nil, "containerd", "--config", "/box/containerd/cri.toml", "config", "dump").
			has(`(?s)containerd\.runtimes\.final\.options\]\s+BinaryName = "` + t.runtime + `"`)
	}},
	{"run passes on output and status", func(t *trial) {
		t.ctr("c1", []string{"--rm"}, "/bin/echo", "hello").gives("hello\n")
		t.ctr("c1", []string{"--rm"}, "/bin/sh", "-c", "exit 7").is(7)
	}},
	{"run of what cannot be run says why", func(t *trial) {
		if r := t.ctr("c1", []string{"--rm"}, "/missing"); r.status == 0 || !strings.Contains(r.stderr, "no such file or directory") {
			t.fail("%s: status %d: %q", r.line, r.status, r.stderr)
		}
		if r := t.ctr("c2", []string{"--rm"}, "missing"); r.status == 0 || !strings.Contains(r.stderr, "executable file not found") {
			t.fail("%s: status %d: %q", r.line, r.status, r.stderr)
		}
		if r := t.ctr("c1", []string{"--rm"}, "/etc/plain"); r.status == 0 || !strings.Contains(r.stderr, "permission denied") {
			t.fail("%s: status %d: %q", r.line, r.status, r.stderr)
		}
	}},
	{"run -t has a terminal", func(t *trial) {
		on := t.onTerminal(t.ctrRun("c1", []string{"--rm", "-t"}, "/bin/sh", "-c", "tty; "+sized("30 90")+"echo ready; read x; echo got-$x; exit 9")...)
		on.shows("/dev/pts/0")
		on.shows("ready")
		on.types("word\r")
		on.shows("got-word")
		on.ends(9)
	}},
	{"a detached task runs, and its processes are told", func(t *trial) {
		t.ctr("c1", []string{"-d"}, "/bin/sleep", "1000").is(0)
		if s := t.task("c1"); s != "RUNNING" {
			t.fail("the task is %q", s)
		}
		t.do("tasks", "ps", "c1").has(`(?m)^[0-9]+ `)
	}},
	{"exec passes on output and status", func(t *trial) {
		t.ctr("c1", []string{"-d"}, "/bin/sleep", "1000").is(0)
		t.do("tasks", "exec", "--exec-id", "e1", "c1", "/bin/echo", "hello").gives("hello\n")
		t.do("tasks", "exec", "--exec-id", "e2", "c1", "/bin/sh", "-c", "exit 7").is(7)
		if r := t.do("tasks", "exec", "--exec-id", "e3", "c1", "/missing"); r.status == 0 || !strings.Contains(r.stderr, "no such file or directory") {
			t.fail("%s: status %d: %q", r.line, r.status, r.stderr)
		}
	}},
	{"exec -t has a terminal", func(t *trial) {
		t.ctr("c1", []string{"-d"}, "/bin/sleep", "1000").is(0)
		on := t.onTerminal("tasks", "exec", "-t", "--exec-id", "e1", "c1", "/bin/sh", "-c", "tty; "+sized("30 90")+"echo ready; read x; echo got-$x; exit 9")
		on.shows("/dev/pts/")
		on.shows("ready")
		on.types("word\r")
		on.shows("got-word")
		on.ends(9)
	}},
	{"pause and resume", func(t *trial) {
		t.ctr("c1", []string{"-d"}, "/bin/sleep", "1000").is(0)
		t.do("tasks", "pause", "c1").is(0)
		if s := t.task("c1"); s != "PAUSED" {
			t.fail("the task is %q", s)
		}
		t.do("tasks", "resume", "c1").is(0)
		if s := t.task("c1"); s != "RUNNING" {
			t.fail("the task is %q", s)
		}
	}},
	{"kill ends a task, and its status is told", func(t *trial) {
		t.ctr("c1", []string{"-d"}, "/bin/sh", "-c", trapping).is(0)
		t.do("tasks", "kill", "-s", "KILL", "c1").is(0)
		t.until("it is stopped", func() bool { return t.task("c1") == "STOPPED" })
		if r := t.do("tasks", "rm", "c1").is(0); !strings.Contains(r.stderr, "137") {
			t.fail("%s: says %q, and not the status 137", r.line, r.stderr)
		}
		t.do("containers", "rm", "c1").is(0)
	}},
	{"limits of memory are its cgroup's, and metrics tell them", func(t *trial) {
		t.ctr("c1", []string{"-d", "--memory-limit", "67108864"}, "/bin/sleep", "1000").is(0)
		t.do("tasks", "metrics", "c1").has(`67108864`)
	}},
	{"two run at the same time", func(t *trial) {
		for _, id := range ctrNames {
			t.ctr(id, []string{"-d"}, "/bin/sleep", "1000").is(0)
		}
		for _, id := range ctrNames {
			if s := t.task(id); s != "RUNNING" {
				t.fail("%s is %q", id, s)
			}
		}
	}},
}
