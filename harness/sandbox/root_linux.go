package sandbox

import (
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// required are the programs without which a machine is none.
var required = []string{"sh", "sleep"}

// wanted are the programs a machine has if this one has them.
var wanted = strings.Fields(`bash awk basename cat chgrp chmod chown chroot
	clear cp cut date dd df dirname du echo env expr false find free getent grep
	gzip head hostname id kill ln ls mkdir mkfifo mknod mktemp more mount mountpoint
	mv nproc nsenter od pgrep pkill printf ps pwd readlink realpath rm rmdir sed
	seq setpriv setsid sort stat stty sync tail tar tee test timeout top touch tr
	true tty umount uname uniq unshare wc which whoami xargs yes
	capsh ip nc ping ss sysctl`)

// terminals are those whose description a shell finds in the machine.
var terminals = strings.Fields("linux screen screen-256color tmux tmux-256color vt100 xterm xterm-256color")

// loaderCache names the libraries outside the loader's default directories. It
// is written anew when a library is installed, see ldconfig(8).
const loaderCache = "/etc/ld.so.cache"

// A program is one to copy: its name in the machine and its file on this one.
type program struct{ name, file string }

// machineRoot returns a directory with the root filesystem of a small machine,
// made of this one's programs. It is made once in the user's cache, and anew
// when a program changed.
func machineRoot() (dir string, err error) {
	return prepareRoot(cacheDir(), wanted)
}

// prepareRoot is machineRoot for any cache and any list of programs.
func prepareRoot(cache string, wanted []string) (dir string, err error) {
	programs, key, err := findPrograms(wanted)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "root-"+key)
	if err := os.MkdirAll(mountPoint(dir), 0o755); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		_ = os.Chtimes(dir, now, now) // in use, see removeOldRoots
		return dir, nil
	}
	// Made aside and renamed: another run may be looking for it right now, and
	// half a tree must never bear the name.
	tmp, err := os.MkdirTemp(cache, "tmp-root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := buildRoot(tmp, programs); err != nil {
		return "", fmt.Errorf("prepare the machine's root in %s: %w", tmp, err)
	}
	if err := giveTo(filepath.Dir(cache), cache); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err // another run that made the same tree is no error
	}
	removeOldRoots(cache)
	return dir, nil
}

// mountPoint is the empty directory beside the tree root on which a box mounts
// its root filesystem.
func mountPoint(root string) string { return filepath.Join(filepath.Dir(root), "mnt") }

// removeOldRoots removes the trees that nobody has used for a day: those of
// before an upgrade, and what a killed run left half made.
func removeOldRoots(cache string) {
	for _, pattern := range []string{"root-*", "tmp-root-*"} {
		dirs, _ := filepath.Glob(filepath.Join(cache, pattern))
		for _, dir := range dirs {
			if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
				_ = os.RemoveAll(dir) // may be another user's; the next run tries again
			}
		}
	}
}

// findPrograms looks the programs up, in the directories of root too, which an
// ordinary user's PATH may lack. The key changes with any of the files.
func findPrograms(wanted []string) (programs []program, key string, err error) {
	path := filepath.SplitList(os.Getenv("PATH"))
	path = append(path, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	sum := sha256.New()
	fmt.Fprintln(sum, "layout 1", required, wanted, terminals)
	if info, err := os.Stat(loaderCache); err == nil {
		fmt.Fprintln(sum, info.Size(), info.ModTime().UnixNano())
	}
	for _, name := range slices.Concat(required, wanted) {
		p, info := lookUp(name, path)
		if info == nil {
			if slices.Contains(required, name) {
				return nil, "", fmt.Errorf("look up %s in %s: not found", name, strings.Join(path, ":"))
			}
			continue
		}
		fmt.Fprintln(sum, p, info.Size(), info.ModTime().UnixNano())
		programs = append(programs, p)
	}
	return programs, fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

// lookUp finds an executable and follows its links to the file.
func lookUp(name string, path []string) (program, fs.FileInfo) {
	for _, dir := range path {
		file, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil || !filepath.IsAbs(file) {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return program{name, file}, info
		}
	}
	return program{}, nil
}

// buildRoot fills dir.
func buildRoot(dir string, programs []program) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chmod(".", 0o755); err != nil { // MkdirTemp makes it 0700
		return err
	}
	if err := makeSkeleton(root); err != nil {
		return err
	}
	for _, p := range programs {
		libs, err := Libraries(p.file)
		if err != nil && !slices.Contains(required, p.name) {
			continue // it cannot be read, or would not run here either
		}
		if err == nil {
			err = installProgram(root, p, libs)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// makeSkeleton makes the directories and the files of text.
func makeSkeleton(root *os.Root) error {
	for _, d := range strings.Fields("usr/bin usr/lib usr/lib64 dev etc mnt out proc root run sys tmp var") {
		if err := root.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// One directory under all its names, as distributions have it by now: so
	// each library is found where this machine's loader looks for it.
	for link, target := range map[string]string{
		"bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin",
		"lib": "usr/lib", "lib64": "usr/lib64", "var/run": "../run",
	} {
		if err := root.Symlink(target, link); err != nil {
			return err
		}
	}
	for file, text := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := root.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	optional := []string{loaderCache}
	for _, t := range terminals { // see terminfo(5); distributions differ in the directory
		optional = append(optional, "/lib/terminfo/"+t[:1]+"/"+t, "/usr/share/terminfo/"+t[:1]+"/"+t)
	}
	for _, file := range optional {
		if err := copyIn(root, file, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// installProgram copies a program and its libraries. A program of several names
// (busybox, or sh, which is dash) is copied once and linked.
func installProgram(root *os.Root, p program, libs []string) error {
	base := filepath.Base(p.file)
	at := "usr/bin/" + base
	if base != p.name {
		if err := root.Symlink(base, "usr/bin/"+p.name); err != nil {
			return err
		}
	}
	if _, err := root.Lstat(at); err == nil {
		return nil
	}
	if err := copyIn(root, at, p.file); err != nil {
		return err
	}
	if err := root.Chmod(at, 0o755); err != nil { // sudo's kind may be unreadable
		return err
	}
	for _, lib := range libs {
		if _, err := root.Stat(below(lib)); err == nil {
			continue
		}
		if err := copyIn(root, lib, lib); err != nil {
			return err
		}
	}
	return nil
}

// inList is a library in the loader's list:
//
//	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2b1c000000)
var inList = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// Libraries asks the program's own loader which libraries it would load, its
// own file among them, see ld.so(8). A static program and a script have none.
func Libraries(file string) ([]string, error) {
	f, err := elf.Open(file)
	if errors.As(err, new(*elf.FormatError)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".interp")
	if section == nil {
		return nil, nil
	}
	name, err := section.Data()
	if err != nil {
		return nil, err
	}
	loader := strings.TrimRight(string(name), "\x00")
	cmd := exec.Command(loader, "--list", file)
	cmd.Env = []string{} // no LD_PRELOAD
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	libs := []string{loader}
	for _, m := range inList.FindAllSubmatch(list, -1) {
		libs = append(libs, string(m[1]))
	}
	return libs, nil
}

// ProgramFiles are the files that one of this machine's programs needs in
// another: itself in dir, and its libraries where its loader looks for them.
func ProgramFiles(name, dir string) (map[string]string, error) {
	p, info := lookUp(name, append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin"))
	if info == nil {
		return nil, fmt.Errorf("%s is not installed", name)
	}
	libs, err := Libraries(p.file)
	if err != nil {
		return nil, err
	}
	files := map[string]string{filepath.Join(dir, name): p.file}
	for _, lib := range libs {
		if lib != p.file {
			files[lib] = lib
		}
	}
	return files, nil
}
