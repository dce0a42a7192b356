package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// gatherKernel reads what only Linux has.
func (m *Machine) gatherKernel() {
	m.Kernel = readLine("/proc/sys/kernel/osrelease")
	if name := prettyName(readLine("/etc/os-release")); name != "" {
		m.System = name
	}
	m.WSL = strings.Contains(strings.ToLower(m.Kernel), "microsoft")
	m.Container = containerKind()
	m.Root = os.Geteuid() == 0
	m.SysAdmin = hasCapability(readLine("/proc/self/status"), unix.CAP_SYS_ADMIN)
	m.Cgroup = cgroupMode("/sys/fs/cgroup")
	m.MaxUserNS = readLine("/proc/sys/user/max_user_namespaces")
	m.UserNSClone = readLine("/proc/sys/kernel/unprivileged_userns_clone")
	m.AppArmor = readLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	m.KVM = kvm("/dev/kvm")
	m.Left = leftCgroups("/sys/fs/cgroup")
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

// cgroupMode tells the three layouts apart by their file systems, as systemd
// does: what is mounted decides, not what the kernel could mount.
func cgroupMode(root string) string {
	if isType(root, unix.CGROUP2_SUPER_MAGIC) {
		return "v2"
	}
	v1, v2 := false, false
	trees, _ := filepath.Glob(filepath.Join(root, "*"))
	for _, tree := range trees {
		v1 = v1 || isType(tree, unix.CGROUP_SUPER_MAGIC)
		v2 = v2 || isType(tree, unix.CGROUP2_SUPER_MAGIC)
	}
	switch {
	case v1 && v2:
		return "hybrid"
	case v1:
		return "v1"
	}
	return "none"
}

// isType compares the file system at path with one of statfs(2)'s numbers.
func isType(path string, magic int64) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && int64(fs.Type) == magic
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

// leftCgroups finds container-<pid> at the top of every tree under root whose
// process is gone.
func leftCgroups(root string) (left []string) {
	for _, pattern := range []string{"container-*", "*/container-*"} {
		dirs, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, dir := range dirs {
			_, pid, _ := strings.Cut(filepath.Base(dir), "container-")
			n, err := strconv.Atoi(pid)
			if err == nil && n > 0 && errors.Is(unix.Kill(n, 0), unix.ESRCH) {
				left = append(left, dir)
			}
		}
	}
	return left
}
