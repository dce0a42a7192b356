package doctor

import (
	"fmt"
	"slices"
	"strings"

	"containers-from-scratch/harness/probe"
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
	line("place", m.place())
	line("folder", m.folder())
	line("you", m.you())
	line("go", m.golang())
	if m.OS == "linux" {
		line("cgroups", m.cgroups())
		line("user ns", m.userNamespaces())
		line("kvm", m.KVM)
	}
	line("found", strings.Join(m.Programs, ", "))
	if len(m.Left) > 0 {
		line("left over", withFix("cgroups of runs that were killed", m.sudo("rmdir "+strings.Join(m.Left, " "))))
	}
	if m.Bridge {
		line("left over", withFix("bridge cfs0 of step 06, which may stay for the next run", m.sudo("ip link delete cfs0")))
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

// privileged mends what a container may not do.
const privileged = "docker run --privileged … (start this container anew)"

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

// place names one of harness/places.md, and what to do there.
func (m Machine) place() string {
	switch m.Place {
	case "":
		return ""
	case "lima":
		return withFix("Lima", "work in a clone on this machine's disk, not in the Mac's home")
	case "devcontainer":
		return withFix("a dev container", "sh .devcontainer/nest, if step 04 finds cgroups busy")
	case "codespaces":
		return withFix("Codespaces: no KVM, and step 05 as root only", "sh .devcontainer/nest, if step 04 finds cgroups busy")
	case "class":
		return "a machine of a class (cloud-init)"
	}
	return m.Place
}

// folder warns of a folder that another machine shares.
func (m Machine) folder() string {
	if m.Folder == "" {
		return ""
	}
	return withFix("shared by another machine ("+m.Folder+"): no chown, no mknod, slow", "git clone . ~/containers-from-scratch && cd ~/containers-from-scratch")
}

// you says what the first steps ask first: is this root, and a real one?
func (m Machine) you() string {
	switch {
	case m.OS != "linux":
		return ""
	case !m.Root:
		return "an ordinary user; what needs root runs with: go run -exec sudo ./steps/01-uts run sh"
	case !m.SysAdmin:
		return withFix("root without CAP_SYS_ADMIN, which every namespace but the user's needs", privileged)
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

// cgroups names the layout and says where step 04 finds what it limits.
func (m Machine) cgroups() string {
	versions := map[bool]bool{}  // those mounted; true is v2
	has := map[bool][]string{}   // which of the three each has
	var missing, locked []string // what neither has; what cannot be written to
	for _, h := range m.Cgroups {
		versions[h.V2] = true
	}
	for _, controller := range []string{"memory", "pids", "cpu"} {
		h := probe.With(controller, m.Cgroups)
		if h == nil {
			missing = append(missing, controller)
			continue
		}
		has[h.V2] = append(has[h.V2], controller)
		if h.ReadOnly && !slices.Contains(locked, h.Root) {
			locked = append(locked, h.Root)
		}
	}

	text := with("v1", has[false])
	switch {
	case len(versions) == 0:
		return withFix("none mounted", m.sudo("mount -t cgroup2 cgroup2 /sys/fs/cgroup"))
	case len(versions) == 2:
		text = "hybrid: " + with("v1", has[false]) + "; " + with("v2", has[true])
	case versions[true]:
		text = with("v2", has[true])
	}
	switch {
	case len(missing) > 0 && m.Container != "":
		return text + "; the container's engine keeps back " + enumerate(missing)
	case len(missing) > 0:
		fix := "a kernel that has them, or a container engine that shares them out"
		if slices.Contains(missing, "memory") { // which some distributions switch off
			fix = "boot with cgroup_enable=memory"
		}
		return withFix(text+"; missing: "+enumerate(missing), fix)
	case len(locked) > 0 && !m.SysAdmin && m.Container != "":
		return withFix(text+", read-only", privileged)
	case len(locked) > 0:
		var remount []string
		for _, root := range locked {
			remount = append(remount, m.sudo("mount -o remount,bind,rw "+root))
		}
		return withFix(text+", read-only", strings.Join(remount, "; "))
	case len(versions) == 2 && m.WSL:
		return withFix(text, "kernelCommandLine=cgroup_no_v1=all in .wslconfig, then wsl --shutdown (optional)")
	}
	return text + "; limits need root"
}

// with says which controllers a version of cgroups has.
func with(version string, controllers []string) string {
	if len(controllers) == 0 {
		return version + " without controllers"
	}
	return version + " with " + enumerate(controllers)
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// userNamespaces says who may make one: whether step 05 works without sudo.
// The order is that of the kernel's refusals: the first one alone is enough.
func (m Machine) userNamespaces() string {
	switch {
	case m.MaxUserNS == "":
		return "not in this kernel"
	case m.MaxUserNS == "0":
		return withFix("switched off, for root too", m.sudo("sysctl -w user.max_user_namespaces=10000"))
	case m.UserNSClone == "0":
		return withFix("for root only", m.sudo("sysctl -w kernel.unprivileged_userns_clone=1"))
	case m.AppArmor == "1":
		return withFix("for root only, AppArmor restricts ordinary users", m.sudo("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"))
	}
	return "for root and ordinary users"
}

// sudo makes a command one that the reader can paste.
func (m Machine) sudo(command string) string {
	if m.Root {
		return command
	}
	return "sudo " + command
}
