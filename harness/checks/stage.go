//go:build linux

package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// What a fact needs of the host is put on stage here, and taken away at the
// end of the trial.

// rootfs is the root filesystem that checks name by ROOTFS: the probe and a
// few files, nothing else.
const rootfs = "/box/rootfs"

// setStage makes what all trials use; none may change it. What is there already
// it makes anew: in a nest, a mutant may have changed it.
func setStage() error {
	if err := os.RemoveAll(rootfs); err != nil {
		return fmt.Errorf("clear root filesystem: %w", err)
	}
	data, err := os.ReadFile("/probe")
	if err != nil {
		return fmt.Errorf("build root filesystem: %w", err)
	}
	for _, dir := range []string{rootfs, rootfs + "/dir", rootfs + "/run"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("build root filesystem: %w", err)
		}
	}
	for name, content := range map[string]string{"/probe": string(data), "/marker": "rootfs\n", "/dir/file": "a file\n"} {
		if err := os.WriteFile(rootfs+name, []byte(content), 0o755); err != nil {
			return fmt.Errorf("build root filesystem: %w", err)
		}
	}
	for name, content := range map[string]string{"not-a-program": "text\n", "no-interpreter": "#!/no/such/interpreter\n"} {
		if err := os.WriteFile("/box/"+name, []byte(content), 0o755); err != nil {
			return fmt.Errorf("put %s on stage: %w", name, err)
		}
	}
	broken, err := exec.Command("/box/bin/broken").Output() // prints its names
	if err != nil {
		return fmt.Errorf("list the broken programs: %w", err)
	}
	for _, name := range append(lines(string(broken)), ablations()...) {
		if err := os.Symlink("broken", "/box/bin/"+name); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("name a broken program: %w", err)
		}
	}
	// As on a machine without Docker: no warning of it, unless a fact asks for one.
	_ = os.WriteFile(callIptables, []byte("0"), 0) // not there without br_netfilter
	return os.MkdirAll("/mnt", 0o755)
}

// handOverRootfs gives the root filesystem to the id that the container's root has
// on the host from step 05 on: only then is it his.
func handOverRootfs(id int) error {
	err := filepath.WalkDir(rootfs, func(path string, _ fs.DirEntry, _ error) error {
		return os.Lchown(path, id, id)
	})
	if err != nil {
		return fmt.Errorf("build root filesystem: %w", err)
	}
	return nil
}

// programUser is the user who runs the programs, where that is not root.
var programUser int

// containerRoots are the ids that roots of containers have on the host, by the
// paths of the programs.
var containerRoots = map[string]int{}

// containerRoot is that id of the program under test: which one it takes is its
// own business.
func (t *Trial) containerRoot() int {
	if programUser != 0 || oneUser() {
		return programUser
	}
	id, known := containerRoots[t.Program.Path]
	if !known {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		said, _ := exec.CommandContext(ctx, t.Program.Path, "run", "/probe", "read", "/proc/self/uid_map").Output()
		_, _ = fmt.Sscanf(string(said), " 0 %d", &id) // what says nothing has no root
		containerRoots[t.Program.Path] = id
		_ = pristine.changed() // waits until the run is over
	}
	return id
}

// oneUser tells whether this machine is a user namespace with one id: there root
// is the ordinary user himself, and nobody else is there.
func oneUser() bool {
	ids, _ := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(ids))
	return programUser == 0 && len(f) == 3 && f[2] == "1"
}

// Rootfs returns the directory for ROOTFS=.
func (t *Trial) Rootfs() string {
	t.Control(exists(rootfs+"/marker"), "%s is not there", rootfs)
	t.must(handOverRootfs(t.containerRoot()))
	return rootfs
}

// InRootfs runs command, which must be in that directory, with ROOTFS set. A
// program that does not know ROOTFS yet finds /probe on the host as well.
func (t *Trial) InRootfs(command ...string) Result {
	return t.RunWith([]string{"ROOTFS=" + t.Rootfs()}, command...)
}

// EmptyDir makes a directory for the length of the trial.
func (t *Trial) EmptyDir() string {
	dir, err := os.MkdirTemp("/box", "empty")
	t.must(err)
	t.AtEnd(func() { _ = os.RemoveAll(dir) })
	return dir
}

// observe is what the harness itself sees: the host.
func observe(*Trial) probe.Report { return probe.Observe() }

// looks are what the probe saw in the run that all facts share which only look, by
// the paths of the programs.
var looks = map[string]Result{}

// Inside is what the probe sees as the command. Of a machine on which the fact has
// put nothing, that is the same for all facts: they share a run.
func (t *Trial) Inside() probe.Report {
	if len(t.atEnd) > 0 {
		return t.report(t.Run("probe"))
	}
	return t.shared()
}

// shared is what the probe saw in that run. What it left behind is the first
// fact's to tell.
func (t *Trial) shared() probe.Report {
	r, known := looks[t.Program.Path]
	if !known {
		r = t.Run("probe")
		looks[t.Program.Path] = r
	}
	t.ran = paste(nil, t.Program, []string{t.Program.Path, "run", "probe"})
	t.stderr, t.status = r.Stderr, r.Status
	return t.report(r)
}

// report reads what the probe printed.
func (t *Trial) report(r Result) probe.Report {
	var report probe.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		saw := fmt.Sprintf("status %d, %v", r.Status, err)
		if r.Stdout == "" {
			saw = fmt.Sprintf("nothing, and status %d", r.Status)
		}
		t.fail([]string{"a report of the probe"}, []string{saw}, false)
	}
	return report
}

// ExpectRefusal expects that the program failed as the contract says, and that
// the command did not run.
func (t *Trial) ExpectRefusal(r Result) {
	t.refusal = true
	t.Expect("", r.Stdout)
	t.ExpectStatus(125, r)
	t.ExpectOneLine(r)
}

// ExpectNoAccess expects that the probe tried to read a secret and could not:
// silence alone would also come from a command that never ran.
func (t *Trial) ExpectNoAccess(r Result) {
	t.Expect("", r.Stdout)
	t.ExpectStatus(1, r)
	t.ExpectThat(strings.HasPrefix(r.Stderr, "probe: "), "the probe's refusal on stderr", r.Stderr)
}

// ExpectDoneOrDenied expects that the command did something and said so, or that
// the kernel denied it: step 07 leaves its root few rights even inside.
func (t *Trial) ExpectDoneOrDenied(said string, r Result) {
	if r.Status == 1 && strings.HasPrefix(r.Stderr, "probe: ") && strings.HasSuffix(r.Stderr, ": operation not permitted\n") {
		said = ""
	}
	t.Expect(said, r.Stdout)
}

// ExpectOneLine expects one line on stderr that says what failed.
func (t *Trial) ExpectOneLine(r Result) {
	t.ExpectThat(len(lines(r.Stderr)) == 1, "one line on stderr", fmt.Sprintf("%d lines", len(lines(r.Stderr))))
}

// hostProcess is a process outside the container.
type hostProcess struct{ *exec.Cmd }

// HostProcess starts one for the length of the trial.
func (t *Trial) HostProcess(name string, args ...string) hostProcess {
	p := hostProcess{exec.Command(name, args...)}
	t.must(p.Start())
	t.AtEnd(func() { _ = p.Process.Kill(); _ = p.Wait() })
	// execve(2) tells Start that it went well before the command line is in
	// place: a look at the host in between would see a process without a name,
	// and the next one another process.
	line := strings.Join(p.Args, " ")
	_, err := waitFor(p.name, func(name string) bool { return name == line }, nil)
	t.Control(err == nil, "%s does not run", name)
	return p
}

func (p hostProcess) pid() string { return strconv.Itoa(p.Process.Pid) }

// name is the process's command line, "(zombie)", or "" when it is not there.
func (p hostProcess) name() string {
	for _, other := range processes() {
		if other.pid == p.Process.Pid {
			return other.name
		}
	}
	return ""
}

// alive tells whether the process is there and not a zombie.
func (p hostProcess) alive() bool {
	name := p.name()
	return name != "" && name != "(zombie)"
}

// named lists the processes with this command line.
func named(line string) string {
	var list []string
	for _, p := range processes() {
		if p.name == line {
			list = append(list, p.name)
		}
	}
	return strings.Join(list, "\n")
}

// HostFile makes a file on the host that holds a secret, and returns its path.
func (t *Trial) HostFile(path string) string {
	t.must(os.WriteFile(path, []byte("a secret of the host\n"), 0o644))
	t.AtEnd(func() { _ = os.Remove(path) })
	return path
}

// HostMount mounts a tmpfs with a telling name on the host.
func (t *Trial) HostMount(target string) {
	t.must(unix.Mount("host-marker", target, "tmpfs", 0, "size=64k"))
	t.AtEnd(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	t.Control(mountOn(target) != nil, "no mount on %s", target)
}

// HostTerminal opens a terminal on the host.
func (t *Trial) HostTerminal() {
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	t.must(err)
	t.AtEnd(func() { _ = ptmx.Close() })
}

// tree describes a directory: each file's name, mode, size and time.
func tree(dir string) string {
	var list []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			list = append(list, fmt.Sprint(strings.TrimPrefix(path, dir), " ", info.Mode(), " ", info.Size(), " ", info.ModTime().UnixNano()))
		}
		return nil
	})
	return strings.Join(list, "\n")
}

// memoryMiB is the machine's memory.
func memoryMiB() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		panic(HarnessError{fmt.Errorf("read the size of the memory: %w", err)})
	}
	return int(info.Totalram * uint64(info.Unit) >> 20)
}

func itoa(n int) string { return strconv.Itoa(n) }

// contains tells whether all of words are in list.
func contains(list []string, words ...string) bool {
	for _, w := range words {
		if !slices.Contains(list, w) {
			return false
		}
	}
	return true
}
