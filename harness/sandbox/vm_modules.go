//go:build linux || darwin

package sandbox

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// vmModules are the kernel modules that a machine has loaded. Nothing is loaded
// on demand in it, so a feature that wants a module stands here; what it
// depends on is found. One that a kernel does not have, or has built in, is no
// error: nf_tables without nft_nat, say, would refuse a DNAT rule with ENOENT.
var vmModules = []string{
	"virtio_pci", "virtio_mmio", "virtio_console", // the channels
	"virtio_rng",
	"overlay",
	"veth", "bridge", "br_netfilter",
	"nft_chain_nat", "nft_masq", "nft_nat", "nft_ct",
	"nft_compat", "xt_MASQUERADE", // what iptables-nft writes
}

// A kernel is one that can be booted: an image and the modules made for it.
type kernel struct {
	version string // 6.1.0-56-cloud-amd64
	image   string // boot/vmlinuz-<version>
	modules string // lib/modules/<version>
}

// findKernel finds the newest kernel below dir that has its modules, where a
// Debian package puts them.
func findKernel(dir string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil {
		return kernel{}, err
	}
	slices.SortFunc(images, compareVersions)
	for _, image := range slices.Backward(images) {
		version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		for _, lib := range []string{"lib", "usr/lib"} { // Debian 13 says usr/lib
			modules := filepath.Join(dir, lib, "modules", version)
			if exists(modules) {
				return kernel{version, image, modules}, nil
			}
		}
	}
	return kernel{}, fmt.Errorf("no boot/vmlinuz-* with its lib/modules in %s", dir)
}

// checkCgroup refuses what a kernel was built without: Debian's 6.12 has no
// memory controller for cgroup v1, so that such a machine could not be made.
func (k kernel) checkCgroup(mode string) error {
	if mode == "" || mode == "v2" {
		return nil
	}
	config, err := os.ReadFile(filepath.Join(filepath.Dir(k.image), "config-"+k.version))
	if err == nil && bytes.Contains(config, []byte("# CONFIG_MEMCG_V1 is not set")) {
		return fmt.Errorf("kernel %s has no memory controller for CGROUP=%s", k.version, mode)
	}
	return nil // the mount will tell
}

var numbers = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// compareVersions orders names so that 6.1.0-9 comes before 6.1.0-56.
func compareVersions(a, b string) int {
	return slices.CompareFunc(numbers.FindAllString(a, -1), numbers.FindAllString(b, -1), func(a, b string) int {
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX == nil && errY == nil {
			return x - y
		}
		return strings.Compare(a, b)
	})
}

// A module is a kernel module, ready to be loaded.
type module struct {
	name    string
	content []byte
}

// loadOrder reads the wanted modules and all they depend on, in an order in
// which each finds its symbols. It does what depmod and modprobe would: a
// Debian package has no modules.dep, that is made where it is installed.
func loadOrder(dir string, wanted []string) ([]module, error) {
	files, err := moduleFiles(dir)
	if err != nil {
		return nil, err
	}
	var order []module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		file, ok := files[name]
		if seen[name] || !ok {
			return nil
		}
		seen[name] = true
		content, err := readModule(file)
		if err != nil {
			return err
		}
		before, err := moduleDepends(content)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		for _, dep := range before {
			if err := visit(dep); err != nil {
				return err
			}
		}
		order = append(order, module{name, content})
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleFiles finds the file of each module that is not built in.
func moduleFiles(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(file string, _ fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(file), ".ko"); ok {
			files[moduleName(name)] = file
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for kernel modules: %w", err)
	}
	return files, nil
}

// moduleName spells a name as the kernel does: xt-tcp.ko is module xt_tcp.
func moduleName(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "-", "_") }

// moduleDepends reads what must be loaded before a module: "depends=llc,stp"
// and "softdep=pre: crc32c" in its .modinfo section, see modinfo(8).
func moduleDepends(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseModinfo(info), nil
}

// parseModinfo is moduleDepends for the section's NUL-separated lines.
func parseModinfo(info []byte) (before []string) {
	for line := range strings.SplitSeq(string(info), "\x00") {
		if deps, ok := strings.CutPrefix(line, "depends="); ok && deps != "" {
			before = append(before, strings.Split(deps, ",")...)
		}
		if deps, ok := strings.CutPrefix(line, "softdep="); ok {
			_, pre, _ := strings.Cut(deps, "pre:")
			pre, _, _ = strings.Cut(pre, "post:")
			before = append(before, strings.Fields(pre)...)
		}
	}
	return before
}

// readModule reads a module and decompresses it, so that process 1 need not.
func readModule(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var content []byte
	switch filepath.Ext(file) {
	case ".gz":
		var z io.Reader
		if z, err = gzip.NewReader(bufio.NewReader(f)); err == nil {
			content, err = io.ReadAll(z)
		}
	case ".xz":
		content, err = decompress("xz", "xz-utils", f)
	case ".zst":
		content, err = decompress("zstd", "zstd", f)
	default:
		content, err = io.ReadAll(f)
	}
	if err != nil {
		return nil, fmt.Errorf("read kernel module %s: %w", file, err)
	}
	return content, nil
}

// decompress runs a program for a format that Go's library does not read.
func decompress(program, pkg string, f *os.File) ([]byte, error) {
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("%w: %s", err, vmInstall(pkg))
	}
	cmd := exec.Command(program, "-dc")
	cmd.Stdin = f
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s -dc: %w", program, withStderr(err))
	}
	return out, nil
}
