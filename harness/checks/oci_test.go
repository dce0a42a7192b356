//go:build linux

package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// An oci is the other face of the last step: the command line by which engines
// drive a runtime, with a bundle and a directory for the states.
type oci struct {
	t            *testing.T
	bundle, root string
}

// newOCI makes a bundle whose command waits to be killed.
func newOCI(t *testing.T) *oci {
	require.Empty(t, pristine.changed()) // what an earlier run left takes a moment to go
	dir, err := os.MkdirTemp("/box", "oci")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, handOverRootfs((&Trial{Program: newest()}).containerRoot()))
	o := &oci{t, filepath.Join(dir, "bundle"), filepath.Join(dir, "states")}
	require.NoError(t, os.Mkdir(o.bundle, 0o755))
	said, status := o.run("spec", "--bundle", o.bundle)
	require.Zero(t, status, said)
	o.configure(func(config map[string]any) {
		config["root"] = map[string]any{"path": rootfs}
		config["process"].(map[string]any)["args"] = []string{"/probe", "forks", "0"}
	})
	return o
}

// configure changes config.json.
func (o *oci) configure(change func(config map[string]any)) {
	file := filepath.Join(o.bundle, "config.json")
	data, err := os.ReadFile(file)
	require.NoError(o.t, err)
	var config map[string]any
	require.NoError(o.t, json.Unmarshal(data, &config))
	change(config)
	data, err = json.Marshal(config)
	require.NoError(o.t, err)
	require.NoError(o.t, os.WriteFile(file, data, 0o644))
}

// words are the command line of one operation.
func (o *oci) words(operation ...string) []string {
	words := []string{newest().Path, "--root", o.root}
	if operation[0] == "create" || operation[0] == "run" {
		operation = slices.Concat(operation[:1], []string{"--bundle", o.bundle}, operation[1:])
	}
	return append(words, operation...)
}

// run runs one operation and returns what it says and its status. Of create, the
// container keeps the files that the runtime had: no pipe would end.
func (o *oci) run(operation ...string) (said string, status int) {
	return o.launch(o.words(operation...)...)
}

// launch runs words to their end.
func (o *oci) launch(words ...string) (said string, code int) {
	out, err := os.CreateTemp("/box", "said")
	require.NoError(o.t, err)
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); cmd.ProcessState == nil {
		require.NoError(o.t, err)
	}
	data, err := os.ReadFile(out.Name())
	require.NoError(o.t, err)
	return string(data), status(cmd.ProcessState)
}

// must runs an operation that has to succeed.
func (o *oci) must(operation ...string) {
	said, status := o.run(operation...)
	require.Zero(o.t, status, "%v: %s", operation, said)
}

// life is create, start and delete.
func (o *oci) life(id string) {
	o.must("create", id)
	o.must("start", id)
	o.must("delete", "--force", id)
}

// calls are the system calls at which the runtime is killed: between two of
// them nothing of the machine changes that another process would see.
var calls = []string{"mkdirat", "openat", "write", "unlinkat", "clone", "connect", "flock", "pidfd"}

// TestARuntimeKilledAtAnyCallLeavesNothing kills each operation at its first call
// of a kind, its second, and so on, until it comes to its end. Whatever is there
// then, delete --force removes.
func TestARuntimeKilledAtAnyCallLeavesNothing(t *testing.T) {
	for _, operation := range [][]string{{"create", "c"}, {"start", "c"}, {"exec", "c", "/probe", "args"}, {"kill", "c", "KILL"}, {"delete", "--force", "c"}} {
		t.Run(operation[0], func(t *testing.T) {
			tryHere(t)
			o := newOCI(t)
			before := observeHost()
			points, stride := 0, 10/storm(10) // each call, or in the vm each tenth
			for _, call := range calls {
				for n := 1; ; n += stride {
					if operation[0] != "create" {
						o.must("create", "c")
					}
					if operation[0] != "create" && operation[0] != "start" {
						o.must("start", "c")
					}
					_, status := o.launch(append([]string{"/probe", "killed", call, itoa(n)}, o.words(operation...)...)...)
					said, deleted := o.run("delete", "--force", "c")
					require.Zero(t, deleted, "%s %d: %s", call, n, said)
					if left := before.changed(); len(left) > 0 {
						t.Fatalf("%s killed at its %s number %d leaves %s", operation[0], call, n, oneLine(left))
					}
					entries, _ := os.ReadDir(o.root)
					require.Empty(t, entries, "%s %d", call, n)
					if status != 137 {
						require.Equal(t, never, status, "%s %d: not killed, but failed", call, n)
						break
					}
					points++
				}
			}
			require.GreaterOrEqual(t, points, 3, "not killed")
			t.Logf("killed at %d points", points)
		})
	}
}

// TestAKilledCreateLeavesNoMountOnTheHost has containers whose mounts are the
// host's: they have no mount namespace that would end with them.
func TestAKilledCreateLeavesNoMountOnTheHost(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	o.configure(func(config map[string]any) {
		linux := config["linux"].(map[string]any)
		linux["namespaces"] = []any{map[string]any{"type": "pid"}, map[string]any{"type": "network"}}
		delete(linux, "uidMappings")
		delete(linux, "gidMappings")
		delete(config, "hostname")
		config["mounts"] = []any{map[string]any{"destination": "/proc", "type": "proc", "source": "proc"}}
	})
	o.life("c")
	require.Empty(t, before.changed())
	points := 0
	for n := 1; ; n++ {
		_, status := o.launch(append([]string{"/probe", "killed", "openat", itoa(n)}, o.words("create", "c")...)...)
		o.must("delete", "--force", "c")
		require.Empty(t, before.changed(), "killed at its openat number %d", n)
		if status != 137 {
			require.Equal(t, never, status)
			break
		}
		points++
	}
	require.Greater(t, points, 3)

	// What somebody else mounts above is not taken off, nor what is below it.
	o.must("create", "c")
	require.NoError(t, unix.Mount("host-marker", rootfs, "tmpfs", 0, "size=64k"))
	o.must("delete", "--force", "c")
	require.Equal(t, "host-marker", mountOn(rootfs).Source)
	require.NoError(t, pristine.restore())
}

// TestContainersInARowLeaveNothing creates, starts and deletes a hundred, with
// STORM=full a thousand.
func TestContainersInARowLeaveNothing(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	n := storm(100)
	if os.Getenv("STORM") == "full" {
		n = 1000
	}
	for i := range n {
		o.life(fmt.Sprint("c", i))
	}
	require.Empty(t, before.changed())
}

// TestOfCreatesAtOnceOneWins has four processes create the same container, again
// and again.
func TestOfCreatesAtOnceOneWins(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	for range storm(20) {
		said, statuses := o.atOnce(4, "create", "c")
		slices.Sort(statuses)
		require.Equal(t, []int{0, 1, 1, 1}, statuses, "%q", said)
		require.Equal(t, 3, strings.Count(strings.Join(said, ""), "container with id c exists"), "%q", said)
		o.must("start", "c")
		o.must("delete", "--force", "c")
	}
	require.Empty(t, before.changed())
}

// TestDeletesAtOnce has two processes delete a container, and kill and delete
// meet: each succeeds, or says that the container is not there any more.
func TestDeletesAtOnce(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	for range storm(20) {
		o.must("create", "c")
		o.must("start", "c")
		said, statuses := o.atOnce(2, "delete", "--force", "c")
		require.Equal(t, []int{0, 0}, statuses, "%q", said)

		o.must("create", "c")
		o.must("start", "c")
		var group sync.WaitGroup
		group.Go(func() {
			for range 4 {
				if said, status := o.run("kill", "c", "KILL"); status != 0 {
					if !strings.Contains(said, "container does not exist") && !strings.Contains(said, "container not running") {
						t.Errorf("kill: status %d, %q", status, said)
					}
				}
			}
		})
		o.must("delete", "--force", "c")
		group.Wait()
		entries, err := os.ReadDir(o.root)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.Empty(t, before.changed())
}

// atOnce runs an operation n times side by side.
func (o *oci) atOnce(n int, operation ...string) (said []string, statuses []int) {
	said, statuses = make([]string, n), make([]int, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { said[i], statuses[i] = o.run(operation...) })
	}
	group.Wait()
	return said, statuses
}

// hostile are names that would lead out of a directory, or move the cursor of
// the terminal that an error is printed to.
var hostile = []string{"..", ".", "", "/", "../c", "a/../../c", "/run/c", "a/b", "c\n", "\x1b[31mred", "a\x00b", "a\rb", "\u009b31m",
	"a\u202eb", "ü", " ", "a b", strings.Repeat("c", 1025), "-c\x07", "c\x7f"}

// TestHostileNamesAreRefusedAndQuoted gives such names to each operation as an
// id, and to run as a command, an argument, a hostname: none becomes a path, and
// no control character comes out as it is.
func TestHostileNamesAreRefusedAndQuoted(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	said, status := o.launch(newest().Path, "--root", o.root, "create", "--bundle", "/no/such\xff", "c")
	require.Equal(t, 1, status, said)
	require.Equal(t, "container: bundle \"/no/such\\xff\" is no UTF-8, which its state has to be\n", said)
	victim := filepath.Join(filepath.Dir(o.root), "c") // what ../c would be
	require.NoError(t, os.Mkdir(victim, 0o755))
	stride := 10 / storm(10) // each with each, or in the vm a tenth of that
	for i, name := range hostile {
		if strings.Contains(name, "\x00") { // no argument holds one
			continue
		}
		for j, operation := range [][]string{{"create"}, {"run"}, {"start"}, {"state"}, {"kill"}, {"delete"}, {"delete", "--force"},
			{"exec"}, {"ps"}, {"pause"}, {"resume"}, {"update", "--resources", "/dev/null"}} {
			if (i+j)%stride != 0 {
				continue
			}
			words := append(slices.Clone(operation), "--", name)
			if operation[0] == "exec" {
				words = append(words, "/probe")
			}
			said, status := o.run(words...)
			require.NotZero(t, status, "%q: %q", words, said)
			require.Contains(t, said, "invalid container id", "%q", words)
			require.True(t, plain(said), "%q: %q", words, said)
		}
		if name == "" { // an empty list, say, is none of these
			continue
		}
		for j, words := range [][]string{
			{"run", "--hostname", "h" + name, "/no/such" + name}, {"run", name + "-command"}, {"walk" + name},
			{"run", "--without", name, "true"}, {"run", "--memory", name, "true"}, {"run", "--console-socket", "/no/such" + name, "c"},
			{"kill", "c", name}, {"exec", "--process", "/no/such" + name, "c"}, {"--log", "/no/such" + name, "list"},
			{"--log-format", name, "list"}, {"create", "--bundle", "/no/such" + name, "c"}, {"delete", "c", name},
			{"--root", "/no/such" + name, "start", "c"},
		} {
			if (i+j)%stride != 0 {
				continue
			}
			said, status := o.launch(append([]string{newest().Path}, words...)...)
			require.NotZero(t, status, "%q: %q", words, said)
			require.True(t, plain(said), "%q: %q", words, said)
		}
	}
	require.DirExists(t, victim)
	require.NoDirExists(t, o.root)
	require.Empty(t, before.changed())
}

// plain tells whether a text can be printed to a terminal.
func plain(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) < 0
}

// TestARefusedCreateLeavesNothing lets each use of these calls fail once: a create
// that fails takes back what it has made, and says why.
func TestARefusedCreateLeavesNothing(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	refused := 0
	for _, call := range []string{"mkdirat", "mount_setattr", "pivot_root", "sethostname", "socket", "umount2", "unshare", "cgroup"} {
		for n := 1; ; n += 10 / storm(10) {
			said, status := o.launch(append([]string{"/probe", "fail", call, itoa(n)}, o.words("create", "c")...)...)
			if status == 0 || status == never { // it did without, or there is no such use
				o.must("delete", "--force", "c")
			}
			if left := before.changed(); len(left) > 0 {
				t.Fatalf("%s %d: status %d, leaves %s", call, n, status, oneLine(left))
			}
			entries, _ := os.ReadDir(o.root)
			require.Empty(t, entries, "%s %d: %s", call, n, said)
			if status == never {
				break
			} else if status != 0 {
				require.Equal(t, 1, status, "%s %d: %s", call, n, said)
				require.Regexp(t, `^(container: warning: [^\n]+\n)*container: [^\n]+\n$`, said, "%s %d", call, n)
				refused++
			}
		}
	}
	require.Greater(t, refused, 5)
	t.Logf("refused %d times", refused)
}

// TestExecWithoutRoomIsRefusedInOneLine has a container with as many processes as
// it may have: of that Go itself says much more.
func TestExecWithoutRoomIsRefusedInOneLine(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	o.must("create", "full")
	o.must("start", "full")
	resources := filepath.Join(o.bundle, "resources.json")
	require.NoError(t, os.WriteFile(resources, []byte(`{"pids": {"limit": 1}}`), 0o644))
	for _, want := range []struct {
		said   string
		status int
	}{{`^container: [^\n]*no such file or directory\n$`, 127}, {`^container: [^\n]*limit of processes\)\n$`, 255}} {
		for _, words := range [][]string{{"exec", "full", "/no/such"}, {"exec", "--detach", "full", "/no/such"}} {
			said, status := o.run(words...)
			require.Equal(t, want.status, status, "%v: %s", words, said)
			require.Regexp(t, want.said, said, "%v", words)
		}
		o.must("update", "--resources", resources, "full")
	}
	o.must("delete", "--force", "full")
	require.Empty(t, before.changed())
}

// TestWhatEndsAContainerEarly has a created container die in three ways: each is
// told, and leaves what the specification says.
func TestWhatEndsAContainerEarly(t *testing.T) {
	tryHere(t)
	o := newOCI(t)
	before := observeHost()
	said, status := o.launch(newest().Path, "run", "--memory", "10", "/probe", "args")
	require.Equal(t, 125, status, said)
	require.Contains(t, said, "memory limit is too low")

	stderr, err := os.CreateTemp("/box", "stderr")
	require.NoError(t, err)
	defer os.Remove(stderr.Name())
	words := o.words("create", "quits")
	create := exec.Command(words[0], words[1:]...)
	create.Stderr = stderr
	require.NoError(t, create.Run())
	o.must("kill", "quits", "QUIT")
	for stopped := false; !stopped; {
		said, _ := o.run("state", "quits")
		stopped = strings.Contains(said, `"stopped"`)
	}
	text, err := os.ReadFile(stderr.Name())
	require.NoError(t, err)
	require.Empty(t, string(text), "no trace of Go's stack")
	o.must("delete", "quits")

	for _, hooks := range []map[string]any{{}, {"prestart": []any{}}, {"poststart": nil}} { // {} as Docker's, of a container in another's network
		o.configure(func(config map[string]any) { config["hooks"] = hooks })
		o.life("unhooked")
	}
	o.configure(func(config map[string]any) {
		config["hooks"] = map[string]any{"poststart": []any{map[string]any{"path": "/missing"}}}
	})
	o.must("create", "hooked")
	said, status = o.run("start", "hooked")
	require.Equal(t, 1, status)
	require.Contains(t, said, "run poststart hook /missing")
	said, _ = o.run("state", "hooked")
	require.Contains(t, said, "container does not exist")
	require.Empty(t, before.changed())
}

// never is the probe's status when a program made fewer calls.
const never = 99
