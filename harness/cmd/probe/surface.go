//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What step 07 takes from a process that the steps before leave to it.

// A request is a system call that a container's programs do not need. Its
// arguments are such that the kernel itself answers otherwise than a filter.
type request struct {
	name   string
	number uintptr
	args   [5]uintptr
	filter syscall.Errno // the filter's answer
}

// surface prints which requests come through to the kernel, and then that it
// has tried. It is the answer EPERM, or ENOSYS, that tells the filter's hand.
func surface([]string) error {
	runtime.LockOSThread()
	name := append([]byte("probe"), 0)
	text := uintptr(unsafe.Pointer(&name[0]))
	keyring := keyringID(unix.KEY_SPEC_PROCESS_KEYRING)
	kind := append([]byte("user"), 0)
	ring := make([]byte, 120) // struct io_uring_params
	for _, r := range []request{
		{"add_key", unix.SYS_ADD_KEY, [5]uintptr{uintptr(unsafe.Pointer(&kind[0])), text, text, 5, keyring}, unix.EPERM},
		{"keyctl", unix.SYS_KEYCTL, [5]uintptr{unix.KEYCTL_GET_KEYRING_ID, keyring, 1}, unix.EPERM},
		{"request_key", unix.SYS_REQUEST_KEY, [5]uintptr{0, 0, 0, 0}, unix.EPERM},                                 // EFAULT
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [5]uintptr{0, 0, 0, 0, 0}, unix.EPERM},                      // EFAULT
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [5]uintptr{0, uintptr(unsafe.Pointer(&ring[0]))}, unix.EPERM}, // EINVAL: no entries
		{"userfaultfd", unix.SYS_USERFAULTFD, [5]uintptr{1 | unix.O_CLOEXEC}, unix.EPERM},                         // UFFD_USER_MODE_ONLY, for anybody
		{"mount", unix.SYS_MOUNT, [5]uintptr{1, 1, 1, 0, 1}, unix.EPERM},                                          // EFAULT
		{"setns", unix.SYS_SETNS, [5]uintptr{^uintptr(0), 0}, unix.EPERM},                                         // EBADF
		{"unshare", unix.SYS_UNSHARE, [5]uintptr{unix.CLONE_NEWUSER | unix.CLONE_SIGHAND}, unix.EPERM},            // EINVAL
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [5]uintptr{^uintptr(0), 1, 0}, unix.EPERM},              // EBADF or EFAULT
		{"personality", unix.SYS_PERSONALITY, [5]uintptr{0x0040000}, unix.EPERM},                                  // no random addresses
		{"socket(AF_VSOCK)", unix.SYS_SOCKET, [5]uintptr{unix.AF_VSOCK, 99, 0}, unix.EPERM},                       // EAFNOSUPPORT, ESOCKTNOSUPPORT
		{"ioctl(TIOCSTI)", unix.SYS_IOCTL, [5]uintptr{^uintptr(0), unix.TIOCSTI, text}, unix.EIO},                 // EBADF
		{"ioctl(TIOCSTI and a bit that the kernel does not see)", unix.SYS_IOCTL, [5]uintptr{^uintptr(0), 1<<32 | unix.TIOCSTI, text}, unix.EIO},
		{"clone3", unix.SYS_CLONE3, [5]uintptr{0, 0}, unix.ENOSYS}, // EINVAL
	} {
		_, _, errno := unix.Syscall6(r.number, r.args[0], r.args[1], r.args[2], r.args[3], r.args[4], 0)
		if errno != r.filter {
			fmt.Println(r.name)
		}
	}
	fmt.Println("tried")
	return nil
}

// keyringID makes a special keyring's number an argument.
func keyringID(id int) uintptr { return uintptr(id) }

// escalate copies itself to a set-user-ID file of root, runs that as user 1000,
// and prints as whom it ran.
func escalate([]string) error {
	const file = "/escalate"
	defer os.Remove(file)
	program, err := exec.LookPath(os.Args[0])
	if err != nil {
		return err
	}
	if err := copyFile(program, file); err != nil {
		return err
	}
	if err := os.Chmod(file, 0o755|os.ModeSetuid); err != nil {
		return err
	}
	cmd := exec.Command(file, "euid")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	return cmd.Run()
}

// copyFile copies a file.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// euid prints the effective user id.
func euid([]string) error {
	fmt.Println("euid", os.Geteuid())
	return nil
}

// nested makes a user namespace with a mount namespace and a PID namespace in
// it, mounts a filesystem of that type there, and says so.
func nested(args []string) error {
	runtime.LockOSThread()
	cmd := exec.Command(os.Args[0], "mounts", args[0])
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		// Without a map, which takes the right /proc to write: it is nobody, and
		// would lose in execve(2) what it does not have so.
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
		Pdeathsig:   unix.SIGKILL,
	}
	return cmd.Run()
}

// mounts mounts a filesystem of a type on /tmp and says so.
func mounts(args []string) error {
	if err := unix.Mount(args[0], "/tmp", args[0], 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", args[0], err)
	}
	fmt.Println("mounted", args[0])
	return nil
}

// shm prints what a System V segment of shared memory holds, or makes it hold
// something.
func shm(args []string) error {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	flags := 0
	if len(args) > 1 {
		flags = unix.IPC_CREAT | 0o666
	}
	id, err := unix.SysvShmGet(key, 4096, flags)
	if err != nil {
		return fmt.Errorf("get segment %d: %w", key, err)
	}
	memory, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return fmt.Errorf("attach segment %d: %w", key, err)
	}
	if len(args) > 1 {
		copy(memory, args[1])
	}
	fmt.Println(unix.ByteSliceToString(memory))
	return nil
}

// keyed becomes a program with a new session keyring, in which a key called
// host-key holds a secret.
func keyed(args []string) error {
	runtime.LockOSThread() // the keyring and execve(2) must be the same thread's
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("join a new session keyring: %w", err)
	}
	id, err := unix.AddKey("user", "host-key", []byte(args[0]), unix.KEY_SPEC_SESSION_KEYRING)
	if err == nil {
		err = unix.KeyctlSetperm(id, 0x3f3f3f3f) // for anybody who finds it
	}
	if err != nil {
		return fmt.Errorf("add a key: %w", err)
	}
	return become(args[1:])
}

// key prints what the key host-key of its session keyring holds.
func key([]string) error {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "host-key", 0)
	if err != nil {
		return fmt.Errorf("search host-key: %w", err)
	}
	secret := make([]byte, 100)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, secret, 0)
	if err != nil {
		return fmt.Errorf("read host-key: %w", err)
	}
	fmt.Println(string(secret[:n]))
	return nil
}

// node makes a device node and opens it for writing, which of the kernel's
// messages needs no right but that.
func node(args []string) error {
	defer os.Remove("/node")
	var numbers [2]uint32
	if _, err := fmt.Sscan(strings.Join(args, " "), &numbers[0], &numbers[1]); err != nil {
		return err
	}
	if err := unix.Mknod("/node", unix.S_IFCHR|0o600, int(unix.Mkdev(numbers[0], numbers[1]))); err != nil {
		return fmt.Errorf("make the node: %w", err)
	}
	if err := opens("/node", os.O_WRONLY); err != nil {
		return err
	}
	fmt.Println("opened")
	return nil
}
