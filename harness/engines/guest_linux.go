package engines

import (
	"archive/tar"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An engine is one that is running.
type engine struct {
	name    string
	cli     []string // its command, with the options that lead to what is started
	env     []string // added to the environment
	runtime string   // the path of the OCI runtime
	state   string   // where the runtime keeps a directory for each container
	checks  []check
	daemon  *exec.Cmd // nil for podman
	log     string    // what the daemon says
}

const (
	busybox = "/box/busybox"
	rootfs  = "/box/rootfs" // of the containers of ctr, which need no image
	archive = "/box/image.tar"
)

// config are the files that steps/07-final/ENGINES.md tells to write.
//
//go:embed config
var config embed.FS

// writeConfig writes one of them, with the path of our runtime in the place of
// theirs, and text before it.
func writeConfig(name, path, before, runtime string) error {
	text, err := config.ReadFile("config/" + name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(before+strings.ReplaceAll(string(text), "/usr/local/bin/07-final", runtime)), 0o644)
}

// Guest is called in a sandbox, as the one job there. It writes a line for each
// check, and a last one for each engine. The status of an error is 1 when a
// check failed.
func Guest(args []string) error {
	var plan Plan
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &plan) != nil {
		return errors.New("usage: harness guest-engines PLAN")
	}
	if os.Getenv("SANDBOX_KIND") == "" {
		return errors.New("the engines run in a sandbox only: make engines")
	}
	if err := os.MkdirAll("/var/tmp", 0o1777); err != nil { // podman's, for images
		return err
	}
	if err := makeImage(); err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	start := map[string]func(string) (*engine, error){"podman": startPodman, "docker": startDocker, "ctr": startCtr}
	for _, name := range plan.Engines {
		e, err := start[name](plan.Runtime)
		if err != nil {
			fmt.Printf("FAIL %s: starts: %v\n", name, err)
			continue
		}
		for _, text := range plan.Texts {
			if text.Engine == name {
				e.checks = append(slices.Clip(e.checks), check{text.At + " works", text.show})
			}
		}
		e.tryAll(plan.Run)
		e.stop()
	}
	return nil
}

// show types the line.
func (text Text) show(t *trial) {
	image := "bb"
	if t.name == "ctr" { // which has none here: an image names the PATH as well
		image = "--env PATH=/bin --rootfs " + rootfs
	}
	line := strings.NewReplacer("IMAGE", image, "/usr/local/bin/07-final", t.runtime).Replace(text.Line)
	t.do(strings.Fields(line)[1:]...).gives(strings.Join(text.Shows, "\n") + "\n")
}

// tryAll tries the checks whose claim contains text.
func (e *engine) tryAll(text string) {
	for _, c := range e.checks {
		if !strings.Contains(c.claim, text) {
			continue
		}
		if why := e.try(c); why != "" {
			fmt.Printf("FAIL %s: %s: %s\n", e.name, c.claim, strings.ReplaceAll(why, "\n", " / "))
		} else {
			fmt.Printf("PASS %s: %s\n", e.name, c.claim)
		}
	}
}

// serve starts a daemon and waits until ready says that it answers.
func (e *engine) serve(ready func() error, words ...string) error {
	e.log = "/tmp/" + e.name + ".log"
	log, err := os.Create(e.log)
	if err != nil {
		return err
	}
	defer log.Close()
	e.daemon = exec.Command(words[0], words[1:]...)
	e.daemon.Stdout, e.daemon.Stderr = log, log
	if err := e.daemon.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(e.log)
			e.stop()
			return fmt.Errorf("%s does not answer: %w: %s", words[0], err, lastLines(string(text), 5))
		}
	}
}

// stop ends the daemon, if there is one.
func (e *engine) stop() {
	if e.daemon == nil {
		return
	}
	_ = e.daemon.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(20*time.Second, func() { _ = e.daemon.Process.Kill() })
	_ = e.daemon.Wait()
	timer.Stop()
}

// lastLines are the last n lines of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}

// removeAll removes every container, and returns what is left of one all the
// same: the runtime's state, its cgroups.
func (e *engine) removeAll() (left string) {
	quiet := func(args ...string) string {
		cmd := exec.Command(e.cli[0], append(e.cli[1:], args...)...)
		cmd.Env = append(os.Environ(), e.env...)
		out, _ := cmd.Output()
		return string(out)
	}
	if e.name == "ctr" {
		for id := range strings.FieldsSeq(quiet("containers", "ls", "-q")) {
			quiet("tasks", "kill", "-s", "KILL", id)
			quiet("tasks", "rm", "-f", id)
			quiet("containers", "rm", id)
		}
	} else if ids := strings.Fields(quiet("ps", "-aq")); len(ids) > 0 {
		quiet(append([]string{"rm", "-f"}, ids...)...)
	}
	// What comes last is done by a shim or by conmon, on its own time.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left = e.leftovers()
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}

// leftovers looks for what a removed container must not leave.
func (e *engine) leftovers() string {
	if entries, _ := os.ReadDir(e.state); len(entries) > 0 {
		return "left state of a container: " + filepath.Join(e.state, entries[0].Name())
	}
	var left []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		// Names of containers are numbers of 64 digits, in ctr our own.
		name := strings.TrimPrefix(filepath.Base(path), "libpod-")
		if err == nil && d.IsDir() && (len(name) == 64 || slices.Contains(ctrNames, name)) {
			left = append(left, path)
		}
		return nil
	})
	if len(left) > 0 {
		return "left cgroup " + left[0]
	}
	return ""
}

// makeImage makes the archive of an image that has busybox and nothing else,
// and the same as a directory.
func makeImage() error {
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	add := func(h tar.Header, content []byte) error {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "root", "var"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		err = errors.Join(err, add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}, nil))
	}
	err = errors.Join(err,
		add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program),
		add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")),
		add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nuser:x:1000:\n")),
		add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/plain", Mode: 0o644}, []byte("no program\n")))
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			err = errors.Join(err, add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}, nil))
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	return exec.Command("tar", "-xf", archive, "-C", rootfs).Run()
}
