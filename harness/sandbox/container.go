//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// container makes machines as privileged containers of docker or podman.
//
// Process 1 of such a container is the harness itself (GuestContainer), which
// turns the engine's container into the machine every sandbox gives. It lives
// as long as the launcher holds its standard input open: however the launcher
// ends, the container ends too, and --rm takes it away.
type container struct{}

// Name is what SANDBOX= calls this place.
func (container) Name() string { return "container" }

// Check starts a machine in the first way that works and remembers that way
// until the next boot: a second Check only asks whether the engine is there.
func (container) Check(spec Spec) Finding {
	if f := onlyInVM(spec); f.Reason != "" {
		return f
	}
	if v, ok := rememberedVariant(); ok && engineAnswers(v.engine) == nil {
		return Finding{OK: true, Reason: v.name}
	}
	m, v, failures := startFirst(spec, variants)
	if m == nil {
		return Finding{Reason: failures.String(), Fix: failures.fix(installPodman(exec.LookPath))}
	}
	if err := m.Close(); err != nil {
		return Finding{Reason: err.Error()}
	}
	rememberVariant(v)
	return Finding{OK: true, Reason: v.name}
}

// Start makes a machine, in the remembered way if there is one. That way may
// have stopped working since, so the others are tried after it.
func (container) Start(spec Spec) (Machine, error) {
	if f := onlyInVM(spec); f.Reason != "" {
		return nil, fmt.Errorf("start a container: %s", f.Reason)
	}
	tries := variants
	if v, ok := rememberedVariant(); ok {
		tries = append([]variant{v}, variants...)
	}
	m, v, failures := startFirst(spec, tries)
	if m == nil {
		return nil, fmt.Errorf("start a container: %s", failures)
	}
	rememberVariant(v)
	return m, nil
}

// onlyInVM refuses what a container cannot have: it runs on this machine's
// kernel. The zero Finding is no refusal.
func onlyInVM(spec Spec) Finding {
	for _, wish := range []struct{ name, value, own string }{
		{"ARCH", strings.TrimPrefix(spec.Arch, runtime.GOARCH), "architecture"},
		{"CGROUP", spec.Cgroup, "cgroups"},
		{"KERNEL", spec.Kernel, "kernel"},
	} {
		if wish.value != "" {
			return Finding{
				Reason: "has this machine's " + wish.own,
				Fix:    "make test SANDBOX=vm " + wish.name + "=" + wish.value,
			}
		}
	}
	return Finding{}
}

// startFirst tries one variant after the other. An engine that does not
// answer is asked once and then passed over.
func startFirst(spec Spec, tries []variant) (*containerMachine, variant, engineFailures) {
	var failures engineFailures
	answers := map[string]error{}
	for _, v := range tries {
		err, asked := answers[v.engine]
		if !asked {
			if err = rootless(v.engine); err == nil {
				err = engineAnswers(v.engine)
			}
			answers[v.engine] = err
			if err != nil {
				failures = append(failures, engineFailure{v.engine, err, false})
			}
		}
		if err != nil {
			continue
		}
		m, err := startContainer(v, spec)
		if err == nil {
			return m, v, failures
		}
		failures = append(failures, engineFailure{v.name, err, true})
	}
	return nil, variant{}, failures
}

// rootless refuses podman as an ordinary user where it cannot limit anything:
// the attempt would leave a process behind that waits for containers to come.
func rootless(engine string) error {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers") // only a pure v2 has it
	if engine == "podman" && os.Geteuid() > 0 && err != nil {
		return errors.New("without root it needs cgroup v2")
	}
	return nil
}

// An engineFailure is why one engine, or one variant of it, gave no machine.
type engineFailure struct {
	what    string // engine or variant
	err     error
	answers bool // the engine is there, the container failed
}

type engineFailures []engineFailure

// String tells all failures in one line, as a Finding wants it.
func (fs engineFailures) String() string {
	var parts []string
	for _, f := range fs {
		parts = append(parts, f.what+": "+f.err.Error())
	}
	return strings.Join(parts, "; ")
}

// fix names the command that is most likely to help: what is installed is
// mended first; podman, which has no daemon, is what to install otherwise.
func (fs engineFailures) fix(install string) string {
	for _, f := range fs {
		switch {
		case f.answers:
			return "make test SANDBOX=vm"
		case errors.Is(f.err, errNotInstalled):
		case strings.Contains(f.err.Error(), "permission denied"):
			return "sudo usermod -aG docker $USER, then log in again"
		case f.what == "docker":
			return "sudo systemctl start docker, or " + install
		}
	}
	return install
}

// installPodman is the command for the first package manager that find finds.
func installPodman(find func(string) (string, error)) string {
	for _, manager := range []struct{ program, command string }{
		{"apt-get", "sudo apt-get install podman runc"},
		{"dnf", "sudo dnf install podman"},
		{"zypper", "sudo zypper install podman"},
		{"pacman", "sudo pacman -S podman"},
		{"apk", "sudo apk add podman"},
	} {
		if _, err := find(manager.program); err == nil {
			return manager.command
		}
	}
	return "install podman"
}

// errNotInstalled is for an engine that is not in PATH.
var errNotInstalled = errors.New("not installed")

// engineAnswers says whether engine is installed and serves us. A docker
// client without its daemon is common: it must be told apart at once, before
// a machine root is built for it.
func engineAnswers(engine string) error {
	path, err := exec.LookPath(engine)
	if err != nil {
		return errNotInstalled
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = output(exec.CommandContext(ctx, path, "version"))
	if ctx.Err() != nil {
		return errors.New("no answer within 5 s")
	}
	return err
}

// output runs cmd and returns what it printed; a failure carries the last
// line of its stderr, where engines put the reason.
func output(cmd *exec.Cmd) (string, error) {
	var last lastLine
	cmd.Stderr = &last
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(out), last.explain(err)
}

// rememberedVariant returns the variant that worked since the last boot.
func rememberedVariant() (variant, bool) {
	data, err := os.ReadFile(variantMemory())
	if err != nil {
		return variant{}, false
	}
	boot, name, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	for _, v := range variants {
		if boot != "" && boot == bootID() && v.name == name {
			return v, true
		}
	}
	return variant{}, false
}

// rememberVariant is a convenience: failing to write costs time, not truth.
func rememberVariant(v variant) {
	if old, ok := rememberedVariant(); ok && old.name == v.name {
		return
	}
	if boot := bootID(); boot != "" {
		_ = os.MkdirAll(filepath.Dir(variantMemory()), 0o755)
		_ = os.WriteFile(variantMemory(), []byte(boot+" "+v.name+"\n"), 0o644)
	}
}

// variantMemory is the file that holds the boot id and the variant's name.
func variantMemory() string { return filepath.Join(cacheDir(), "container-variant") }
