//go:build linux || darwin

package sandbox

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// A vm is the Place of machines that are virtual: QEMU, a Debian kernel, and
// this harness as process 1 (GuestVM). It asks for no privilege and nothing in
// it can spoil the host. The files of the package tell its story in this order:
//
//	vm.go           what is needed and how it is chosen
//	vm_fetch.go     kernel, busybox and bash from Debian's archive
//	vm_modules.go   which kernel modules, in which order
//	vm_initramfs.go the root file system, written by vm_cpio.go
//	vm_kvm*.go      is KVM there, and is it fast
//	vm_qemu.go      the QEMU process and its channels
//	vm_saved.go     a machine that has booted, kept for the next
//	vm_run.go       one job, seen from the host (vm_tty*.go: its terminal)
//	vm_guest*.go    process 1
//	vm_wire.go      what both ends say to each other
type vm struct{}

// Name is what SANDBOX= calls it.
func (vm) Name() string { return "vm" }

// A vmArch is what differs between architectures.
type vmArch struct {
	qemu, pkg string      // the program, and the Debian package that has it
	machine   elf.Machine // of static executables for it
	args      []string    // QEMU's machine
	tcgCPU    string      // the CPU that TCG emulates fastest
	console   string      // kernel parameters
}

var vmArches = map[string]vmArch{
	"amd64": {
		qemu: "qemu-system-x86_64", pkg: "qemu-system-x86", machine: elf.EM_X86_64,
		// Fewer features to emulate than "max", which takes a fifth longer to
		// boot; rdrand so that nothing waits for entropy.
		tcgCPU:  "qemu64,+rdrand",
		console: "console=ttyS0 reboot=t tsc=reliable no_timer_check",
	},
	"arm64": {
		qemu: "qemu-system-aarch64", pkg: "qemu-system-arm", machine: elf.EM_AARCH64,
		args:    []string{"-M", "virt"},
		tcgCPU:  "cortex-a72", // "max" has pointer authentication: four times slower
		console: "console=ttyAMA0",
	},
}

// arch returns the GOARCH that s asks for, and what is particular to it.
func (s Spec) arch() (string, vmArch, error) {
	name := s.Arch
	if name == "" {
		name = runtime.GOARCH
	}
	a, ok := vmArches[name]
	if !ok {
		return name, a, fmt.Errorf("no VM for ARCH=%s: use amd64 or arm64", name)
	}
	return name, a, nil
}

// Check finds QEMU, a kernel (in the cache, in KERNEL=, or a way to fetch one)
// and the accelerator. It downloads nothing, and boots nothing: only KVM can
// lie about being usable, and that is tried by running code on it.
func (vm) Check(s Spec) Finding {
	name, a, err := s.arch()
	if err != nil {
		return Finding{Reason: err.Error(), Fix: "ARCH=amd64"}
	}
	if _, err := exec.LookPath(a.qemu); err != nil {
		return Finding{Reason: a.qemu + " not found", Fix: vmInstall(a.pkg)}
	}
	if err := s.checkCgroup(); err != nil {
		return Finding{Reason: err.Error(), Fix: "CGROUP=v2"}
	}
	if k, err := findKernel(s.kernelDir(name)); err == nil {
		if err := k.checkCgroup(s.Cgroup); err != nil {
			return Finding{Reason: err.Error(), Fix: "CGROUP=v2, or KERNEL= with an older kernel"}
		}
	} else if s.Kernel != "" {
		return Finding{Reason: err.Error(), Fix: "unset KERNEL to use Debian's"}
	}
	for _, pkg := range s.packages(name) {
		if dir := packageDir(name, pkg); !exists(dir) {
			if _, err := exec.LookPath("apt-get"); err != nil {
				return Finding{
					Reason: fmt.Sprintf("%s is not in %s, and there is no apt-get to fetch it", pkg, filepath.Dir(dir)),
					Fix:    fmt.Sprintf("copy %s from a Debian machine that ran this once", filepath.Dir(dir)),
				}
			}
		}
	}
	accel, why, err := s.accel(name)
	if err != nil {
		return Finding{Reason: err.Error(), Fix: "ACCEL=tcg"}
	}
	if accel == "kvm" {
		return Finding{OK: true, Reason: "QEMU with KVM"}
	}
	return Finding{OK: true, Reason: fmt.Sprintf("QEMU with TCG (%s)", why)}
}

// vmInstall is the command that installs a Debian package; on macOS, Homebrew
// has every QEMU in one.
func vmInstall(pkg string) string {
	if runtime.GOOS == "darwin" {
		return "brew install qemu"
	}
	return "sudo apt-get install " + pkg
}

// checkCgroup refuses a CGROUP= that process 1 would not know.
func (s Spec) checkCgroup() error {
	switch s.Cgroup {
	case "", "v2", "v1", "hybrid":
		return nil
	}
	return fmt.Errorf("CGROUP=%s: use v2, v1 or hybrid", s.Cgroup)
}

// packages are the Debian packages a machine is made of.
func (s Spec) packages(arch string) []string {
	pkgs := []string{"busybox-static", "bash-static"}
	if s.Kernel == "" {
		pkgs = append(pkgs, defaultKernel(arch))
	}
	return pkgs
}

// kernelDir is where the kernel is, or will be once it is fetched.
func (s Spec) kernelDir(arch string) string {
	if s.Kernel != "" {
		return s.Kernel
	}
	return packageDir(arch, defaultKernel(arch))
}

// accel chooses QEMU's accelerator, and says why it is not KVM.
func (s Spec) accel(arch string) (accel, why string, err error) {
	switch s.Accel {
	case "kvm":
		return "kvm", "", nil
	case "tcg":
		return "tcg", "ACCEL=tcg", nil
	case "", "auto":
	default:
		return "", "", fmt.Errorf("ACCEL=%s: use auto, kvm or tcg", s.Accel)
	}
	if arch != runtime.GOARCH {
		return "tcg", "KVM runs no " + arch + " here", nil
	}
	if why := kvmVerdict(); why != "" {
		return "tcg", why, nil
	}
	return "kvm", "", nil
}

// Start fetches what is missing, builds the root file system and boots.
//
// Real, fast KVM is not verified yet: it has only been run against one that is
// too slow. A guest that stays silent under it is therefore booted again under
// TCG, and the verdict remembered.
func (vm) Start(s Spec) (Machine, error) {
	b, err := prepareVM(s)
	if err != nil {
		return nil, fmt.Errorf("start the test VM: %w", err)
	}
	if !exists(b.savedFile()) {
		say(s.Log, "booting the test VM (%s)", map[string]string{"kvm": "KVM", "tcg": "TCG, about 3 s"}[b.accel])
	}
	m, err := b.boot()
	if err != nil && b.accel == "kvm" && s.Accel != "kvm" {
		say(s.Log, "warning: the VM does not come up under KVM, using TCG: %v", firstLine(err))
		rememberKVM("the VM did not come up under KVM")
		b.accel = "tcg"
		m, err = b.boot()
	}
	if err != nil {
		return nil, fmt.Errorf("start the test VM: %w", err)
	}
	return m, nil
}

// A vmBoot is all that QEMU needs to know.
type vmBoot struct {
	vmArch
	accel          string
	kernel, initrd string // files
	cgroup         string // for process 1, by the kernel's command line
	cpus           int
}

// prepareVM turns a wish into files: it fetches, builds, or finds them cached.
func prepareVM(s Spec) (*vmBoot, error) {
	name, a, err := s.arch()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.checkCgroup(), checkSelf(s.Self, a.machine)); err != nil {
		return nil, err
	}
	accel, _, err := s.accel(name)
	if err != nil {
		return nil, err
	}
	if err := fetchPackages(name, s.Log, s.packages(name)...); err != nil {
		return nil, err
	}
	k, err := findKernel(s.kernelDir(name))
	if err != nil {
		return nil, err
	}
	if err := k.checkCgroup(s.Cgroup); err != nil {
		return nil, err
	}
	initrd, err := cachedInitramfs(name, k, s.Self)
	if err != nil {
		return nil, err
	}
	cgroup := s.Cgroup
	if cgroup == "" {
		cgroup = "v2"
	}
	return &vmBoot{vmArch: a, accel: accel, kernel: k.image, initrd: initrd, cgroup: cgroup, cpus: max(s.CPUs, 1)}, nil
}

// checkSelf refuses an executable that could not be process 1: the kernel
// would only say "Failed to execute /init (error -2)".
func checkSelf(path string, machine elf.Machine) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read process 1 of the VM: %w", err)
	}
	defer f.Close()
	if f.Machine != machine {
		return fmt.Errorf("%s is for %s, the VM is %s", path, f.Machine, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// say writes one line for whoever waits; no writer, no line.
func say(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, format+"\n", args...)
	}
}

// exists tells whether there is a file at path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
