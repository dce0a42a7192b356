//go:build linux

package main

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// sealedExecutable opens this program so that nobody can write to it through
// /proc/PID/exe. Whoever runs inside a container before execve(2) shows there
// the host's file, and a container's root could replace the runtime, which root
// starts next (CVE-2019-5736). Start it as /proc/self/fd/N. Call it first in
// the mount namespace that the program was started in.
var sealedExecutable = sync.OnceValues(func() (*os.File, error) {
	f, err := throughReadOnlyMount("/proc/self/exe")
	return f, wrap(err, "seal our program")
})

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
