//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// An initHalf is what init knows: what it was told, and the channel to who
// told it.
type initHalf struct {
	initConfig
	channel *channel
	root    *rootfs // before pivotRoot
	path    string  // of the command, once it is found
}

// awaitConfig waits until the runtime has prepared everything outside and says
// what to do. End-of-file means that it is dead: then nothing is done.
func awaitConfig() (*initHalf, error) {
	// Only with a channel: by hand, on the host, init would rename the host.
	var fd int
	if fmt.Sscan(strings.Join(os.Args[2:], " "), &fd); !isSocket(fd) {
		exit(oneLineUsage())
	}
	c := &initHalf{channel: newChannel(os.NewFile(uintptr(fd), "channel"))}
	var text json.RawMessage
	err := c.channel.in.Decode(&text)
	if err == nil {
		err = unmarshal(text, &c.initConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if c.Inherit { // but the channel, whose end says that init is the command
		unix.CloseOnExec(fd)
		return c, nil
	}
	return c, closeDescriptors(3)
}

// isSocket tells whether a descriptor is one.
func isSocket(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// warn reports to the runtime what is no error. It says so where its own log
// is.
func (c *initHalf) warn(format string, args ...any) {
	c.channel.out.Encode(message{Event: "warning", Text: fmt.Sprintf(format, args...)})
}

// fail reports to the runtime, or to start, why there is no command, and ends
// init. Where nobody listens, stderr is the container's.
func (c *initHalf) fail(err error) error {
	m := message{Event: "failed", Text: err.Error(), Status: 125}
	if e, ok := errors.AsType[commandError](err); ok {
		m.Status = e.status
	}
	if c.channel.out.Encode(m) != nil {
		return err
	}
	os.Exit(m.Status)
	return nil
}

// file returns one of those that reexec passed on behind the channel.
func (c *initHalf) file(number int) *os.File {
	return os.NewFile(c.channel.file.Fd()+1+uintptr(number), "")
}

// enterRootfs makes the root filesystem a mount of its own, in a mount
// namespace with no ties to the host's.
func (c *initHalf) enterRootfs() (err error) {
	if c.root, err = openRootfs(c.Spec.Root.Path, c.Spec.Linux.RootfsPropagation, hasNamespace(c.Spec, specs.MountNamespace)); err != nil {
		return err
	}
	c.root.label = c.Spec.Linux.MountLabel
	return nil
}

// mountFilesystems mounts what config.json lists.
func (c *initHalf) mountFilesystems() error {
	return c.root.mountAll(c.Spec.Mounts, c.Cgroup, hasNamespace(c.Spec, specs.CgroupNamespace))
}

// createDevices makes those of config.json and the default ones.
func (c *initHalf) createDevices() error {
	return c.root.createDevices(c.Spec.Linux.Devices, hasNamespace(c.Spec, specs.UserNamespace))
}

// pivotRoot makes the root filesystem the root.
func (c *initHalf) pivotRoot() error {
	if !hasNamespace(c.Spec, specs.MountNamespace) {
		return c.root.enter()
	}
	return c.root.pivot()
}

// finishRootfs does what takes the new root.
func (c *initHalf) finishRootfs() error { return c.root.finish(c.Spec) }

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
	defer console.close()
	if !c.Exec {
		if err := console.mountOnDevConsole(); err != nil {
			return err
		}
	}
	if err := console.send(c.file(0)); err != nil {
		return err
	}
	return console.attach()
}

// enterDirectory makes process.cwd the working directory, and makes it where
// the image has none.
func (c *initHalf) enterDirectory() error {
	return chdirInside(c.Spec.Process.Cwd)
}
