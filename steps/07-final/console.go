//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// console is a pseudoterminal of the container: its process has the slave as
// terminal, who started it the master. See pty(7).
type console struct{ master, slave *os.File } // named as in the container: /dev/pts/0

// openConsole makes a pseudoterminal in the devpts of the container, for user
// uid. Call it inside, where / is the container's, but before the change of
// user: nothing that is found there is trusted.
func openConsole(size *specs.Box, uid int) (c console, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open console: %w", err)
		}
	}()
	dir, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return c, fmt.Errorf("/dev/pts: %w", err)
	}
	defer unix.Close(dir)
	if !isOn(dir, unix.DEVPTS_SUPER_MAGIC) {
		return c, errors.New("/dev/pts is no devpts")
	}
	// In a devpts, ptmx is what it should be, unless something is mounted on
	// it.
	fd, err := openat2(dir, "ptmx", unix.O_RDWR|unix.O_NOCTTY, unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return c, fmt.Errorf("/dev/pts/ptmx: %w", err)
	}
	c.master = os.NewFile(uintptr(fd), "/dev/pts/ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return c, fmt.Errorf("unlock the slave: %w", err)
	}
	name := fmt.Sprint("/dev/pts/", number)
	// The slave of this master, and not what the path leads to: see TIOCGPTPEER
	// in ioctl_tty(2).
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return c, fmt.Errorf("%s: %w", name, errno)
	}
	c.slave = os.NewFile(slave, name)
	if size != nil {
		if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}); err != nil {
			return c, fmt.Errorf("set the size of %s: %w", c.slave.Name(), err)
		}
	}
	return c, c.slave.Chown(uid, -1) // as login(1) does: else he could not open it again
}

// send passes the master on through socket, and closes it here: one message,
// the descriptor with the slave's name, as engines expect it on their
// --console-socket.
func (c console) send(socket *os.File) error {
	defer c.master.Close()
	err := unix.Sendmsg(int(socket.Fd()), []byte(c.slave.Name()), unix.UnixRights(int(c.master.Fd())), nil, 0)
	return wrap(err, "send %s to the console socket", c.slave.Name())
}

// attach makes the slave this process' terminal and standard streams. Only who
// leads a session can have one, so it starts a session.
func (c console) attach() error {
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	slave := int(c.slave.Fd())
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make %s the terminal: %w", c.slave.Name(), err)
	}
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return fmt.Errorf("make %s descriptor %d: %w", c.slave.Name(), fd, err)
		}
	}
	return nil
}

// mountOnDevConsole makes the slave the container's /dev/console. Call it after
// pivot_root, when no process of the container runs yet.
func (c console) mountOnDevConsole() error {
	tree, err := cloneMount(int(c.slave.Fd()), "", false)
	if err != nil {
		return fmt.Errorf("clone the mount of %s: %w", c.slave.Name(), err)
	}
	defer unix.Close(tree)
	// What the image has there is not opened, and a link is not followed.
	target, err := (&rootfs{fd: unix.AT_FDCWD}).create("/dev/console", noLinks, false)
	if err == nil {
		defer unix.Close(target)
		err = attach(tree, target)
	}
	return wrap(err, "mount %s on /dev/console", c.slave.Name())
}

// dialConsole connects to the socket that is to get the terminal's master; nil
// is for a process without one.
func dialConsole(p *specs.Process, path string) (*os.File, error) {
	switch {
	case p.Terminal && path == "":
		return nil, errors.New("process.terminal needs --console-socket (without both, the command has the terminal of its caller)")
	case !p.Terminal && path != "":
		return nil, errors.New("--console-socket is for a process with terminal: true")
	case path == "":
		return nil, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		return nil, fmt.Errorf("connect to console socket %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openTerminal gives the command a terminal, if config.json says so, and its
// other side to who asked for it.
func (c *initHalf) openTerminal() error {
	if !c.Spec.Process.Terminal {
		return nil
	}
	console, err := openConsole(c.Spec.Process.ConsoleSize, int(c.Spec.Process.User.UID))
	if err != nil {
		return err
	}
	if !c.Exec {
		if err := console.mountOnDevConsole(); err != nil {
			return err
		}
	}
	socket := os.NewFile(c.channel.file.Fd()+1, "console socket") // see openFiles
	if err := console.send(socket); err != nil {
		return err
	}
	return console.attach()
}
