//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// playConsole is an init with a terminal. It sends the master, or why there is
// none, through descriptor 3, and tells on the terminal what it has.
func playConsole(args []string) {
	socket := os.NewFile(3, "socket")
	if err := prepareDev(args[0]); err != nil {
		fmt.Fprint(socket, "prepare: ", err)
		return
	}
	c, err := openConsole(&specs.Box{Height: 33, Width: 99}, 1234)
	if err == nil {
		err = c.mountOnDevConsole()
	}
	if err == nil {
		err = c.send(socket)
	}
	if err != nil {
		fmt.Fprint(socket, err)
		return
	}
	if err = c.attach(); err != nil {
		fmt.Fprint(c.slave, err)
		return
	}
	var console, stdin unix.Stat_t
	unix.Stat("/dev/console", &console)
	unix.Fstat(0, &stdin)
	session, _ := unix.Getsid(0)
	fmt.Println("leads", session == os.Getpid(), "console", console.Rdev == stdin.Rdev, "owner", stdin.Uid, c.slave.Name())
	tty, err := os.Open("/dev/console")
	fmt.Fprintln(os.Stderr, "open", err)
	tty.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
		fmt.Println("got", lines.Text(), size.Row, size.Col, err)
	}
}

// prepareDev makes a /dev that is right, or wrong in the way that flaw says.
func prepareDev(flaw string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := os.Mkdir("/dev/pts", 0o755); err != nil {
		return err
	}
	if flaw == "no devpts" {
		return unix.Mkfifo("/dev/pts/ptmx", 0o666)
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil { // where pivot leaves it
		return err
	}
	switch flaw {
	case "file":
		return os.WriteFile("/dev/console", nil, 0o600)
	case "link":
		if err := os.WriteFile("/dev/victim", nil, 0o600); err != nil {
			return err
		}
		return os.Symlink("victim", "/dev/console")
	case "covered":
		if err := os.WriteFile("/dev/other", nil, 0o666); err != nil {
			return err
		}
		return unix.Mount("/dev/other", "/dev/pts/ptmx", "", unix.MS_BIND, "")
	}
	return nil
}

// castConsole starts an init with a terminal in namespaces of its own.
func castConsole(t *testing.T, flaw string) (p *part, socket *os.File) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	socket, theirs := os.NewFile(uintptr(ends[0]), "socket"), os.NewFile(uintptr(ends[1]), "socket")
	t.Cleanup(func() { socket.Close() })
	p, err = cast(t, spawnAttr{
		New:         unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UIDMappings: mappings, GIDMappings: mappings, Files: []*os.File{theirs},
	}, "console", flaw)
	theirs.Close()
	require.NoError(t, err)
	require.NoError(t, p.start())
	return p, socket
}

func TestConsoleOfAContainer(t *testing.T) {
	needsRootInSandbox(t)
	for _, flaw := range []string{"", "file"} {
		p, socket := castConsole(t, flaw)
		master := receiveConsole(t, socket)
		defer master.Close()
		require.Equal(t, "/dev/pts/0", master.Name())
		lines := bufio.NewReader(master)
		line := func() string {
			text, err := lines.ReadString('\n')
			require.NoError(t, err)
			return text
		}
		require.Equal(t, "leads true console true owner 1234 /dev/pts/0\r\n", line())
		require.Equal(t, "open <nil>\r\n", line())
		fmt.Fprint(master, "one\n")
		require.Equal(t, "one\r\n", line(), "the terminal's echo")
		require.Equal(t, "got one 33 99 <nil>\r\n", line())
		fmt.Fprint(master, "\x04") // Ctrl-D
		p.end(t)
		rest, err := io.ReadAll(lines)
		require.Empty(t, rest)
		require.ErrorIs(t, err, unix.EIO, "nobody has the slave any more")
	}
}

func TestConsoleTrustsNothingThatItFinds(t *testing.T) {
	needsRootInSandbox(t)
	for flaw, want := range map[string]string{
		"no devpts": "open console: /dev/pts is no devpts",
		"covered":   "open console: /dev/pts/ptmx: invalid cross-device link",
		"link":      "mount /dev/pts/0 on /dev/console: too many levels of symbolic links",
	} {
		p, socket := castConsole(t, flaw)
		message, err := io.ReadAll(socket)
		require.NoError(t, err)
		require.Equal(t, want, string(message), flaw)
		p.end(t)
	}
}

// receiveConsole is the other side of send.
func receiveConsole(t *testing.T, socket *os.File) (master *os.File) {
	t.Helper()
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := unix.Recvmsg(int(socket.Fd()), name, rights, unix.MSG_CMSG_CLOEXEC)
	require.NoError(t, err)
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	require.NoError(t, err)
	require.Len(t, messages, 1, "%s", name[:n])
	fds, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	return os.NewFile(uintptr(fds[0]), string(name[:n]))
}
