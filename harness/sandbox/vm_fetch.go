//go:build linux || darwin

package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cacheDir is where all that the VM downloads or builds is kept: CFS_CACHE, or
// the user's own cache. Deleting it is always safe.
func cacheDir() string {
	if dir := os.Getenv("CFS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil { // no HOME
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	return filepath.Join(dir, "containers-from-scratch")
}

// packageDir is where a Debian package lies, unpacked and complete, if it is
// there at all.
func packageDir(arch, pkg string) string { return filepath.Join(cacheDir(), arch, pkg) }

// defaultKernel is Debian's meta package of the smallest kernel for an
// architecture, one that has the drivers of virtual machines and no others.
func defaultKernel(arch string) string { return "linux-image-cloud-" + arch }

// FetchKernel fetches another kernel than the default one and returns the
// directory to give as KERNEL=. The name is a package's, or a regular
// expression of which the newest match is taken: "linux-image-6.12-cloud-amd64"
// in Debian 12, where 6.1 is the default.
func FetchKernel(name, arch string, log io.Writer) (dir string, err error) {
	if err := withFetchLock(arch, func() error {
		apt := aptGet{arch: arch}
		name, err = apt.find(name)
		return err
	}); err != nil {
		return "", err
	}
	if err := fetchPackages(arch, log, name); err != nil {
		return "", err
	}
	return packageDir(arch, name), nil
}

// FetchBusybox fetches Debian's static busybox, which is in every VM too, and
// returns its file: a root filesystem in one program.
func FetchBusybox(arch string, log io.Writer) (file string, err error) {
	if arch == "" {
		arch = runtime.GOARCH
	}
	if err := fetchPackages(arch, log, "busybox-static"); err != nil {
		return "", err
	}
	return filepath.Join(packageDir(arch, "busybox-static"), "bin", "busybox"), nil
}

// withFetchLock runs f while no other process fetches for arch: whoever waited
// finds the work done, and what lies half done is nobody's.
func withFetchLock(arch string, f func() error) error {
	if err := os.MkdirAll(packageDir(arch, ""), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(packageDir(arch, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // and so unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f()
}

// fetchPackages brings packages into the cache that are not there. It needs no
// root: apt-get downloads and checks signatures, dpkg -x unpacks.
func fetchPackages(arch string, log io.Writer, pkgs ...string) error {
	there := func(pkg string) bool { return exists(packageDir(arch, pkg)) }
	if !slices.ContainsFunc(pkgs, func(p string) bool { return !there(p) }) {
		return nil
	}
	return withFetchLock(arch, func() error {
		apt := aptGet{arch: arch}
		for _, pkg := range pkgs {
			if there(pkg) {
				continue
			}
			if err := apt.fetch(pkg, log); err != nil {
				return fmt.Errorf("fetch Debian's %s: %w", pkg, err)
			}
		}
		return nil
	})
}

// An aptGet asks Debian's archive for packages of one architecture.
type aptGet struct {
	arch     string
	options  []string // for a state of our own; nil is the machine's
	prepared bool
}

// run runs one of apt's programs and returns what it printed.
func (a *aptGet) run(dir, program string, args ...string) (string, error) {
	cmd := exec.Command(program, append(slices.Clip(a.options), args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), withStderr(err))
	}
	return string(out), nil
}

// withStderr adds a command's last line of complaint to its exit status.
func withStderr(err error) error {
	if e, ok := err.(*exec.ExitError); ok && len(e.Stderr) > 0 {
		lines := strings.Split(strings.TrimSpace(string(e.Stderr)), "\n")
		return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return err
}

// prepare makes sure that there are lists which know pkg. Where the machine's
// do not, because they are empty (as in container images) or for another
// architecture, lists are fetched into a state of our own, once.
func (a *aptGet) prepare(pkg string) error {
	if a.prepared {
		return nil
	}
	a.prepared = true
	if a.arch == runtime.GOARCH {
		if _, err := a.run("", "apt-cache", "show", pkg); err == nil {
			return nil
		}
	}
	return a.ownState()
}

// find returns the name of the newest package that pattern matches, a
// package's own name first.
func (a *aptGet) find(pattern string) (string, error) {
	if err := a.prepare("busybox-static"); err != nil {
		return "", err
	}
	name, err := a.search(pattern)
	if name == "" && err == nil {
		err = fmt.Errorf("no package for %s is called %q", a.arch, pattern)
	}
	return name, err
}

// search is find in the lists that are there; "" is no package.
func (a *aptGet) search(pattern string) (string, error) {
	out, err := a.run("", "apt-cache", "pkgnames")
	if err != nil {
		return "", err
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return "", err
	}
	var names []string
	for _, name := range strings.Fields(out) {
		if name == pattern {
			names = []string{name}
			break
		}
		if re.MatchString(name) && !strings.HasSuffix(name, "-dbg") && !strings.HasSuffix(name, "-unsigned") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareVersions)
	// A name that nothing provides any more is no package: take one that is.
	for _, name := range slices.Backward(names) {
		if out, err := a.run("", "apt-cache", "show", "--no-all-versions", name); err == nil && out != "" {
			return name, nil
		}
	}
	return "", nil
}

// ownState downloads package lists into the cache, because the machine's own
// are root's. It fails only if no list came at all: then search finds nothing.
func (a *aptGet) ownState() error {
	dir := packageDir(a.arch, "apt")
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return err
	}
	a.options = []string{
		"-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures=" + a.arch,
		"-o", "Dir::State=" + dir, "-o", "Dir::State::lists=" + dir + "/lists",
		"-o", "Dir::State::status=" + dir + "/status", "-o", "Dir::Cache=" + dir + "/cache",
	}
	if list := "/etc/apt/sources.list.d/debian.sources"; exists(list) {
		a.options = append(a.options, "-o", "Dir::Etc::sourcelist="+list, "-o", "Dir::Etc::sourceparts=/dev/null")
	}
	_, err := a.run("", "apt-get", "-o", "APT::Sandbox::User=", "update")
	if lists, _ := filepath.Glob(dir + "/lists/*_Packages*"); len(lists) > 0 {
		return nil
	}
	return err
}

// fetch downloads and unpacks one package. The last act is a rename, so that a
// directory with the package's name is complete or is not there.
func (a *aptGet) fetch(pkg string, log io.Writer) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w: copy %s from a Debian machine that ran this once", err, filepath.Dir(packageDir(a.arch, pkg)))
	}
	if err := a.prepare(pkg); err != nil {
		return err
	}
	names, err := a.real(pkg)
	if err != nil {
		return err
	}
	dir := packageDir(a.arch, pkg)
	part := dir + ".part" // ours alone: see withFetchLock
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := os.MkdirAll(part, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		if err := a.unpack(name, part, dir, log); err != nil {
			return err
		}
	}
	return os.Rename(part, dir)
}

// unpack downloads the package name and unpacks it into part, soon to be dir.
func (a *aptGet) unpack(name, part, dir string, log io.Writer) error {
	uri, err := a.run(part, "apt-get", "--print-uris", "download", name)
	if err != nil {
		return err
	}
	size := 0 // 'http://…/x.deb' x.deb 26734020 SHA256:…
	if f := strings.Fields(uri); len(f) == 4 {
		fmt.Sscan(f[2], &size)
	}
	say(log, "fetching Debian's %s (%.0f MB) into %s", name, float64(size)/1e6, dir)
	if _, err := a.run(part, "apt-get", "-o", "APT::Sandbox::User=", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", name, len(debs))
	}
	if _, err := (&aptGet{}).run(part, "dpkg", "-x", debs[0], part); err != nil {
		return err
	}
	return os.Remove(debs[0])
}

// kernelPackage matches the packages that hold a kernel or its modules: Debian
// has both in one, Ubuntu (not verified) in two.
var kernelPackage = regexp.MustCompile(`^linux-(image|modules)-[0-9]`)

// real resolves a meta package: linux-image-cloud-amd64 is 1.5 KB and depends
// on the kernel it stands for. Any other package stands for itself.
func (a *aptGet) real(pkg string) ([]string, error) {
	if !strings.HasPrefix(pkg, "linux-image-") {
		return []string{pkg}, nil
	}
	out, err := a.run("", "apt-cache", "depends", "--important", pkg)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if dep, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && kernelPackage.MatchString(dep) {
			names = append(names, dep)
		}
	}
	if len(names) == 0 {
		return []string{pkg}, nil
	}
	for _, name := range slices.Clone(names) { // one level more for Ubuntu's modules
		more, err := a.real(name)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
