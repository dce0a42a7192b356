//go:build linux

package checks

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatItSays pins the one line that our programs say of a bad input, and
// the status.
func TestWhatItSays(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		from   int    // the first step that says it
		rootfs string // ROOTFS
		words  string // after the program's name
		status int
		line   string // PROGRAM stands for its name
	}{
		{1, "", "", 125, "usage: PROGRAM run CMD [ARG...]"},
		{1, "", "run", 125, "usage: PROGRAM run CMD [ARG...]"},
		{1, "", "walk sh", 125, "usage: PROGRAM run CMD [ARG...]"},
		{1, "", "init sh", 125, "usage: PROGRAM run CMD [ARG...]"},
		{1, "", "run no-such-command", 127, `container: exec: "no-such-command": executable file not found in $PATH`},
		{1, "", "run /no/such", 127, `container: exec: "/no/such": stat /no/such: no such file or directory`},
		{1, "", "run /etc", 126, `container: exec: "/etc": is a directory`},
		{1, "", "run /etc/passwd", 126, `container: exec: "/etc/passwd": permission denied`},
		{1, "", "run /box/not-a-program", 126, "container: exec /box/not-a-program: exec format error"},
		{1, "", "run /box/no-interpreter", 126, "container: exec /box/no-interpreter: no such file or directory (the interpreter or loader that it names)"},
		{3, "/box/nowhere", "run sh", 125, "container: enter root filesystem: chdir /box/nowhere: no such file or directory"},
		{3, "/probe", "run sh", 125, "container: enter root filesystem: chdir /probe: not a directory"},
		{3, empty, "run sh", 127, `container: exec: "sh": executable file not found in $PATH`},
		{3, empty, "run /bin/sh", 127, `container: exec: "/bin/sh": stat /bin/sh: no such file or directory`},
	} {
		for n := c.from; n < len(Steps); n++ {
			name := Steps[n]
			// A slash would make subtests, and each machine has another empty directory.
			words := strings.NewReplacer(empty, "_empty", "/", "_").Replace(c.words + c.rootfs)
			t.Run(name+"/"+words, func(t *testing.T) {
				tryHere(t)
				var said strings.Builder
				cmd := exec.Command(ours(name).Path, strings.Fields(c.words)...)
				cmd.Env = append(os.Environ(), "ROOTFS="+c.rootfs)
				cmd.Stderr = &said
				_ = cmd.Run() // the status tells
				_, line := cutWarnings(said.String())
				require.Equal(t, strings.ReplaceAll(c.line, "PROGRAM", name)+"\n", line)
				require.Equal(t, c.status, status(cmd.ProcessState))
			})
		}
	}
}
