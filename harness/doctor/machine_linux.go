package doctor

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"containers-from-scratch/harness/doctor/leftover"
	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// gatherKernel reads what only Linux has.
func (m *Machine) gatherKernel() {
	m.Kernel = readLine("/proc/sys/kernel/osrelease")
	if name := prettyName(readLine("/etc/os-release")); name != "" {
		m.System = name
	}
	if m.Place == "" {
		m.Place = readLine("/etc/containers-from-scratch") // which our templates write
	}
	m.Folder = sharedFolder(mounts(), workingDirectory())
	m.WSL = strings.Contains(strings.ToLower(m.Kernel), "microsoft")
	m.Container = containerKind()
	m.Root = os.Geteuid() == 0
	m.SysAdmin = hasCapability(readLine("/proc/self/status"), unix.CAP_SYS_ADMIN)
	m.Cgroups = probe.Hierarchies(mounts())
	m.MaxUserNS = readLine("/proc/sys/user/max_user_namespaces")
	m.UserNSClone = readLine("/proc/sys/kernel/unprivileged_userns_clone")
	m.AppArmor = readLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	m.KVM = kvm("/dev/kvm")
	m.Left = leftover.Cgroups()
	m.Bridge = leftover.Bridge()
}

// mounts are this machine's, none where /proc does not tell.
func mounts() []probe.Mount {
	list, _ := probe.Mounts()
	return list
}

// workingDirectory is where we are, "/" where that has no name.
func workingDirectory() string {
	dir, err := os.Getwd()
	if err != nil {
		return "/"
	}
	return dir
}

// sharedFolders are the filesystems by which a virtual machine has a folder of
// the machine it runs on: neither chown nor mknod, nor events of files.
var sharedFolders = []string{"9p", "virtiofs", "fuse.sshfs", "vboxsf", "drvfs", "fuse.vmhgfs-fuse"}

// sharedFolder tells which of these a directory lies in, "" when in none: the
// mount that is nearest counts, and of two on one place the later.
func sharedFolder(mounts []probe.Mount, dir string) string {
	var nearest probe.Mount
	for _, m := range mounts {
		below := m.Target == "/" || dir == m.Target || strings.HasPrefix(dir, m.Target+"/")
		if below && len(m.Target) >= len(nearest.Target) {
			nearest = m
		}
	}
	if slices.Contains(sharedFolders, nearest.Type) {
		return nearest.Type
	}
	return ""
}

// readLine returns the text of a small file without its last newline, "" when
// there is none to read.
func readLine(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

// initialPIDNS is what the machine's own PID namespace is called, by number:
// PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h.
const initialPIDNS = "pid:[4026531836]"

// containerKind knows the marks that engines leave; systemd's file is last,
// for it is also there in containers that boot, see systemd's container
// interface.
func containerKind() string {
	if pidNS, _ := os.Readlink("/proc/self/ns/pid"); pidNS == initialPIDNS {
		return "" // a VM made from an image has the marks too
	}
	for _, mark := range []struct{ path, kind string }{
		{"/.dockerenv", "docker"},
		{"/run/.containerenv", "podman"},
	} {
		if _, err := os.Stat(mark.path); err == nil {
			return mark.kind
		}
	}
	if kind := readLine("/run/systemd/container"); kind != "" && kind != "wsl" {
		return kind
	}
	return kindInCgroup(readLine("/proc/1/cgroup"))
}

// kindInCgroup finds an engine's name in the cgroup path of process 1, which
// shows it where the cgroup namespace is the host's.
func kindInCgroup(text string) string {
	for _, mark := range []struct{ part, kind string }{
		{"/docker", "docker"}, {"/libpod", "podman"}, {"/kubepods", "kubernetes"}, {"/lxc", "lxc"},
	} {
		if strings.Contains(text, mark.part) {
			return mark.kind
		}
	}
	return ""
}

// kvm opens the device, which alone shows whether this user may.
func kvm(device string) string {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return "there (vm says below whether it is fast)"
	case errors.Is(err, fs.ErrNotExist):
		return "none: a VM boots in 3 s instead of 1"
	case errors.Is(err, fs.ErrPermission):
		return withFix("not yours", "sudo usermod -aG kvm $USER, then log in again")
	}
	return err.Error()
}
