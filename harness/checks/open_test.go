//go:build linux

package checks

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"containers-from-scratch/harness/hints"
	"containers-from-scratch/harness/internal/pty"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What lesson 06 says is still open is tried here, and that step 07 shuts what its
// lesson does not name. It is about settings, quotas and a log that the whole
// machine has once: only in the vm are they nobody else's.

// stillOpen tries an attack on the last program that a learner writes, which it
// succeeds against, and on the newest.
func stillOpen(t *testing.T, attack func(*testing.T, Program) (succeeds bool), newestToo bool) {
	for i, program := range []Program{ours(Steps[hints.LastStep]), newest()} {
		t.Run(program.Name, func(t *testing.T) {
			tryHere(t)
			defer func() { require.NoError(t, pristine.restore()) }()
			require.Equal(t, i == 0 || newestToo, attack(t, program))
		})
	}
}

// setting changes a setting of the kernel for the length of the test. One that
// this kernel does not have is as it was before there was one: open.
func setting(t *testing.T, name, value string) {
	file := "/proc/sys/" + name
	before, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.WriteFile(file, before, 0) })
	require.NoError(t, os.WriteFile(file, []byte(value), 0))
}

// TestItTypesOnTheCallersTerminal lets the container type what its caller's shell
// reads after it has ended.
func TestItTypesOnTheCallersTerminal(t *testing.T) {
	stillOpen(t, func(t *testing.T, program Program) bool {
		setting(t, "dev/tty/legacy_tiocsti", "1")
		var screen pty.Screen
		cmd := exec.Command("sh", "-c", program.Path+` run probe types "a gift"; read -t 1 line; echo "the shell read $line."`)
		ptmx, drained, err := pty.Start(cmd, 24, 80, &screen)
		require.NoError(t, err)
		defer ptmx.Close()
		_ = cmd.Wait() // what it says tells
		<-drained
		require.Contains(t, screen.String(), "the shell read ")
		typed := strings.Contains(screen.String(), "the shell read a gift.")
		require.NotEqual(t, typed, strings.Contains(screen.String(), "probe: type 'a': "), screen.String())
		return typed
	}, false)
}

// TestItTakesAllInotifyInstances lets the container take them, and then wants one
// as the root that started it.
func TestItTakesAllInotifyInstances(t *testing.T) {
	stillOpen(t, func(t *testing.T, program Program) bool {
		cmd := exec.Command(program.Path, "run", "probe", "watches")
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		took := make([]byte, 100)
		n, err := stdout.Read(took)
		require.NoError(t, err)
		require.Regexp(t, `^took [1-9]\d+\n$`, string(took[:n]))
		fd, refused := unix.InotifyInit1(unix.IN_CLOEXEC)
		if refused == nil {
			_ = unix.Close(fd)
		}
		require.NoError(t, stdin.Close())
		require.NoError(t, cmd.Wait())
		return refused == unix.EMFILE
	}, true)
}

// TestItReadsTheKernelsLog where the machine lets everybody.
func TestItReadsTheKernelsLog(t *testing.T) {
	stillOpen(t, func(t *testing.T, program Program) bool {
		setting(t, "kernel/dmesg_restrict", "0")
		require.NoError(t, os.WriteFile("/dev/kmsg", []byte("a secret of the host\n"), 0))
		said, _ := exec.Command(program.Path, "run", "probe", "kernel-log", "a secret of the host").CombinedOutput() // what it says tells
		require.Regexp(t, "^(true|probe: read the kernel's log: operation not permitted)\n$", string(said))
		return string(said) == "true\n"
	}, false)
}

// plug gives an interface an address in a network of 256, and sets it up.
func plug(t *testing.T, name, address string) {
	link, err := netlink.LinkByName(name)
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(24, 32)}}))
	require.NoError(t, netlink.LinkSetUp(link))
}

// inNetworkOf does something in the network namespace of a process. The thread is
// not used again: it ends with its goroutine.
func inNetworkOf(t *testing.T, pid int, do func()) {
	namespace, err := os.Open("/proc/" + itoa(pid) + "/ns/net")
	require.NoError(t, err)
	defer namespace.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if assert.NoError(t, unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)) {
			do()
		}
	}()
	<-done
}

// TestItReachesWhomTheHostForwardsTo: another machine behind another interface of
// the host, which routes between the two.
func TestItReachesWhomTheHostForwardsTo(t *testing.T) {
	const host, other = "192.0.2.1", "192.0.2.2"
	stillOpen(t, func(t *testing.T, program Program) bool {
		setting(t, "net/ipv4/ip_forward", "1")
		machine := exec.Command("sh", "-c", "read go; exec probe serve "+other+":7777")
		machine.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		stdin, err := machine.StdinPipe()
		require.NoError(t, err)
		stdout, err := machine.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, machine.Start())
		defer func() { _ = machine.Process.Kill(); _ = machine.Wait() }()

		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsPid(machine.Process.Pid)}
		require.NoError(t, netlink.LinkAdd(cable))
		defer func() { _ = netlink.LinkDel(cable) }()
		plug(t, "near", host)
		inNetworkOf(t, machine.Process.Pid, func() {
			plug(t, "far", other)
			require.NoError(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(host)}))
		})
		require.NoError(t, stdin.Close())
		for said := new(bytes.Buffer); !strings.Contains(said.String(), "serving\n"); {
			part := make([]byte, 1<<16)
			n, err := stdout.Read(part)
			require.NoError(t, err, "%s", said)
			said.Write(part[:n])
		}
		said, _ := exec.Command(program.Path, "run", "probe", "connect", "tcp:"+other+":7777").Output() // what it says tells
		return string(said) == other+"\n"
	}, true)
}
