package engines

import (
	"fmt"
	"os"
)

// startPodman prepares files of its own for podman, which has no daemon.
func startPodman(runtime string) (*engine, error) {
	const dir = "/box/podman"
	containers := dir + "/containers.conf"
	storage := dir + "/storage.conf"
	// A limit of processes or files is more than a root without CAP_SYS_RESOURCE
	// may raise, see setrlimit(2).
	if err := writeConfig("containers.conf", containers, "[containers]\ndefault_ulimits = []\n", runtime); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%s/graph\"\nrunroot = \"%[1]s/run\"\n", dir)
	if err := os.WriteFile(storage, []byte(text), 0o644); err != nil {
		return nil, err
	}
	e := &engine{
		name: "podman", runtime: runtime, checks: append(shared, podmanOnly...),
		cli: []string{"podman", "--log-level", "error", "--events-backend", "file"},
		env: []string{"CONTAINERS_CONF=" + containers, "CONTAINERS_STORAGE_CONF=" + storage},
	}
	why := e.try(check{"imports an image", func(t *trial) {
		t.do("import", "-c", `CMD ["/bin/sh"]`, archive, "bb").is(0)
	}})
	if why != "" {
		return nil, fmt.Errorf("import an image: %s", why)
	}
	return e, nil
}

// podmanOnly are checks of what docker has not, or only by a daemon's options.
var podmanOnly = []check{
	{"info names the runtime", func(t *trial) {
		t.do("info", "--format", "{{.Host.OCIRuntime.Path}}").gives(t.runtime + "\n")
	}},
	{"a user namespace of its own has its mappings", func(t *trial) {
		t.quick(`echo $(cat /proc/self/uid_map) $(id -u); touch /tmp/f && stat -c %u /tmp/f`,
			"--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000").gives("0 100000 1000 0\n0\n")
	}},
	{"exec works in a user namespace", func(t *trial) {
		t.detached("sleep 1000", "--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000")
		t.do("exec", "c1", "sh", "-c", "id -u; cat /proc/self/uid_map | wc -l").gives("0\n1\n")
	}},
	{"--privileged sees devices and all capabilities", func(t *trial) {
		t.quick(`[ -e /dev/full ] && grep -q "Seccomp:.0" /proc/self/status && echo yes`, "--privileged").gives("yes\n")
	}},
	{"a pod shares a network", func(t *trial) {
		t.do("run", "-d", "--name", "c1", "bb", "sh", "-c", "while :; do echo hello | nc -l -p 80; done").is(0)
		t.until("it answers a neighbour on 127.0.0.1", func() bool {
			return t.do("run", "--rm", "--network", "container:c1", "bb", "nc", "-w", "2", "127.0.0.1", "80").stdout == "hello\n"
		})
	}},
}
