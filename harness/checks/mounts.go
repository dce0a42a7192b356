//go:build linux

package checks

import (
	"os"
	"strings"

	"containers-from-scratch/harness/probe"
)

// mounts are more facts that the mount namespace makes true.
var mounts = []Fact{
	{
		Claim:   "its own filesystems give away no rights",
		Holds:   "---+",
		Because: "nosuid, nodev and noexec keep a file there from being a way to more rights; no program needs to lie in proc or dev",
		LookAt:  "the flags of each mount",
		Ours:    []string{"03-mount/mount.go filesystems"},
		Read:    "mount(8), mount(2)",
		Show: func(t *Trial) {
			inside := t.Inside()
			for _, line := range []string{
				"/proc nosuid nodev noexec", "/dev nosuid noexec", "/dev/pts nosuid noexec",
				"/dev/shm nosuid nodev noexec", "/tmp nosuid nodev",
			} {
				words := strings.Fields(line)
				m := orEmpty(lastOn(inside.Mounts, words[0]))
				t.ExpectThat(contains(m.Options, words[1:]...), line, words[0]+" "+strings.Join(m.Options, " "))
			}
		},
	},
}

// insideMount is the last mount on target that the command sees. What lies on the
// host is all the same to its options.
func (t *Trial) insideMount(target string) probe.Mount {
	return *orEmpty(lastOn(t.shared().Mounts, target))
}

// mountOn is the last mount of the host on target, nil when there is none.
func mountOn(target string) *probe.Mount {
	mounts, _ := probe.Mounts()
	return lastOn(mounts, target)
}

func lastOn(mounts []probe.Mount, target string) (found *probe.Mount) {
	for i := range mounts {
		if mounts[i].Target == target {
			found = &mounts[i]
		}
	}
	return found
}

func orEmpty(m *probe.Mount) *probe.Mount {
	if m == nil {
		return &probe.Mount{}
	}
	return m
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
