package engines

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// startDocker starts a dockerd, which starts a containerd.
func startDocker(runtime string) (*engine, error) {
	return dockerd("docker", runtime, append(shared, dockerOnly...))
}

// dockerd starts one with files of its own.
func dockerd(name, runtime string, checks []check, options ...string) (*engine, error) {
	dir := "/box/" + name
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// dockerd keeps a key of its own in /etc.
	if err := os.MkdirAll("/etc/docker", 0o755); err != nil {
		return nil, err
	}
	if err := writeConfig("daemon.json", dir+"/daemon.json", "", runtime); err != nil {
		return nil, err
	}
	e := &engine{
		name: name, runtime: runtime, checks: checks,
		cli:   []string{"docker", "--host", "unix://" + dir + "/socket"},
		state: dir + "/exec/runtime-final/moby",
	}
	ready := func() error {
		out, err := exec.Command(e.cli[0], append(e.cli[1:], "version")...).CombinedOutput()
		if err != nil {
			return errors.New(lastLines(string(out), 1))
		}
		return nil
	}
	if err := e.serve(ready, append([]string{"dockerd", "--config-file", dir + "/daemon.json",
		"--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/pid", "--host", "unix://" + dir + "/socket",
		"--storage-driver", "vfs", "--ip6tables=false"}, options...)...); err != nil {
		return nil, err
	}
	why := e.try(check{"imports an image", func(t *trial) {
		t.do("import", "-c", `CMD ["/bin/sh"]`, archive, "bb").is(0)
	}})
	if why != "" {
		e.stop()
		return nil, fmt.Errorf("import an image: %s", why)
	}
	return e, nil
}

// dockerOnly are checks of what podman has not, or has not everywhere.
var dockerOnly = []check{
	{"info names the runtime", func(t *trial) {
		t.do("info", "--format", "{{.DefaultRuntime}}").gives("final\n")
	}},
	{"update changes the limit of processes", func(t *trial) { // podman 4.3 cannot
		t.detached("sleep 1000", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "30", "--cpus", "0.5")
		t.do("update", "--pids-limit", "40", "c1").is(0)
		t.do("exec", "c1", "sh", "-c", limits).gives("67108864 40 50000 100000\n")
	}},
	{"limits of files are as told", func(t *trial) {
		t.quick("ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200").gives("100\n200\n")
	}},
	{"--init puts a process 1 before the command", func(t *trial) {
		t.quick("cat /proc/1/cmdline", "--init").has(`^/sbin/docker-init`)
	}},
	{"a network of its own has names", func(t *trial) {
		t.do("network", "create", "mine").is(0)
		t.atEnd = append(t.atEnd, func() { t.removeAll(); t.do("network", "rm", "mine") })
		t.do("run", "-d", "--name", "c1", "--network", "mine", "bb", "sh", "-c", "while :; do echo hello | nc -l -p 80; done").is(0)
		t.until("it answers by its name", func() bool {
			return t.do("run", "--rm", "--network", "mine", "bb", "nc", "-w", "2", "c1", "80").stdout == "hello\n"
		})
	}},
	{"a user namespace of its own has its mappings", func(t *trial) {
		for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
			t.must(os.WriteFile(file, []byte("nobody:100000:65536\n"), 0o644))
		}
		e, err := dockerd("docker-userns", t.runtime, nil, "--userns-remap", "nobody:nogroup", "--bridge", "none", "--iptables=false")
		t.must(err)
		defer e.stop()
		why := e.try(check{"", func(t *trial) {
			t.quick(`echo $(cat /proc/self/uid_map) $(id -u)`).gives("0 100000 65536 0\n")
			t.detached("sleep 1000")
			t.do("exec", "c1", "sh", "-c", "id -u; cat /proc/self/uid_map | wc -l").gives("0\n1\n")
		}})
		if why != "" {
			t.fail("%s", why)
		}
	}},
	{"--privileged has all capabilities of its caller", func(t *trial) {
		own, err := os.ReadFile("/proc/self/status")
		t.must(err)
		_, bounding, _ := strings.Cut(string(own), "CapBnd:\t")
		bounding, _, _ = strings.Cut(bounding, "\n")
		last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
		t.must(err)
		if all := strings.Count(fmt.Sprintf("%b", parseHex(bounding)), "1"); fmt.Sprintln(all-1) != string(last) {
			// dockerd asks for all that there are, and its runtime may not give them.
			r := t.quick("true", "--privileged")
			if r.status != 0 && !strings.Contains(r.stderr, "apply caps") && !strings.Contains(r.stderr, "capabilit") {
				t.fail("without all capabilities: status %d: %s", r.status, r.stderr)
			}
			return
		}
		t.quick(`grep CapEff /proc/self/status | cut -f 2`, "--privileged").gives(bounding + "\n")
	}},
}

// parseHex reads a set of capabilities.
func parseHex(text string) (n uint64) {
	_, _ = fmt.Sscanf(text, "%x", &n)
	return n
}
