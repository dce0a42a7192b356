//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A channel is one end of a socket pair. The runtime says what is to be
// done, init how it went; end-of-file means that the other half is dead, or
// that init has become the command.
type channel struct {
	file *os.File
	in   *jsontext.Decoder
}

// A message is what one half says to the other.
type message struct {
	Event  string // hooks, created, start, detach, warning, failed
	Text   string `json:",omitempty"`
	Status int    `json:",omitempty"` // of the runtime, if init failed
}

// newChannel makes a channel of a socket.
func newChannel(file *os.File) *channel {
	return &channel{file, jsontext.NewDecoder(file)}
}

// receive waits for the message that is due. A warning on the way is logged; a
// failure of init, or its death, is the error.
func (c *channel) receive(event string) error {
	for {
		var m message
		switch err := json.UnmarshalDecode(c.in, &m); {
		case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
			return fmt.Errorf("wait for %s: init is dead: %w", event, io.EOF)
		case err != nil:
			return fmt.Errorf("wait for %s: %w", event, err)
		case m.Event == "warning":
			warn(m.Text)
		case m.Event == "failed":
			return commandError{errors.New(m.Text), m.Status}
		case m.Event != event:
			return fmt.Errorf("wait for %s: got %s", event, m.Event)
		default:
			return nil
		}
	}
}

// send says event to the other half.
func (c *channel) send(event string) error {
	return wrap(json.MarshalWrite(c.file, message{Event: event}), "send %s", event)
}

// sendConfig tells init what to do, and with which files.
func (c *channel) sendConfig(config initConfig, tasks []*os.File) error {
	var fds []int
	for _, file := range tasks {
		defer file.Close()
		fds = append(fds, int(file.Fd()))
	}
	p := config.Spec.Process
	config.Args, config.Env = []byte(strings.Join(p.Args, "\x00")), []byte(strings.Join(p.Env, "\x00"))
	text, err := json.Marshal(config, anyBytes)
	if err == nil {
		err = unix.Sendmsg(int(c.file.Fd()), []byte{0}, unix.UnixRights(fds...), nil, 0)
	}
	if err == nil {
		_, err = c.file.Write(text)
	}
	return wrap(err, "configure init")
}

// socketPair makes the two ends of a channel.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}

// An initConfig is what init is told: everything else it finds out inside.
type initConfig struct {
	Spec         *specs.Spec       // as in config.json, but for the profile
	Args, Env    []byte            // of Process, between NULs: they may be no UTF-8, and JSON is
	Exec         bool              // into a running container: all is there
	Cgroup       cgroup            // for the mount that shows it
	Seccomp      []unix.SockFilter // loaded right before the command
	SeccompFlags uintptr
	Connected    bool        // eth0 is there
	Keyring      bool        // a session keyring of its own
	Inherit      bool        // what is open when init starts stays open
	Preserve     int         // descriptors from 3 on, for the command
	ID           string      // names the keyring
	Hooks        bool        // the runtime waits to run its own
	State        specs.State // for those inside
	Processes    *int64      // their limit, or nil
}

// An initHalf is what init knows: what it was told, and the channel to who
// told it.
type initHalf struct {
	initConfig
	channel *channel
	root    *rootfs // before pivotRoot
	path    string  // of the command, once it is found
	tasks   []int   // descriptors, for joinCgroup
	pidsMax int     // another, for limitProcesses
}

// awaitConfig waits until the runtime has prepared everything outside and says
// what to do. End-of-file means that it is dead: then nothing is done.
func awaitConfig() (*initHalf, error) {
	// Only with a channel: by hand, on the host, init would rename the host.
	fd, _ := strconv.Atoi(os.Args[len(os.Args)-1])
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		exit(oneLineUsage())
	}
	c := &initHalf{channel: newChannel(os.NewFile(uintptr(fd), "channel"))}
	var err error
	if c.tasks, err = receiveFiles(fd); err == nil {
		err = json.UnmarshalDecode(c.channel.in, &c.initConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if c.Spec.Process.Args != nil {
		c.Spec.Process.Args = strings.Split(string(c.Args), "\x00")
	}
	c.Spec.Process.Env = strings.FieldsFunc(string(c.Env), func(r rune) bool { return r == 0 })
	c.Spec.Linux = cmp.Or(c.Spec.Linux, new(specs.Linux)) // what is empty is left out
	if c.Inherit {                                        // but the channel, whose end says that init is the command
		unix.CloseOnExec(fd)
		return c, nil
	}
	return c, closeDescriptors(3)
}

// receiveFiles receives the files of sendConfig, as descriptors.
func receiveFiles(socket int) (fds []int, err error) {
	rights := make([]byte, unix.CmsgSpace(4*253)) // the kernel's SCM_MAX_FD
	n, length, flags, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 || flags&unix.MSG_CTRUNC != 0 {
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:length])
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	return unix.ParseUnixRights(&messages[0])
}

// warn reports to the runtime what is no error. It says so where its own log
// is.
func (c *initHalf) warn(format string, args ...any) {
	json.MarshalWrite(c.channel.file, message{Event: "warning", Text: fmt.Sprintf(format, args...)}, anyBytes)
}

// fail reports to the runtime, or to start, why there is no command, and ends
// init. Where nobody listens, stderr is the container's.
func (c *initHalf) fail(err error) error {
	m := message{Event: "failed", Text: err.Error(), Status: 125}
	if e, ok := errors.AsType[commandError](err); ok {
		m.Status = e.status
	}
	if json.MarshalWrite(c.channel.file, m, anyBytes) != nil {
		return err
	}
	os.Exit(m.Status)
	return nil
}

// awaitStart tells the runtime that the container is created, and waits until
// it or, after detach, start says that the command may run.
func (c *initHalf) awaitStart() error {
	if c.Exec && !c.Spec.Process.Terminal { // from here on, nobody says why init died
		stderr := int(c.channel.file.Fd()) + 2 // of the files behind it, see execIn
		if err := unix.Dup3(stderr, 2, 0); err != nil {
			return fmt.Errorf("take standard error: %w", err)
		}
	}
	if err := c.channel.send("created"); err != nil {
		return err
	}
	var m message
	if err := json.UnmarshalDecode(c.channel.in, &m); err != nil {
		return fmt.Errorf("wait for start: %w", err)
	}
	if m.Event == "detach" {
		return c.detach()
	}
	return nil
}
