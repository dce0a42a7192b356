//go:build linux

// Step 01 runs a command on a machine that it may rename: the program moves
// into a UTS namespace of its own, sets the hostname there and becomes the
// command.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "run" {
		exit(run(os.Args[2:]))
	}
	fmt.Fprintf(os.Stderr, "usage: %s run CMD [ARG...]\n", filepath.Base(os.Args[0]))
	os.Exit(125)
}

// run isolates this process and becomes command. It returns only to say what
// went wrong.
func run(command []string) (status int, err error) {
	// A namespace belongs to a thread. Go moves goroutines between threads;
	// without the lock the hostname could be set by one that is still outside.
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWUTS); err != nil {
		return 0, fmt.Errorf("create UTS namespace: %w%s", err, hint(err))
	}
	if err := setHostname(); err != nil {
		return 0, err
	}
	return 0, execute(command)
}
