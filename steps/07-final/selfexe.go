//go:build linux

package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sealedExecutable opens this program so that nobody can write to it through
// /proc/PID/exe. Whoever runs inside a container before execve(2) shows there
// the host's file, and a container's root could replace the runtime, which root
// starts next (CVE-2019-5736). Start it as /proc/self/fd/N, and close N after.
func sealedExecutable() (*os.File, error) {
	if f, err := throughReadOnlyMount("/proc/self/exe"); err == nil {
		return f, nil
	}
	// An ordinary user may not mount, and Linux has this since 5.12.
	f, err := sealedCopy("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("seal a copy of our program: %w", err)
	}
	return f, nil
}

// throughReadOnlyMount opens the file at path through a mount of its own, that
// is read-only and in no mount namespace. With tree closed it is detached: then
// nobody can make it writable, whatever capabilities he has.
func throughReadOnlyMount(path string) (*os.File, error) {
	tree, err := cloneMount(unix.AT_FDCWD, path, false)
	if err != nil {
		return nil, err
	}
	defer unix.Close(tree)
	if err := changeMount(tree, readOnly, false); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", tree))
}

// sealedCopy copies the file at path to memory that nobody can change.
func sealedCopy(path string) (*os.File, error) {
	source, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	// Before Linux 6.3 MFD_EXEC was understood, and EINVAL.
	fd, err := unix.MemfdCreate("runtime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("runtime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "runtime")
	if _, err = io.Copy(f, source); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS,
			unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
