//go:build linux || darwin

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long process 1 may take until its first word. Under KVM half a second is
// usual; under TCG two to three, and thirty have been seen on a busy machine.
const (
	kvmBootDeadline = 10 * time.Second
	tcgBootDeadline = 120 * time.Second
)

// A vmMachine is a running QEMU. Everything that waits for the guest reads
// from a socket that QEMU holds the other end of: killing QEMU, or its death,
// ends every wait, so that one rule, kill and then look, covers deadlines, a
// guest's panic and a guest that switched itself off.
type vmMachine struct {
	process *os.Process
	ports   map[string]*os.File // the host's ends, by the names of vmPorts
	toGuest *json.Encoder
	heard   *json.Decoder
	console consoleTail

	sending sync.Mutex // one message at a time on ctl

	ended  chan struct{} // closed when QEMU is gone and the console drained
	status string        // how QEMU ended; set before

	mu  sync.Mutex
	why string // why it was killed, the first reason

	running sync.Mutex // held by the one Run
}

// boot makes a machine that is ready for jobs: it continues one that was saved, or
// boots, and saves it for the next.
func (b *vmBoot) boot() (*vmMachine, error) {
	saved := b.savedFile()
	if f, err := os.Open(saved); saved != "" && err == nil {
		defer f.Close()
		now := time.Now()
		_ = os.Chtimes(saved, now, now) // see forgetOld
		if m, err := b.start(f); err == nil {
			return m, nil
		}
		_ = os.Remove(saved) // of no use, whatever it is
	}
	m, err := b.start(nil)
	if err != nil || saved == "" {
		return m, err
	}
	return m, m.save(saved)
}

// start starts QEMU and waits until process 1 is ready for jobs.
func (b *vmBoot) start(saved *os.File) (*vmMachine, error) {
	m := &vmMachine{ports: map[string]*os.File{}, ended: make(chan struct{})}
	if err := m.launch(b, saved); err != nil {
		m.closePorts()
		return nil, err
	}
	deadline := tcgBootDeadline
	if b.accel == "kvm" {
		deadline = kvmBootDeadline
	}
	timer := time.AfterFunc(deadline, func() { m.kill(fmt.Sprintf("the VM did not come up within %v", deadline)) })
	defer timer.Stop()
	m.toGuest, m.heard = json.NewEncoder(m.ports["ctl"]), json.NewDecoder(m.ports["ctl"])
	ready := m.awaitReady
	if saved != nil {
		ready = m.wake
	}
	if err := ready(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// awaitReady waits until process 1 says that jobs are welcome.
func (m *vmMachine) awaitReady() error {
	var first fromGuest
	if err := m.heard.Decode(&first); err != nil || !first.Ready {
		return m.failure(first.Error)
	}
	return nil
}

// launch starts QEMU with a socket for each port, and for the console and QEMU's
// monitor, and the file with a machine that it is to continue, if there is one.
func (m *vmMachine) launch(b *vmBoot, saved *os.File) error {
	cmd := exec.Command(b.qemu, b.qemuArgs()...)
	for _, name := range slices.Concat([]string{"console"}, vmPorts, []string{"monitor"}) {
		ours, theirs, err := socketpair(name)
		if err != nil {
			return err
		}
		defer theirs.Close() // QEMU has its own copy
		m.ports[name] = ours
		cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	}
	if saved != nil {
		cmd.Args = append(cmd.Args, "-incoming", fmt.Sprintf("fd:%d", 3+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, saved)
	}
	cmd.Stdout, cmd.Stderr = &m.console, &m.console
	cmd.SysProcAttr = qemuProcAttr()

	drained := make(chan struct{})
	go func() { // a console that nobody reads would stop the guest
		_, _ = io.Copy(&m.console, m.ports["console"])
		close(drained)
	}()
	started := make(chan error)
	go func() {
		// The kernel sends a parent's death signal when the *thread* that
		// forked ends, see prctl(2): this one stays as long as QEMU.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		m.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		m.status = cmd.ProcessState.String()
		<-drained // its end of the socket died with it
		close(m.ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", b.qemu, err)
	}
	return nil
}

// qemuArgs is QEMU's command line. The descriptors of ExtraFiles begin at 3.
func (b *vmBoot) qemuArgs() []string {
	cpu := b.tcgCPU
	accel := "tcg,thread=multi"
	// The kernel measures its processor's clock when it boots. On a busy machine the
	// emulated one is measured at a hundredth of its speed, all times in the guest
	// are too short then, and so they stay in the machine that is saved.
	clock := " tsc=unstable"
	if b.accel == "kvm" {
		cpu, accel, clock = "host", "kvm", ""
	}
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-m", "512",
		"-smp", strconv.Itoa(b.cpus), // under TCG a second one gained nothing that outlasted the noise
		"-accel", accel, "-cpu", cpu,
		"-kernel", b.kernel, "-initrd", b.initrd,
		// The kernel's tests of its own ciphers would be a sixth of a boot under TCG.
		"-append", b.console + " panic=-1 quiet loglevel=4 cryptomgr.notests" + clock + " " + cgroupParameter + b.cgroup,
		"-device", "virtio-serial-pci,max_ports=8",
		"-chardev", "socket,id=console,fd=3", "-serial", "chardev:console",
	}, b.args...)
	for i, name := range vmPorts {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=%s,fd=%d", name, 4+i),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s%s", name, portPrefix, name))
	}
	return append(args,
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", 4+len(vmPorts)), "-mon", "chardev=monitor,mode=control")
}

// What the kernel's command line and /sys/class/virtio-ports call our things.
const (
	cgroupParameter = "sandbox.cgroup="
	portPrefix      = "sandbox."
	guestComplaint  = "process 1 of the VM: " // on the console
)

// socketpair makes a connected pair, of which a child gets only theirs. Ours
// does not block, so that closing it ends a read.
func socketpair(name string) (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // SOCK_CLOEXEC is not everywhere
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket for the VM's %s: %w", name, err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}

// kill ends QEMU at once, for a reason that failure will tell. Later reasons
// are consequences of the first.
func (m *vmMachine) kill(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.why == "" {
		m.why = why
	}
	_ = m.process.Kill() // it may be gone already
}

// Close ends the machine. There is nothing in it to be kept.
func (m *vmMachine) Close() error {
	m.kill("the VM was closed")
	<-m.ended
	m.closePorts()
	return nil
}

// closePorts gives up the host's ends.
func (m *vmMachine) closePorts() {
	for _, f := range m.ports {
		f.Close()
	}
}

// failure ends the machine and says why it did not do what it should: what
// process 1 said, or why we killed it, or how it ended by itself. Its console's
// last words follow.
func (m *vmMachine) failure(said string) error {
	_ = m.ports["ctl"].SetReadDeadline(time.Now().Add(2 * time.Second))
	for said == "" { // QEMU may be gone, what it wrote is still in the socket
		var more fromGuest
		if m.heard.Decode(&more) != nil {
			break
		}
		said = more.Error
	}
	select {
	case <-m.ended:
	case <-time.After(time.Second):
		m.kill("")
		<-m.ended
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	console := m.console.String()
	switch {
	case said != "":
	case m.why != "":
		said = m.why
	case strings.Contains(console, guestComplaint): // before it had a port to say it
		_, said, _ = strings.Cut(console, guestComplaint)
		said, _, _ = strings.Cut(said, "\n")
	case strings.Contains(console, "Kernel panic"):
		said = "the VM's kernel panicked"
	case m.status == "exit status 0":
		said = "the VM switched itself off"
	default:
		said = "QEMU ended by itself: " + m.status
	}
	m.why = said
	if console = strings.TrimSpace(console); console != "" {
		said += "\nthe VM's console ended with:\n" + console
	}
	return errors.New(said)
}

// A consoleTail keeps the last bytes written to it.
type consoleTail struct {
	mu   sync.Mutex
	last []byte
}

const consoleKeep = 3000

// Write never fails and never waits.
func (c *consoleTail) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = append(c.last, p...)
	c.last = c.last[max(0, len(c.last)-consoleKeep):]
	return len(p), nil
}

// String is what a terminal may be shown: a guest's escape sequences stay out.
func (c *consoleTail) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && r != '\ufffd' && (r < 0x80 || r > 0x9f) {
			return r
		}
		return -1
	}, string(c.last))
}

// firstLine is an error without the console that may follow.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
