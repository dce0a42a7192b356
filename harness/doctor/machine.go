package doctor

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"containers-from-scratch/harness/probe"
)

// A Machine is what the report needs to know about one. Its fields are facts
// as read; what they mean is Report's business.
type Machine struct {
	OS, Arch string // GOOS and GOARCH
	System   string // "Debian GNU/Linux 12 (bookworm)"
	Kernel   string // "6.1.0-56-cloud-amd64"
	WSL      bool
	// Container is the kind of container all this runs in: "docker",
	// "podman", "lxc"…; "" is none.
	Container string
	// Place is one that harness/places.md tells of: "lima", "class",
	// "devcontainer", "codespaces"; "" is none of these, or unknown.
	Place string
	// Folder is the kind of shared folder that we are in: "9p", "virtiofs"; ""
	// is a disk of this machine.
	Folder string

	Root     bool // effective user id 0
	SysAdmin bool // CAP_SYS_ADMIN is effective

	Go      string // "go1.26.8"
	Missing string // why Go cannot work offline, "" if it can

	Cgroups []probe.Hierarchy // the trees that are mounted

	// The settings that can forbid user namespaces; "" where there is no such
	// setting.
	MaxUserNS   string // user.max_user_namespaces
	UserNSClone string // kernel.unprivileged_userns_clone (Debian)
	AppArmor    string // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)

	KVM      string   // what /dev/kvm is; whether it is fast is vm's finding
	Programs []string // engines and emulators in PATH

	// Left are the empty cgroups of runs that are gone: the contract lets one
	// stay after a SIGKILL. Bridge is that of step 06, without a container.
	Left   []string
	Bridge bool
}

// Gather reads the facts of this machine.
func Gather() Machine {
	m := Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(),
		System:  map[string]string{"darwin": "macOS", "windows": "Windows"}[runtime.GOOS],
		Missing: missingModules(),
	}
	if m.System == "" {
		m.System = runtime.GOOS
	}
	for _, name := range []string{"qemu-system-x86_64", "qemu-system-aarch64", "docker", "podman"} {
		if _, err := exec.LookPath(name); err == nil {
			m.Programs = append(m.Programs, name)
		}
	}
	if m.Place = os.Getenv("CFS_PLACE"); os.Getenv("CODESPACES") == "true" {
		m.Place = "codespaces" // a dev container, too
	}
	m.gatherKernel()
	return m
}

// missingModules asks Go, with the network forbidden, whether every module
// that go.mod names is in the module cache.
func missingModules() string {
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOTOOLCHAIN=local")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return ""
	case ctx.Err() != nil:
		return "the module cache did not answer in time"
	case strings.Contains(string(out), "GOPROXY=off"):
		return "some modules are not in the cache"
	}
	return "go mod download fails: " + strings.TrimSpace(strings.Split(string(out)+err.Error(), "\n")[0])
}

// prettyName finds PRETTY_NAME in an os-release(5) file.
func prettyName(osRelease string) string {
	for line := range strings.Lines(osRelease) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// hasCapability looks a capability up in the text of /proc/self/status, see
// proc_pid_status(5):
//
//	CapEff:	000001fffeffffff
func hasCapability(status string, number int) bool {
	_, text, _ := strings.Cut(status, "CapEff:")
	text, _, _ = strings.Cut(text, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	return err == nil && set&(1<<number) != 0
}
