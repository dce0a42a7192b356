//go:build linux

package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestCapabilityNames pins a few numbers, and the last.
func TestCapabilityNames(t *testing.T) {
	names := strings.Fields(capabilityNames)
	require.Len(t, names, unix.CAP_LAST_CAP+1)
	for name, number := range map[string]int{"CAP_CHOWN": unix.CAP_CHOWN, "CAP_SETPCAP": unix.CAP_SETPCAP, "CAP_NET_RAW": unix.CAP_NET_RAW,
		"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE, "CAP_MKNOD": unix.CAP_MKNOD, "CAP_SETFCAP": unix.CAP_SETFCAP,
		"CAP_SYSLOG": unix.CAP_SYSLOG, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_BPF": unix.CAP_BPF, "CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE} {
		assert.Equal(t, name, names[number])
	}
}

// TestParseCapabilities wants bits for names, and back what cannot be granted.
func TestParseCapabilities(t *testing.T) {
	caps, unknown := parseCapabilities(nil)
	assert.Zero(t, caps)
	assert.Empty(t, unknown)
	caps, unknown = parseCapabilities(&specs.LinuxCapabilities{
		Bounding:  []string{"CAP_CHOWN", "CAP_TEST", "chown", "CAP_"},
		Effective: []string{"CAP_KILL", "CAP_TEST"}, Permitted: []string{"CAP_KILL"},
		Inheritable: []string{"CAP_FOWNER"}, Ambient: []string{"CAP_CHOWN", "CAP_KILL"},
	})
	assert.Equal(t, capabilities{Bounding: 1, Effective: 1 << 5, Permitted: 1 << 5, Inheritable: 1 << 3}, caps)
	assert.Equal(t, []string{"CAP_TEST", "chown", "CAP_", "CAP_CHOWN", "CAP_KILL"}, unknown)
	_, unknown = parseCapabilities(defaultSpec(nil).Process.Capabilities)
	assert.Empty(t, unknown)
}

// TestApplyCapabilities gives a process of its own capabilities, as another
// user, and asks what it has after execve(2).
func TestApplyCapabilities(t *testing.T) {
	if user := os.Getenv("TEST_CAPABILITIES"); user != "" {
		os.Stderr.WriteString(becomeWithCapabilities(user).Error())
		os.Exit(1)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change the user")
	}
	const wanted = "0000000000000421" // NET_BIND_SERVICE, KILL, CHOWN
	for user, want := range map[string]string{
		"0":     "0000000000000000 " + wanted + " " + wanted + " " + wanted + " 0000000000000000",
		"65534": "0000000000000020 0000000000000020 0000000000000020 " + wanted + " 0000000000000020",
	} {
		c := exec.Command("/proc/self/exe", "-test.run=^TestApplyCapabilities$")
		c.Env = []string{"TEST_CAPABILITIES=" + user}
		output, err := c.CombinedOutput()
		require.NoError(t, err, string(output))
		var sets []string
		for line := range strings.Lines(string(output)) {
			if name, set, _ := strings.Cut(strings.TrimSpace(line), ":\t"); strings.HasPrefix(name, "Cap") {
				sets = append(sets, set)
			}
		}
		assert.Equal(t, want, strings.Join(sets, " "), "inheritable, permitted, effective, bounding, ambient of user %s", user)
	}
}

// becomeWithCapabilities is what init does, in its order: it also loads the
// default filter, without no_new_privs. It returns only with an error.
func becomeWithCapabilities(user string) error {
	runtime.LockOSThread()
	names := []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	c := &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
	if user != "0" {
		c.Inheritable, c.Ambient = []string{"CAP_KILL"}, []string{"CAP_KILL"}
	}
	caps, _ := parseCapabilities(c)
	if err := caps.dropBounding(); err != nil {
		return err
	}
	if user != "0" {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			return errno
		}
	}
	if err := caps.apply(); err != nil {
		return err
	}
	filter, flags, err := compileSeccompFor(defaultSpec(nil).Linux.Seccomp, runtime.GOARCH)
	if err != nil {
		return err
	}
	if err := loadSeccomp(filter, flags); err != nil {
		return err
	}
	return syscall.Exec("/bin/grep", []string{"grep", "Cap", "/proc/self/status"}, nil)
}

// TestApplyCapabilitiesFails wants an error where an ambient one is not also
// permitted and inheritable.
func TestApplyCapabilitiesFails(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		done <- capabilities{Ambient: 1}.apply()
	}()
	assert.ErrorContains(t, <-done, "raise ambient capability 0")
}
