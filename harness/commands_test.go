//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"containers-from-scratch/harness/docs"
	"containers-from-scratch/harness/internal/pty"

	"github.com/stretchr/testify/require"
)

// commands are what the texts tell people to type after make, each with what
// tries it: a function here, as people do it, on a terminal; or a row of .ci/run.
var commands = map[string]any{
	"help":      func(s *typist) { s.type_("make help", "make test-step 3", "") },
	"doctor":    func(s *typist) { s.type_("make doctor", "ready: make test-step 3", "") },
	"start":     tryStart,
	"watch":     tryWatch,
	"test-step": tryTestStep,
	"shell":     tryShell,
	"map":       tryMap,
	"demo":      tryDemo,
	"kit":       "matrix commands", // it is in places.md, under "here"
	"harness":   "matrix commands", // the same, in README.md

	"lint":        "make lint",
	"carry":       func(s *typist) { s.run("make carry") }, // it may boot a machine, and run all transcripts there
	"test":        "make test MUST_RUN=1 SANDBOX=host",
	"engines":     "make engines MUST_RUN=1",
	"conformance": "make conformance SANDBOX=host",
	"mutants":     nil, // half an hour; its parts have tests of their own
}

// TestCommands types what the texts tell people to type: the blocks marked "here",
// and each command of make, in a clone. COMMANDS=1 asks for it, as .ci/run does:
// it boots machines, which plain go test does not. SANDBOX says which.
func TestCommands(t *testing.T) {
	if os.Getenv("COMMANDS") == "" {
		return // .ci/run, not make test
	}
	s := &typist{t: t, dir: clone(t)}
	for _, file := range docs.Files {
		blocks, err := docs.Read("..", file)
		require.NoError(t, err)
		for _, block := range blocks {
			if block.Kind != "here" {
				continue
			}
			t.Run(strings.ReplaceAll(block.At(0), "/", "_"), func(t *testing.T) {
				s := &typist{t: t, dir: s.dir}
				if block.Lang == "sh" { // without output: each line has to succeed
					for _, line := range block.Lines {
						if strings.HasPrefix(line, "diff ") {
							line += "; [ $? = 1 ]" // they differ
						}
						s.run(line)
					}
					return
				}
				commands, err := block.Commands()
				require.NoError(t, err)
				for _, c := range commands {
					said := strings.Split(strings.TrimRight(s.run(c.Line), "\n"), "\n")
					if len(c.Output) > 0 {
						require.Empty(t, block.Compare(c, "", said))
					}
				}
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if try, ok := commands[name].(func(*typist)); ok {
			t.Run(name, func(t *testing.T) {
				s := &typist{t: t, dir: s.dir}
				try(s)
			})
		}
	}
}

// TestEachCommandIsTried finds commands of make in the texts that nothing tries.
func TestEachCommandIsTried(t *testing.T) {
	ci, err := os.ReadFile("../.ci/run")
	require.NoError(t, err)
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	for name, row := range commands {
		require.Contains(t, string(makefile), "\n"+name+":")
		if row, ok := row.(string); ok {
			require.Contains(t, string(ci), row)
		}
	}
	typed := regexp.MustCompile("(?:`|\\$ |^)(?:[A-Z]+=\\S+ )*make ([a-z][^`]*)")
	found := 0
	for _, file := range docs.Files {
		text, err := os.ReadFile("../" + file)
		require.NoError(t, err)
		for i, line := range strings.Split(string(text), "\n") {
			for _, m := range typed.FindAllStringSubmatch(line, -1) {
				for _, word := range strings.Fields(m[1]) {
					if !regexp.MustCompile(`^[a-z][a-z-]+$`).MatchString(word) {
						break // a number, a variable, prose
					}
					found++
					_, tried := commands[word]
					require.True(t, tried, "%s:%d: make %s: nothing tries it", file, i+1, word)
				}
			}
		}
	}
	require.Greater(t, found, 20)
}

// inSentences are commands that the texts name in a sentence and that no block
// shows, each with why nothing runs it.
var inSentences = map[string]string{
	"git checkout steps":                    "undoes a change that the reader has made; a clone has none",
	"git pull":                              "needs the server that the clone came from",
	"git clone":                             "the same",
	"runc init":                             "names what another runtime does",
	"runc spec":                             "the same",
	"docker run --init":                     "the same",
	"wsl --shutdown":                        "a command of Windows",
	"ls /":                                  "what the reader tries in a shell that he has",
	"mount -t proc proc /proc":              "what a text talks about, not what is to be typed",
	"ip link delete cfs0":                   "takes away what step 06 leaves on the reader's machine; a throwaway one goes as a whole",
	"docker checkpoint":                     "names what an engine cannot do with our runtime",
	"docker run --runtime final":            "make engines calls this runtime as the default one of the same daemon.json",
	"sudo install 07-final /usr/local/bin/": "changes the reader's machine",
	"go run -exec 'sudo env ROOTFS=dir' ./steps/03-mount run sh": "needs a root file system in dir, and sudo",
}

// TestEachCommandInASentenceIsShown finds commands in sentences, other than those
// of make, that no block shows and inSentences does not list.
func TestEachCommandInASentenceIsShown(t *testing.T) {
	command := regexp.MustCompile("`((?:0[1-7]-\\w+|go|git|sudo|ip|ls|cat|rm|mv|cp|diff|mount|umount|unshare|nsenter|sysctl|tar|curl|" +
		"apt|apt-get|docker|podman|runc|crun|wsl|limactl|tmux) [^`]+)`")
	blocks, sentences := "", map[string]string{} // and where
	for _, file := range docs.Files {
		text, err := os.ReadFile("../" + file)
		require.NoError(t, err)
		inside := false
		for i, line := range strings.Split(string(text), "\n") {
			switch {
			case strings.HasPrefix(line, "```"):
				inside = !inside
			case inside:
				blocks += line + "\n"
			default:
				for _, m := range command.FindAllStringSubmatch(line, -1) {
					sentences[m[1]] = fmt.Sprintf("%s:%d", file, i+1)
				}
			}
		}
	}
	for line, at := range sentences {
		if inSentences[line] == "" && !strings.Contains(blocks, line) {
			t.Errorf("%s: `%s`: no block shows it; show it in one, or give inSentences a reason", at, line)
		}
	}
	for line := range inSentences {
		require.Contains(t, sentences, line, "inSentences lists what no sentence has")
	}
}

// clone copies what git has of this tree, as it is now.
func clone(t *testing.T) string {
	dir := t.TempDir()
	list, err := exec.Command("git", "-C", "..", "ls-files", "-z").Output()
	require.NoError(t, err)
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile("../" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		require.NoError(t, err)
		info, err := os.Stat("../" + name)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, info.Mode()))
	}
	cmd := exec.Command("git", "init", "-q", dir)
	require.NoError(t, cmd.Run())
	return dir
}

// A typist sits at a terminal in the clone.
type typist struct {
	t   *testing.T
	dir string

	ptmx *os.File
	said *pty.Screen
}

// command is a shell's, in the clone.
func (s *typist) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=1", "SHELL=/bin/sh", "LC_ALL=C.UTF-8", "COMMANDS=")
	return cmd
}

// run runs a line that has to succeed, and returns what it says on stdout.
func (s *typist) run(line string) string {
	cmd := s.command(line)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(s.t, err, "%s\n%s%s", line, out, stderr.String())
	return string(out)
}

// type_ starts a line on a new terminal, presses keys once it shows text, and
// waits for its end, which has to be a good one.
func (s *typist) type_(line, text, keys string) {
	end := s.start(line)
	s.expect(text)
	s.press(keys)
	require.NoError(s.t, end(), "%s\n%s", line, s.said)
}

// start starts a line on a new terminal. The function that it returns waits for
// its end.
func (s *typist) start(line string) (end func() error) {
	s.said = &pty.Screen{}
	cmd := s.command(line)
	ptmx, drained, err := pty.Start(cmd, 40, 120, s.said)
	require.NoError(s.t, err)
	s.ptmx = ptmx
	s.t.Cleanup(func() { _ = ptmx.Close() })
	s.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return func() error {
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			<-drained
			return err
		case <-time.After(time.Minute):
			return errors.New("it does not end")
		}
	}
}

// expect waits until the terminal shows text, after what was expected before.
func (s *typist) expect(text string) {
	s.t.Helper()
	rest, shown := s.said.Await(text, 90*time.Second)
	require.True(s.t, shown, "not shown: %s\n%q", text, rest)
}

func (s *typist) press(keys string) {
	_, err := s.ptmx.WriteString(keys)
	require.NoError(s.t, err)
}

// save makes our step N the learner's program.
func (s *typist) save(step string) {
	files, err := filepath.Glob(filepath.Join(s.dir, "steps", step, "*.go"))
	require.NoError(s.t, err)
	require.NotEmpty(s.t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(s.t, err)
		require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "work", filepath.Base(file)), data, 0o644))
	}
}

func tryStart(s *typist) {
	s.run("rm -rf work")
	s.type_("make start", "step 01 is yours to write", "")
	require.FileExists(s.t, s.dir+"/work/main.go")
	s.type_("make start 4", "What was in work/ is in work/.backup/", "")
	require.FileExists(s.t, s.dir+"/work/mount.go")
}

// tryWatch goes from the beginning to step 02. With -v it tells how long a
// verdict takes in a machine that is kept, at most 2 s on the host, 6 s in a VM:
// COMMANDS=1 SANDBOX=host go test ./harness -run TestCommands/watch -v
func tryWatch(s *typist) {
	s.run("rm -rf work; make start")
	end := s.start("make watch")
	s.expect("FAILS")
	s.expect("its hostname is container")
	s.expect("h hint")
	s.press("h")
	s.expect("hint 1/3")
	s.save("01-uts")
	saved := time.Now()
	s.expect("step 01 holds")
	s.t.Logf("from saving to the verdict: %.1f s", time.Since(saved).Seconds())
	s.expect("n next")
	s.press("n")
	s.expect("the command is process 1")
	s.expect("h hint")
	s.press("q")
	require.NoError(s.t, end(), "q is no failure, though a fact fails")
}

func tryTestStep(s *typist) {
	s.type_("make test-step 1", "facts of step 01 hold", "")
	s.run("rm -rf work; make start")
	s.save("01-uts")
	s.type_("make test-step 1 PROGRAM=./work", "facts of step 01 hold", "")
}

func tryShell(s *typist) {
	s.run("rm -rf work; make start 4")
	end := s.start("make shell")
	s.expect("work, probe are in PATH")
	s.expect("# ")
	s.press("work run sh -c 'echo in-$(hostname)'\n")
	s.expect("in-container")
	s.press("exit\n")
	require.NoError(s.t, end())
}

func tryMap(s *typist) {
	s.type_("make map", "the page: .build/map.html", "")
	require.Contains(s.t, s.said.String(), "03-mount")
	require.FileExists(s.t, s.dir+"/.build/map.html")
}

// tryDemo plays one scene in tmux, on this terminal.
func tryDemo(s *typist) {
	end := s.start("make demo 3")
	s.expect("The attack:")
	stop := make(chan struct{})
	go func() { // each command is shown by one key, and run by the next
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				_, _ = s.ptmx.WriteString(" ")
			}
		}
	}()
	s.expect("the same attack:")
	s.expect("The proof:")
	err := end()
	close(stop)
	require.NoError(s.t, err)
}
