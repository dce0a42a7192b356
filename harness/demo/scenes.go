// Package demo plays the demonstrations of make demo: a scene for each step, in
// two panes of tmux, the host on the left and a container on the right. In each
// the attack succeeds against the step before and fails against this one, and
// the host proves it.
package demo

// Host is where a Line runs that runs in no container.
const Host = "host"

// A Scene is the demonstration of one step.
type Scene struct {
	Title string
	Lines []Line
}

// A Line is one command of a scene.
type Line struct {
	In    string // Host, or the program that runs the container
	Say   string // what the instructor says before it, if anything
	Run   string // for a shell
	Shows string // all that it prints: a test runs it; "…" stands for what differs
}

// Scenes are the demonstrations by the number of their step.
var Scenes = map[int]Scene{
	1: {"a hostname of its own", []Line{
		{Host, "The name of this machine.", "hostname", "sandbox"},
		{"00-none", "Step 00 isolates nothing. The attack:", "hostname PWNED", ""},
		{Host, "It is the host that is renamed.", "hostname", "PWNED"},
		{Host, "", "hostname sandbox", ""},
		{"01-uts", "Step 01, the same attack:", "hostname PWNED; hostname", "PWNED"},
		{Host, "The proof: the host has its name.", "hostname", "sandbox"},
		{Host, "Two namespaces, two numbers.", "readlink /proc/self/ns/uts", "uts:[…"},
		{"01-uts", "", "readlink /proc/self/ns/uts", "uts:[…"},
	}},
	2: {"process numbers of its own", []Line{
		{Host, "A process of the host.", "sleep 7777 & echo $! >/victim", ""},
		{"01-uts", "In step 01 its number is known. The attack:", "kill $(cat /victim)", ""},
		{Host, "143 is 128 + 15: it was killed by SIGTERM.", "wait $! 2>/dev/null; echo $?", "143"},
		{Host, "Another one.", "sleep 7777 & echo $! >/victim", ""},
		{"02-pid", "Step 02, the same attack:", "kill $(cat /victim) 2>/dev/null || echo no such process", "no such process"},
		{"02-pid", "The shell is process 1 here.", "echo $$", "1"},
		{Host, "The proof: it lives.", "kill -0 $! && echo alive", "alive"},
		{Host, "", "kill $!; rm /victim", ""},
	}},
	3: {"files and mounts of its own", []Line{
		{"02-pid", "In step 02 the files are the host's. The attack:", "echo stolen >/made-inside; mount -t tmpfs none /mnt", ""},
		{Host, "The host has the file, and a mount more.", "cat /made-inside; grep -c ' /mnt ' /proc/mounts", "stolen\n1"},
		{Host, "", "umount /mnt; rm /made-inside", ""},
		{"03-mount", "Step 03, the same attack:", "echo stolen >/made-inside; mount -t tmpfs none /mnt; ls /made-inside", "/made-inside"},
		{Host, "The proof: neither is there.", "ls /made-inside 2>/dev/null; grep -c ' /mnt ' /proc/mounts", "0"},
		{"03-mount", "And /proc has one process.", "echo /proc/[0-9]*", "/proc/1"},
	}},
	4: {"limits", []Line{
		{"03-mount", "In step 03 the command takes what there is. The attack:", "{ dd if=/dev/zero of=/dev/null bs=100M count=1; } 2>/dev/null && echo took 100 MiB", "took 100 MiB"},
		{"04-cgroup", "Step 04, the same attack:", "{ dd if=/dev/zero of=/dev/null bs=100M count=1; } 2>/dev/null || echo killed", "killed"},
		{Host, "The proof: the cgroup, in bytes; on v1 the file has another name.", "cat /sys/fs/cgroup/container-*/memory.max /sys/fs/cgroup/memory/container-*/memory.limit_in_bytes 2>/dev/null", "67108864"},
		{"04-cgroup", "Of all this the container sees a root.", "cut -d : -f 3 /proc/self/cgroup | sort -u", "/"},
	}},
	5: {"root inside, nobody outside", []Line{
		{Host, "A secret, for root only.", "(umask 077; echo for root only >/secret)", ""},
		{"04-cgroup", "Root of step 04 is root. The attack:", "cat /secret", "for root only"},
		{"05-user", "Step 05, the same attack:", "cat /secret 2>/dev/null || echo refused", "refused"},
		{"05-user", "Yet it is root here.", "sleep 5555 & id -u", "0"},
		{Host, "The proof: what the host calls it.", "until p=$(grep -ls '555[5]' /proc/[0-9]*/cmdline); [ -n \"$p\" ]; do :; done; grep Uid ${p%cmdline}status | cut -f 2", "100000"},
		{Host, "", "rm /secret", ""},
	}},
	6: {"a network of its own", []Line{
		{Host, "A service that trusts whoever is on this machine.", "probe serve 127.0.0.1:8080 >/tmp/said & until grep -qs serving /tmp/said; do :; done", ""},
		{"05-user", "In step 05 that is the container, too. The attack:", "probe connect tcp:127.0.0.1:8080", "127.0.0.1"},
		{"06-net", "Step 06, the same attack:", "probe connect tcp:127.0.0.1:8080", "connection refused"},
		{"06-net", "The proof: another loopback, and a cable.", "grep -o '[a-z]*[0-9]*:' /proc/net/dev", "lo:\neth0:"},
		{Host, "Its other end hangs on a bridge.", "grep -o cfs0 /proc/net/dev", "cfs0"},
		{Host, "", "kill $!; rm /tmp/said", ""},
	}},
	7: {"no right that it does not need", []Line{
		{"06-net", "In step 06 root asks the kernel for what it likes. The attack:", "mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo refused", "mounted"},
		{"07-final", "Step 07, the same attack:", "mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo refused", "refused"},
		{"07-final", "", "sleep 4444 & id -u", "0"},
		{Host, "The proof: no new privileges, and a filter of system calls.", "until p=$(grep -ls '444[4]' /proc/[0-9]*/cmdline); [ -n \"$p\" ]; do :; done; grep -E 'NoNewPrivs|Seccomp:' ${p%cmdline}status | cut -f 2", "1\n2"},
	}},
}
