//go:build linux

// Step 04 runs a command within limits: of memory, of processes, and of the
// time that it takes from the others.
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
			syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNS,
	})
	if err != nil {
		return 0, fmt.Errorf("create namespaces: %w%s", err, hint(err))
	}
	// From here on signals wait for c.wait: the cgroup is always removed.
	cgroup, err := createCgroup(c.process.Process.Pid)
	defer cgroup.remove(&err)
	if err != nil {
		c.process.Process.Kill() // never released: it ran nothing
		c.process.Wait()
		return 0, cgroupError(err)
	}
	return c.wait(), nil
}

// initProcess is the half inside: it prepares the namespaces it was born in
// and becomes command. It returns only to say what went wrong.
func initProcess(command []string) error {
	for _, prepare := range []func() error{
		awaitRelease,
		hideCgroup,
		setHostname,
		makeMountsPrivate,
		mountRootfs,
		pivotRoot,
		mountFilesystems,
		leaveOldRoot,
	} {
		if err := prepare(); err != nil {
			return err
		}
	}
	return execute(command)
}
