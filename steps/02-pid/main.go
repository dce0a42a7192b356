//go:build linux

// Step 02 runs a command as process 1. A process keeps its PID namespace for
// life, so the program starts its other half, init, in a new one, and that
// half becomes the command.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "run" {
		exit(run(os.Args[2:]))
	}
	// Only as process 1 of a container: on the host, init renames the host.
	if len(os.Args) > 2 && os.Args[1] == "init" && os.Getpid() == 1 {
		exit(0, initProcess(os.Args[2:]))
	}
	fmt.Fprintf(os.Stderr, "usage: %s run CMD [ARG...]\n", filepath.Base(os.Args[0]))
	os.Exit(125)
}

// run is the half that stays on the host: it starts init in new namespaces
// and returns the command's exit status.
func run(command []string) (status int, err error) {
	c, err := reexec("init", command, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUTS |
			syscall.CLONE_NEWPID,
	})
	if err != nil {
		return 0, fmt.Errorf("create namespaces: %w%s", err, hint(err))
	}
	return c.wait(), nil
}

// initProcess is the half inside: it prepares the namespaces it was born in
// and becomes command. It returns only to say what went wrong.
func initProcess(command []string) error {
	for _, prepare := range []func() error{
		awaitRelease,
		setHostname,
	} {
		if err := prepare(); err != nil {
			return err
		}
	}
	return execute(command)
}
