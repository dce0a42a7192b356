package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/internal/golden"
	"containers-from-scratch/harness/probe"
	"containers-from-scratch/harness/sandbox"
)

// yes and no are findings as the sandboxes word them.
func yes(place, reason string) Finding {
	return Finding{place, sandbox.Finding{OK: true, Reason: reason}}
}

func no(place, reason, fix string) Finding {
	return Finding{place, sandbox.Finding{Reason: reason, Fix: fix}}
}

const install = "sudo apt-get install podman runc"

func TestTheReportOf(t *testing.T) {
	v2 := []probe.Hierarchy{{Root: "/sys/fs/cgroup", V2: true, Controllers: []string{"cpu", "io", "memory", "pids"}}}
	v1 := []probe.Hierarchy{
		{Root: "/sys/fs/cgroup/memory", Controllers: []string{"memory"}},
		{Root: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}},
		{Root: "/sys/fs/cgroup/pids", Controllers: []string{"pids"}},
	}
	unified := probe.Hierarchy{Root: "/sys/fs/cgroup/unified", V2: true}
	linux := Machine{OS: "linux", Arch: "amd64", Go: "go1.26.8", Cgroups: v2, MaxUserNS: "63000",
		KVM: "there (vm says below whether it is fast)"}
	with := func(change func(m *Machine)) Machine {
		m := linux
		change(&m)
		return m
	}
	needsRoot := no("host", "needs root", "sudo -v && make test SANDBOX=host")
	noEngine := no("container", "docker: not installed; podman: not installed", install)
	noQEMU := no("vm", "qemu-system-x86_64 not found", "sudo apt-get install qemu-system-x86")
	aUser := yes("user", "a user namespace on this machine, without root")

	for name, test := range map[string]struct {
		machine  Machine
		findings []Finding
	}{
		"ubuntu-24.04-fresh": {
			with(func(m *Machine) {
				m.System, m.Kernel = "Ubuntu 24.04.3 LTS", "6.8.0-85-generic"
				m.Missing, m.AppArmor, m.UserNSClone = "some modules are not in the cache", "1", "1"
				m.KVM = "not yours → sudo usermod -aG kvm $USER, then log in again"
			}),
			[]Finding{noQEMU, noEngine, needsRoot, no("user", "AppArmor restricts user namespaces",
				"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")},
		},
		"debian-13": {
			with(func(m *Machine) {
				m.System, m.Kernel = "Debian GNU/Linux 13 (trixie)", "6.12.48+deb13-amd64"
				m.Programs, m.UserNSClone = []string{"qemu-system-x86_64"}, "1"
			}),
			[]Finding{yes("vm", "QEMU with KVM"), noEngine, needsRoot, aUser},
		},
		"wsl2": {
			with(func(m *Machine) {
				m.System, m.Kernel = "Ubuntu 22.04.5 LTS", "5.15.167.4-microsoft-standard-WSL2"
				m.Folder = "9p"
				m.WSL, m.Cgroups, m.KVM = true, append(v1, unified), "none: a VM boots in 3 s instead of 1"
				m.Programs = []string{"docker"}
			}),
			[]Finding{noQEMU, yes("container", "docker --privileged"), needsRoot, aUser},
		},
		"lima": {
			with(func(m *Machine) {
				m.System, m.Kernel, m.Arch = "Debian GNU/Linux 13 (trixie)", "6.12.48+deb13-cloud-arm64", "arm64"
				m.Place, m.Folder, m.KVM = "lima", "virtiofs", "none: a VM boots in 3 s instead of 1"
				m.Programs = []string{"qemu-system-aarch64", "podman"}
			}),
			[]Finding{yes("vm", "QEMU with TCG (no /dev/kvm)"), yes("container", "podman --privileged"), needsRoot, aUser},
		},
		"class": {
			with(func(m *Machine) {
				m.System, m.Kernel, m.Place = "Ubuntu 24.04.3 LTS", "6.8.0-85-generic", "class"
				m.AppArmor, m.Programs = "0", []string{"qemu-system-x86_64", "podman"}
			}),
			[]Finding{yes("vm", "QEMU with KVM"), yes("container", "podman --privileged"), needsRoot, aUser},
		},
		"devcontainer": {
			with(func(m *Machine) {
				m.System, m.Kernel, m.Container = "Debian GNU/Linux 13 (trixie)", "6.10.14-linuxkit", "docker"
				m.Place, m.Folder, m.Root, m.SysAdmin = "devcontainer", "virtiofs", true, true
				m.KVM, m.Programs = "none: a VM boots in 3 s instead of 1", []string{"qemu-system-x86_64"}
			}),
			[]Finding{yes("vm", "QEMU with TCG (no /dev/kvm)"), noEngine, yes("host", "namespaces on this machine, as root"), aUser},
		},
		"codespaces": {
			with(func(m *Machine) {
				m.System, m.Kernel, m.Container = "Debian GNU/Linux 13 (trixie)", "6.8.0-1030-azure", "docker"
				m.Place, m.Root, m.SysAdmin, m.AppArmor = "codespaces", true, true, "1"
				m.KVM, m.Programs = "none: a VM boots in 3 s instead of 1", []string{"qemu-system-x86_64"}
			}),
			[]Finding{yes("vm", "QEMU with TCG (no /dev/kvm)"), noEngine, yes("host", "namespaces on this machine, as root"), aUser},
		},
		"macos": {
			Machine{OS: "darwin", Arch: "arm64", System: "macOS", Go: "go1.26.8"},
			[]Finding{
				no("vm", "qemu-system-aarch64 not found", "brew install qemu"),
				no("container", "needs Linux", "make test SANDBOX=vm"),
				no("host", "needs Linux", "make test SANDBOX=vm"),
				no("user", "needs Linux", "make test SANDBOX=vm"),
			},
		},
		"docker-unprivileged": {
			with(func(m *Machine) {
				m.System, m.Kernel, m.Container = "Debian GNU/Linux 12 (bookworm)", "6.8.0-85-generic", "docker"
				m.Cgroups = []probe.Hierarchy{v2[0]}
				m.Cgroups[0].ReadOnly = true
				m.Root, m.KVM = true, "none: a VM boots in 3 s instead of 1"
			}),
			[]Finding{noQEMU, noEngine,
				no("host", "root without CAP_SYS_ADMIN, as in an unprivileged container", "docker run --privileged … (start this container anew)"),
				no("user", "parts of /proc are masked, so the kernel refuses a fresh one", "docker run --privileged … (start this container anew)")},
		},
		"hybrid-root": {
			with(func(m *Machine) {
				m.System, m.Kernel = "Debian GNU/Linux 12 (bookworm)", "6.18.44-fc-v669"
				m.Root, m.SysAdmin, m.Cgroups, m.Bridge = true, true, append(v1, unified), true
				m.Programs = []string{"qemu-system-x86_64", "docker", "podman"}
				m.Left = []string{"/sys/fs/cgroup/memory/container-4711-ab12", "/sys/fs/cgroup/pids/container-4711-ab12"}
			}),
			[]Finding{yes("vm", "QEMU with TCG (KVM is too slow here)"), yes("container", "podman with runc"),
				yes("host", "namespaces on this machine, as root"), aUser},
		},
		"laptop-userns-off": {
			with(func(m *Machine) {
				m.System, m.Kernel = "Fedora Linux 43", "6.17.4-300.fc43.x86_64"
				m.MaxUserNS = "0"
				m.Left = []string{"/sys/fs/cgroup/container-4711-ab12"}
			}),
			[]Finding{noQEMU, no("container", "docker: not installed; podman: not installed", "sudo dnf install podman"), needsRoot,
				no("user", "user namespaces are switched off", "sudo sysctl -w user.max_user_namespaces=10000")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			golden.Compare(t, "testdata/"+name+".golden", test.machine.Report(test.findings))
		})
	}
}

func TestACapabilityIsOneBitOfCapEff(t *testing.T) {
	require.True(t, hasCapability("Name:\tx\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n", 21))
	require.False(t, hasCapability("CapEff:\t00000000a80425fb\n", 21)) // docker's default
	require.False(t, hasCapability("", 21))
}

func TestTheSystemsNameIsInOSRelease(t *testing.T) {
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", prettyName("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"))
	require.Empty(t, prettyName(""))
}

func TestTheReportSaysWhereControllersAre(t *testing.T) {
	v2 := func(controllers ...string) probe.Hierarchy {
		return probe.Hierarchy{Root: "/sys/fs/cgroup", V2: true, Controllers: controllers}
	}
	v1 := func(controller string) probe.Hierarchy {
		return probe.Hierarchy{Root: "/sys/fs/cgroup/" + controller, Controllers: []string{"rw", controller}}
	}
	locked := func(h probe.Hierarchy) probe.Hierarchy {
		h.ReadOnly = true
		return h
	}
	for want, m := range map[string]Machine{
		"v1 with memory, pids and cpu; limits need root":                                         {Cgroups: []probe.Hierarchy{v1("memory"), v1("pids"), v1("cpu")}},
		"hybrid: v1 with memory; v2 with pids and cpu; limits need root":                         {Cgroups: []probe.Hierarchy{v1("memory"), v2("cpu", "pids")}},
		"v2 with pids and cpu; missing: memory → boot with cgroup_enable=memory":                 {Cgroups: []probe.Hierarchy{v2("cpu", "pids")}},
		"v2 with memory and pids; the container's engine keeps back cpu":                         {Container: "podman", Cgroups: []probe.Hierarchy{v2("memory", "pids")}},
		"v2 with memory, pids and cpu, read-only → mount -o remount,bind,rw /sys/fs/cgroup":      {Root: true, SysAdmin: true, Container: "docker", Cgroups: []probe.Hierarchy{locked(v2("memory", "pids", "cpu"))}},
		"none mounted → sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup":                            {},
		"v1 without controllers; missing: memory, pids and cpu → boot with cgroup_enable=memory": {Cgroups: []probe.Hierarchy{v1("name=systemd")}},
	} {
		require.Equal(t, want, m.cgroups())
	}
}
