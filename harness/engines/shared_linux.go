package engines

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// detached starts a container c1 that runs a line of shell, without a network.
func (t *trial) detached(line string, options ...string) {
	args := append([]string{"run", "-d", "--name", "c1", "--network", "none"}, options...)
	t.do(append(args, "bb", "sh", "-c", line)...).is(0)
}

// quick runs a line of shell in a new container without a network.
func (t *trial) quick(line string, options ...string) result {
	args := append([]string{"run", "--rm", "--network", "none"}, options...)
	return t.do(append(args, "bb", "sh", "-c", line)...)
}

// inspect is one value of container c1.
func (t *trial) inspect(field string) string {
	return strings.TrimSpace(t.do("inspect", "--format", "{{"+field+"}}", "c1").is(0).stdout)
}

// ticks is how much time on the CPU process 1 of container c1 has had.
func (t *trial) ticks() string {
	stat, err := os.ReadFile("/proc/" + t.inspect(".State.Pid") + "/stat")
	t.must(err)
	return strings.Fields(string(stat))[13] // utime, see proc_pid_stat(5)
}

// limits prints memory, processes and CPU that a container may have, in one
// line, with v1 and with v2: "67108864 30 50000 100000".
const limits = `cd /sys/fs/cgroup; if [ -f memory.max ]; then echo $(cat memory.max pids.max cpu.max); else ` +
	`echo $(cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); fi`

// trapping ends with 3 on SIGTERM and says so on SIGUSR1.
const trapping = `trap "exit 3" TERM; trap "echo heard" USR1; echo ready; while :; do sleep 0.05; done`

// sized is a line of shell that waits until the terminal has a size; engines
// set it after the start.
func sized(size string) string {
	return fmt.Sprintf(`until [ "$(stty size 2>/dev/null)" = "%s" ]; do sleep 0.05; done; `, size)
}

// printed waits until container c1 has printed text.
func (t *trial) printed(text string) {
	t.until("the log has "+text, func() bool { return strings.Contains(t.do("logs", "c1").stdout, text) })
}

// shared are true of podman and docker alike, which have the same command line.
var shared = []check{
	{"run passes on output, error and status", func(t *trial) {
		r := t.quick("echo out; echo err >&2; exit 7").is(7)
		if r.stdout != "out\n" || r.stderr != "err\n" {
			t.fail("printed %q and %q", r.stdout, r.stderr)
		}
		t.quick("exit 0").gives("")
	}},
	{"run of what does not exist gives 127", func(t *trial) {
		t.do("run", "--rm", "--network", "none", "bb", "/missing").is(127)
		t.do("run", "--rm", "--network", "none", "bb", "missing").is(127)
	}},
	{"run of what is not executable gives 126", func(t *trial) {
		t.do("run", "--rm", "--network", "none", "bb", "/etc/plain").is(126)
	}},
	{"run reads its input", func(t *trial) {
		t.input("text\n", "run", "--rm", "-i", "--network", "none", "bb", "cat").gives("text\n")
	}},
	{"run -it has a terminal that can be resized", func(t *trial) {
		on := t.onTerminal("run", "--rm", "-it", "--network", "none", "bb", "sh", "-c",
			"tty; "+sized("30 90")+"echo ready; "+sized("40 132")+"echo wider; read x; echo got-$x; exit 9")
		on.shows("/dev/pts/0")
		on.shows("ready")
		on.resize(40, 132)
		on.shows("wider")
		on.types("word\r")
		on.shows("got-word")
		on.ends(9)
	}},
	{"an interactive shell has job control", func(t *trial) {
		on := t.onTerminal("run", "--rm", "-it", "--network", "none", "bb", "sh", "-i")
		on.shows("# ")
		on.types("sh -c 'printf go%s 1; exec sleep 1000'\r")
		on.shows("go1")
		on.types("\x03")
		on.types("echo int=$?; exit 5\r")
		on.shows("int=130")
		on.ends(5)
	}},
	{"host name, environment, directory and user are as told", func(t *trial) {
		t.quick(`echo $(hostname) $A $(pwd) $(id -u) $(id -g)`, "--hostname", "name", "-e", "A=b", "-w", "/tmp", "-u", "5:6").
			gives("name b /tmp 5 6\n")
	}},
	{"HOME is the user's, as the image has it", func(t *trial) {
		t.detached("echo $HOME; sleep 1000")
		t.printed("/root\n")
		t.do("exec", "-u", "1000", "c1", "sh", "-c", "echo $HOME").gives("/home/user\n")
		t.do("exec", "-u", "5", "c1", "sh", "-c", "echo $HOME").gives("/\n")
	}},
	{"limits of open files are its caller's, also in exec", func(t *trial) {
		t.detached("ulimit -n; sleep 1000")
		t.printed("\n")
		t.do("exec", "c1", "sh", "-c", "ulimit -n").gives(t.do("logs", "c1").stdout)
	}},
	{"exec passes on output and status", func(t *trial) {
		t.detached("sleep 1000")
		t.do("exec", "c1", "echo", "hello").gives("hello\n")
		t.do("exec", "c1", "sh", "-c", "exit 7").is(7)
		t.input("text\n", "exec", "-i", "c1", "cat").gives("text\n")
	}},
	{"exec of what cannot be run gives 126 or 127", func(t *trial) {
		t.detached("sleep 1000")
		t.do("exec", "c1", "/missing").is(126, 127) // docker 20: 126, later ones 127
		t.do("exec", "c1", "/etc/plain").is(126)
	}},
	{"exec takes user, environment and directory", func(t *trial) {
		t.detached("sleep 1000")
		t.do("exec", "-u", "1000", "-e", "A=b", "-w", "/tmp", "c1", "sh", "-c", "echo $(id -u) $A $(pwd)").gives("1000 b /tmp\n")
	}},
	{"exec -d goes on by itself", func(t *trial) {
		t.detached("sleep 1000")
		t.do("exec", "-d", "c1", "sh", "-c", "echo done > /tmp/file").is(0)
		t.until("the file is there", func() bool { return t.do("exec", "c1", "cat", "/tmp/file").stdout == "done\n" })
	}},
	{"exec -it has a terminal", func(t *trial) {
		t.detached("sleep 1000")
		on := t.onTerminal("exec", "-it", "c1", "sh", "-c", "tty; "+sized("30 90")+"echo ready; read x; echo got-$x; exit 9")
		on.shows("/dev/pts/")
		on.shows("ready")
		on.types("word\r")
		on.shows("got-word")
		on.ends(9)
	}},
	{"a detached container has a log", func(t *trial) {
		t.detached("echo one; echo two >&2; sleep 1000")
		t.printed("one\n")
	}},
	{"top lists its processes", func(t *trial) {
		t.detached("sleep 1000 & sleep 2000")
		t.until("both are there", func() bool {
			list := t.do("top", "c1").is(0).stdout
			return strings.Contains(list, "sleep 1000") && strings.Contains(list, "sleep 2000")
		})
	}},
	{"stats knows its memory and processes", func(t *trial) {
		t.detached("sleep 1000 & sleep 2000", "-m", "64m")
		t.do("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "c1").has(`^[0-9.]+[kKM]i?B / (64MiB|67.11MB) [23]\n$`)
	}},
	{"it ends with the status of its command, and wait tells", func(t *trial) {
		t.detached("exit 4")
		t.do("wait", "c1").gives("4\n")
		if s := t.inspect(".State.Status"); s != "exited" {
			t.fail("its status is %q", s)
		}
	}},
	{"stop sends SIGTERM", func(t *trial) {
		t.detached(trapping)
		t.printed("ready")
		t.do("stop", "c1").is(0)
		if n := t.inspect(".State.ExitCode"); n != "3" {
			t.fail("it ended with status %s, not 3", n)
		}
	}},
	{"stop kills what does not heed it", func(t *trial) {
		t.detached("trap : TERM; while :; do sleep 1000; done")
		t.do("stop", "-t", "1", "c1").is(0)
		if n := t.inspect(".State.ExitCode"); n != "137" {
			t.fail("it ended with status %s, not 137", n)
		}
	}},
	{"kill sends any signal", func(t *trial) {
		t.detached(trapping)
		t.printed("ready")
		t.do("kill", "-s", "USR1", "c1").is(0)
		t.printed("heard")
		t.do("kill", "c1").is(0)
		t.do("wait", "c1").gives("137\n")
	}},
	{"restart starts it anew", func(t *trial) {
		t.detached(trapping)
		t.printed("ready")
		before := t.inspect(".State.Pid")
		t.do("restart", "c1").is(0)
		if after := t.inspect(".State.Pid"); after == before || after == "0" {
			t.fail("its process was %s and is %s", before, after)
		}
	}},
	{"a created container can be removed, or started", func(t *trial) {
		t.do("create", "--name", "c1", "--network", "none", "bb", "echo", "hello").is(0)
		t.do("rm", "c1").is(0)
		t.do("create", "--name", "c1", "--network", "none", "bb", "echo", "hello").is(0)
		t.do("start", "-a", "c1").gives("hello\n")
	}},
	{"rm -f ends a running container", func(t *trial) {
		t.detached("sleep 1000")
		pid := t.inspect(".State.Pid")
		t.do("rm", "-f", "c1").is(0)
		t.until("its process is gone", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	}},
	{"pause stops it, and unpause lets it go on", func(t *trial) {
		t.detached("while :; do :; done")
		t.do("pause", "c1").is(0)
		if s := t.inspect(".State.Status"); s != "paused" {
			t.fail("its status is %q", s)
		}
		before := t.ticks()
		time.Sleep(300 * time.Millisecond) // in which a busy loop has thirty ticks
		if after := t.ticks(); after != before {
			t.fail("it was paused, and used the CPU: %s ticks, then %s", before, after)
		}
		t.do("unpause", "c1").is(0)
		t.until("it uses the CPU", func() bool { return t.ticks() != before })
	}},
	{"a paused container can be removed", func(t *trial) {
		t.detached("sleep 1000")
		t.do("pause", "c1").is(0)
		t.do("rm", "-f", "c1").is(0)
	}},
	{"limits of memory, processes and CPU are its cgroup's", func(t *trial) {
		t.quick(limits, "-m", "64m", "--pids-limit", "30", "--cpus", "0.5").gives("67108864 30 50000 100000\n")
	}},
	{"what takes more memory is killed", func(t *trial) {
		t.quick(`x=x; while :; do x=$x$x; done`, "-m", "16m", "--memory-swap", "16m").is(137)
	}},
	{"update changes the limits", func(t *trial) {
		t.detached("sleep 1000", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "30", "--cpus", "0.5")
		t.do("update", "-m", "80m", "--memory-swap", "80m", "--cpus", "0.25", "c1").is(0)
		t.do("exec", "c1", "sh", "-c", limits).gives("83886080 30 25000 100000\n")
	}},
	{"the default network has an address and a route", func(t *trial) {
		t.do("run", "--rm", "bb", "ip", "-4", "addr", "show", "eth0").has(`inet (172\.17|10\.88)\.`)
		t.do("run", "--rm", "bb", "ip", "route").has(`default via .* dev eth0`)
	}},
	{"containers reach each other, and a published port answers", func(t *trial) {
		t.do("run", "-d", "--name", "c1", "-p", "8080:80", "bb", "sh", "-c", "while :; do echo hello | nc -l -p 80; done").is(0)
		address := t.inspect(".NetworkSettings.IPAddress")
		t.until("it answers another container", func() bool {
			return t.do("run", "--rm", "bb", "nc", "-w", "2", address, "80").stdout == "hello\n"
		})
		t.until("it answers on the published port", func() bool {
			return t.run(nil, busybox, "nc", "-w", "2", "127.0.0.1", "8080").stdout == "hello\n"
		})
	}},
	{"it can join another's network and processes", func(t *trial) {
		t.detached("exec sleep 1000")
		t.do("run", "--rm", "--network", "container:c1", "--pid", "container:c1", "bb", "cat", "/proc/1/cmdline").gives("sleep\x001000\x00")
	}},
	{"with the host's processes, all of its own are killed", func(t *trial) {
		t.detached("sleep 3333 & sleep 3333", "--pid", "host")
		t.do("rm", "-f", "c1").is(0)
		t.until("none is left", func() bool { return t.run(nil, busybox, "pgrep", "-f", "sleep 3333").stdout == "" })
	}},
	{"volumes, tmpfs and a read-only root are as told", func(t *trial) {
		t.must(os.MkdirAll("/tmp/volume", 0o755))
		t.must(os.WriteFile("/tmp/volume/file", []byte("of the host\n"), 0o644))
		t.quick("cat /v/file; echo x 2>/dev/null >/v/new || echo read-only; echo x >/scratch/f && cat /scratch/f; echo x 2>/dev/null >/f || echo read-only",
			"--read-only", "-v", "/tmp/volume:/v:ro", "--tmpfs", "/scratch").gives("of the host\nread-only\nx\nread-only\n")
	}},
	{"capabilities, no_new_privs and seccomp are as told", func(t *trial) {
		const show = `echo $(grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status | cut -f 2)`
		t.quick(show, "--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges").gives("0000000000000001 1 2\n")
		t.quick(show, "--cap-drop", "ALL", "--security-opt", "seccomp=unconfined").gives("0000000000000000 0 0\n")
	}},
	{"a device and a sysctl are as told", func(t *trial) {
		t.quick("stat -c %t:%T /dev/mine; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
			"--device", "/dev/full:/dev/mine", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096").gives("1:7\n1\n4096\n")
	}},
	{"five start at the same time", func(t *trial) {
		var group sync.WaitGroup
		results := make([]result, 5)
		for i := range results {
			group.Go(func() {
				defer func() { _ = recover() }() // result i stays without a status
				results[i].status = -1
				results[i] = t.quick(fmt.Sprintf("echo %d; exit %d", i, i))
			})
		}
		group.Wait()
		for i, r := range results {
			if r.status != i || r.stdout != fmt.Sprintf("%d\n", i) {
				t.fail("number %d: status %d, printed %q and %q", i, r.status, r.stdout, r.stderr)
			}
		}
	}},
}
