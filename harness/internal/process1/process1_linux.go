// Package process1 is what process 1 of a machine has to do, whoever made it.
package process1

import (
	"errors"

	"golang.org/x/sys/unix"
)

// UpLoopback sets lo up, see netdevice(7).
func UpLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// Await reaps whatever ends until the child pid does. It returns that one's
// status, 128+n when signal n killed it.
func Await(pid int) (status int, err error) {
	for {
		var end unix.WaitStatus
		ended, err := unix.Wait4(-1, &end, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case ended == pid && end.Signaled():
			return 128 + int(end.Signal()), nil
		case ended == pid:
			return end.ExitStatus(), nil
		}
	}
}
