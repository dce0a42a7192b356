//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSealedExecutable starts the program through its mount, and tries to write
// to it.
func TestSealedExecutable(t *testing.T) {
	if os.Getenv("TEST_SELFEXE") != "" {
		_, err := os.OpenFile("/proc/self/exe", os.O_WRONLY, 0)
		fmt.Println(err)
		os.Exit(0)
	}
	f, err := throughReadOnlyMount("/proc/self/exe")
	if err != nil {
		t.Skip("no mounts here: ", err)
	}
	defer f.Close()
	c := exec.Command("/proc/self/fd/3", "-test.run=^TestSealedExecutable$")
	c.ExtraFiles, c.Env = []*os.File{f}, append(os.Environ(), "TEST_SELFEXE=1")
	output, err := c.CombinedOutput()
	require.NoError(t, err, string(output))
	assert.Regexp(t, "text file busy", string(output))
	err = unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	assert.ErrorIs(t, err, unix.EINVAL, "made writable")
	_, err = unix.OpenTree(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE)
	assert.ErrorIs(t, err, unix.EINVAL, "mounted again")
	idle := t.TempDir() + "/idle" // that nobody runs
	require.NoError(t, os.WriteFile(idle, nil, 0o600))
	f, err = throughReadOnlyMount(idle)
	require.NoError(t, err)
	defer f.Close()
	_, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0)
	assert.ErrorIs(t, err, unix.EROFS)
	_, err = sealedExecutable()
	require.NoError(t, err)
}

// TestCloseDescriptors wants those from the first on to end with execve(2).
func TestCloseDescriptors(t *testing.T) {
	if os.Getenv("TEST_DESCRIPTORS") != "" {
		if err := closeDescriptors(4); err != nil {
			fmt.Println(err)
		}
		for fd := uintptr(3); fd < 6; fd++ {
			flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
			fmt.Println(fd, flags&unix.FD_CLOEXEC, err)
		}
		os.Exit(0)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestCloseDescriptors$")
	c.ExtraFiles, c.Env = []*os.File{os.Stdin, os.Stdin, os.Stdin}, append(os.Environ(), "TEST_DESCRIPTORS=1")
	output, err := c.CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "3 0 <nil>\n4 1 <nil>\n5 1 <nil>\n", string(output))
}

// TestJoinSessionKeyring wants another keyring than that of who calls.
func TestJoinSessionKeyring(t *testing.T) {
	if os.Getenv("TEST_KEYRING") != "" {
		before, _ := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		if err := joinSessionKeyring(fmt.Sprintf("test-%d", os.Getpid())); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		after, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		fmt.Println(before != after, err)
		os.Exit(0)
	}
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err == unix.ENOSYS || err == unix.EPERM {
		t.Skip("no keyrings here: ", err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestJoinSessionKeyring$")
	c.Env = append(os.Environ(), "TEST_KEYRING=1")
	output, err := c.CombinedOutput()
	require.NoError(t, err, string(output))
	assert.Equal(t, "true <nil>\n", string(output))
}
