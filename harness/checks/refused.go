//go:build linux

package checks

import (
	"slices"
	"strings"
)

// refused are facts about what the program is refused, and what it says then.
var refused = []Fact{
	{
		Claim:   "whatever mount is refused, the run stops",
		Holds:   "---+",
		Because: "an isolation that cannot be made must not be left out; each mount hides something of the host",
		LookAt:  "the error of each mount",
		Ours: []string{"03-mount/mount.go mount", "03-mount/mount.go makeMountsPrivate", "03-mount/mount.go mountRootfs",
			"03-mount/mount.go mountFilesystems", "03-mount/main.go initProcess"},
		Read: "mount(2)",
		Show: func(t *Trial) {
			for n := 1; ; n++ {
				r := t.Launch("", "/probe", "fail", "mount", itoa(n), t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.Excuse()
				if r.Status == 99 && n > 1 { // fewer mounts than that
					return
				}
				t.ExpectRefusal(r)
			}
		},
	},
	{
		Claim:   "an ordinary user is told what to paste",
		Holds:   "-++++-",
		Because: "namespaces are for CAP_SYS_ADMIN to create: the likely cause, and the words that mend it, belong in the error",
		LookAt:  "the error of unshare or clone, when it is a missing permission",
		Ours:    []string{"01-uts/command.go hint", "01-uts/main.go run", "02-pid/main.go run"},
		Read:    "capabilities(7), sudo(8)",
		Show: func(t *Trial) {
			command := []string{"sh", "-c", `echo "it's ${ROOTFS-unset}" "$@"`, "sh", "a b", "", "$HOME"}
			for rootfs, want := range map[string]string{"": "it's unset a b  $HOME", "/": "it's / a b  $HOME"} {
				var env []string
				if rootfs != "" {
					env = []string{"ROOTFS=" + rootfs}
				}
				words := slices.Concat([]string{"/probe", "as", "65534", t.Program.Path, "run"}, command)
				r := t.launch(env, nil, words...).Wait()
				t.ExpectRefusal(r)
				_, hint, found := strings.Cut(strings.TrimSpace(r.Stderr), "sudo ")
				t.ExpectThat(found, "a line for sudo on stderr", r.Stderr)
				// sudo itself is not in every sandbox; here root plays it, and
				// like sudo it passes no variables on.
				paste := `sudo() { unset ROOTFS; "$@"; }; sudo ` + strings.TrimSuffix(hint, ")")
				t.Expect(want, t.Launch("", "sh", "-c", paste).Stdout)
			}
		},
	},
	{
		Claim:   "root is not told to become root",
		Holds:   "-+",
		Because: "root without CAP_SYS_ADMIN is root of an unprivileged container: sudo does not mend that",
		LookAt:  "the error of unshare or clone, when it is a missing permission",
		Ours:    []string{"01-uts/command.go hint"},
		Read:    "capabilities(7), sudo(8)",
		Show: func(t *Trial) {
			r := t.Launch("", "/probe", "without", "sys_admin", t.Program.Path, "run", "/probe", "args", "it", "ran")
			t.Excuse()
			t.ExpectRefusal(r)
			t.ExpectThat(!strings.Contains(r.Stderr, "sudo"), "no word of sudo on stderr", r.Stderr)
		},
	},
}
