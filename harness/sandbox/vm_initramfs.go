//go:build linux || darwin

package sandbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// moduleDir holds the modules in the machine, numbered in their load order.
const moduleDir = "lib/modules/load"

// vmDirs are the directories of the machine's root, parents first.
var vmDirs = []string{
	"dev", "etc", "home", "lib", "lib/modules", moduleDir, "mnt", "newroot", "opt",
	"proc", "run", "srv", "sys", "tmp", "usr", "usr/bin", "usr/lib", "var", "var/lib", "var/log",
}

// vmFiles are the few files that programs of a machine expect.
var vmFiles = map[string]string{
	"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n" +
		"user:x:1000:1000:user:/home:/bin/bash\n" +
		"nobody:x:65534:65534:nobody:/:/bin/sh\n",
	"etc/group":    "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
	"etc/hostname": "sandbox\n",
	"etc/hosts":    "127.0.0.1 localhost sandbox\n::1 localhost\n",
	"etc/shells":   "/bin/sh\n/bin/bash\n",
	"etc/profile":  "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nPS1='\\u@\\h:\\w\\$ '\n",
}

// cachedInitramfs returns the file with the root file system for these inputs,
// and makes it if no earlier run did: decompressing modules takes its time.
func cachedInitramfs(arch string, k kernel, self string) (string, error) {
	busybox := filepath.Join(packageDir(arch, "busybox-static"), "bin", "busybox")
	bash := filepath.Join(packageDir(arch, "bash-static"), "bin", "bash-static")
	key := sha256.New()
	fmt.Fprintln(key, vmModules, vmDirs, vmFiles) // fmt sorts maps
	for _, file := range []string{k.image, busybox, bash} {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(key, file, info.Size(), info.ModTime().UnixNano())
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	key.Write(content)

	file := packageDir(arch, fmt.Sprintf("initramfs-%x.cpio", key.Sum(nil)[:10]))
	now := time.Now()
	if os.Chtimes(file, now, now) == nil { // there; and now used, see forgetOld
		return file, nil
	}
	// A new file and a rename: somebody else may be making the same one.
	f, err := os.CreateTemp(filepath.Dir(file), "initramfs-*.part")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	err = errors.Join(writeInitramfs(f, k, busybox, bash, content), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return "", fmt.Errorf("make the VM's root file system: %w", err)
	}
	forgetOld(filepath.Join(filepath.Dir(file), "initramfs-*"), 8)
	return file, nil
}

// forgetOld removes all files that match but the newest few. Each build of the
// harness makes one; the newest may be booting right now.
func forgetOld(pattern string, keep int) {
	files, _ := filepath.Glob(pattern)
	age := map[string]time.Time{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			age[f] = info.ModTime()
		}
	}
	slices.SortFunc(files, func(a, b string) int { return age[b].Compare(age[a]) })
	for _, f := range files[min(keep, len(files)):] {
		_ = os.Remove(f) // somebody else was faster
	}
}

// writeInitramfs writes the machine's root. /bin and /sbin are links into
// /usr, as on every distribution of today.
func writeInitramfs(w io.Writer, k kernel, busybox, bash string, self []byte) error {
	box, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	shell, err := os.ReadFile(bash)
	if err != nil {
		return err
	}
	applets, err := busyboxApplets(box)
	if err != nil {
		return fmt.Errorf("%s: %w", busybox, err)
	}
	modules, err := loadOrder(k.modules, vmModules)
	if err != nil {
		return err
	}

	c := &cpioWriter{w: w}
	for _, name := range vmDirs {
		c.dir(name, 0o755)
	}
	for link, target := range map[string]string{"bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin", "lib64": "usr/lib"} {
		c.symlink(link, target)
	}
	c.char("dev/console", 0o600, 5, 1) // the kernel opens it for process 1 before there is a devtmpfs
	c.char("dev/null", 0o666, 1, 3)
	c.file("init", 0o755, self)
	c.file("usr/bin/busybox", 0o755, box)
	c.file("usr/bin/bash", 0o755, shell)
	for _, name := range applets {
		if name != "busybox" && name != "bash" {
			c.symlink("usr/bin/"+name, "busybox")
		}
	}
	for name, content := range vmFiles {
		c.file(name, 0o644, []byte(content))
	}
	for i, m := range modules {
		c.file(fmt.Sprintf("%s/%03d-%s.ko", moduleDir, i, m.name), 0o644, m.content)
	}
	return c.close()
}

// busyboxApplets reads the programs that a busybox has from its own table, a
// run of NUL-terminated names in order that begins with "[" and "[[". Asking
// the program would mean to run it, and it may be for another architecture.
func busyboxApplets(busybox []byte) ([]string, error) {
	start := bytes.Index(busybox, []byte("\x00[\x00[[\x00"))
	if start < 0 {
		return nil, errors.New("no table of applets")
	}
	var names []string
	for _, name := range bytes.Split(busybox[start+1:], []byte{0}) {
		if len(name) == 0 {
			break
		}
		names = append(names, string(name))
	}
	for _, must := range []string{"sh", "ls", "mount", "sleep"} {
		if !slices.Contains(names, must) {
			return nil, fmt.Errorf("no applet %s in its table of %d", must, len(names))
		}
	}
	return names, nil
}
