package doctor

import (
	"fmt"
	"strings"
)

// Report is the page as text. It depends on nothing but its arguments, so the
// machines we do not have are tested too (testdata).
func (m Machine) Report(findings []Finding) string {
	var b strings.Builder
	b.WriteString("this machine\n")
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", label, text)
		}
	}
	line("system", m.system())
	line("you", m.you())
	line("go", m.golang())
	if m.OS == "linux" {
		line("cgroups", m.cgroups())
		line("user ns", m.userNamespaces())
		line("kvm", m.KVM)
	}
	line("found", strings.Join(m.Programs, ", "))
	if len(m.Left) > 0 {
		line("left over", withFix("cgroups of containers that are gone", "sudo rmdir "+strings.Join(m.Left, " ")))
	}

	b.WriteString("\nwhere tests can run\n")
	for _, f := range findings {
		if f.OK {
			fmt.Fprintf(&b, "  %-10s yes  %s\n", f.Place, f.Reason)
		} else {
			fmt.Fprintf(&b, "  %-10s no   %s\n", f.Place, withFix(f.Reason, f.Fix))
		}
	}

	if place := usable(findings); place != "" {
		fmt.Fprintf(&b, "\nready: make test-step 3 will use %s\n", place)
	} else {
		b.WriteString("\nnot ready: no sandbox works here; run one of the commands above, then make doctor again\n")
	}
	return b.String()
}

// withFix joins what is wrong with what mends it.
func withFix(reason, fix string) string {
	if fix == "" {
		return reason
	}
	return reason + " → " + fix
}

// system says what runs here, and inside what.
func (m Machine) system() string {
	parts := []string{m.System}
	if m.Kernel != "" {
		parts = append(parts, "kernel "+m.Kernel)
	}
	parts = append(parts, m.Arch)
	if m.WSL {
		parts = append(parts, "in WSL")
	}
	if m.Container != "" {
		parts = append(parts, "inside a container ("+m.Container+")")
	}
	return strings.Join(parts, ", ")
}

// you says what the first steps ask first: is this root, and a real one?
func (m Machine) you() string {
	switch {
	case m.OS != "linux":
		return ""
	case !m.Root:
		return "an ordinary user; what needs root runs with: go run -exec sudo ./steps/01-uts run sh"
	case !m.SysAdmin:
		return withFix("root without CAP_SYS_ADMIN, which every namespace but the user's needs", "docker run --privileged … (start this container anew)")
	}
	return "root"
}

// golang says which Go this is and whether a class can work offline.
func (m Machine) golang() string {
	if m.Missing == "" {
		return m.Go + ", all modules in the cache: works offline"
	}
	return withFix(m.Go+", "+m.Missing, "go mod download")
}

// cgroups names the layout, and in words what a hybrid is.
func (m Machine) cgroups() string {
	switch m.Cgroup {
	case "v2", "v1":
		return m.Cgroup
	case "hybrid":
		if m.WSL {
			return withFix("hybrid: v2 without its controllers, which are in v1",
				"kernelCommandLine=cgroup_no_v1=all in .wslconfig, then wsl --shutdown (optional)")
		}
		return "hybrid: v2 without its controllers, which are in v1"
	}
	return withFix("none mounted", "sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup")
}

// userNamespaces says whether step 05 works without sudo. The order is that
// of the kernel's refusals: the first one alone is enough.
func (m Machine) userNamespaces() string {
	switch {
	case m.MaxUserNS == "":
		return "not in this kernel"
	case m.MaxUserNS == "0":
		return withFix("switched off", "sudo sysctl -w user.max_user_namespaces=10000")
	case m.UserNSClone == "0":
		return withFix("for root only", "sudo sysctl -w kernel.unprivileged_userns_clone=1")
	case m.AppArmor == "1":
		return withFix("restricted by AppArmor for ordinary users", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
	}
	return "allowed"
}
