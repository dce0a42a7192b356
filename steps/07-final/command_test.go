//go:build linux

package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestAnOrdinaryUserIsToldWhatToPaste is nobody in a process of its own. What a
// shell would take for its own is quoted: else it would run on the host.
func TestAnOrdinaryUserIsToldWhatToPaste(t *testing.T) {
	if os.Getenv("TEST_HINT") == "" && os.Geteuid() == 0 {
		c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		c.Env = append(os.Environ(), "TEST_HINT=1")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		said, err := c.CombinedOutput()
		require.NoError(t, err, "%s", said)
		return
	}
	_, err := reexec(new(specs.Spec), inheritance{})
	require.Regexp(t, `^seal our program: .+ \(.+\)$`, err)
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	for program, want := range map[string]string{
		"./c":               `sudo env 'ROOTFS=/a b' ./c run sh -c 'cd /x; rm -rf *' 'it'\''s'`,
		"/tmp/go-build1/07": `go run -exec 'sudo env ROOTFS=/a b' ./steps/07-final run sh -c 'cd /x; rm -rf *' 'it'\''s'`,
	} {
		t.Setenv("ROOTFS", "/a b")
		os.Args = []string{program, "run", "sh", "-c", "cd /x; rm -rf *", "it's"}
		require.Equal(t, " (needs root: "+want+")", hint(unix.EPERM))
	}
}
