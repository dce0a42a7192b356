//go:build linux

// Step 06 runs a command with a network of its own, on a bridge with others.
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
	if len(os.Args) > 2 && os.Args[1] == "rerun" {
		exit(rerun(os.Args[2:]))
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
	if os.Geteuid() != 0 {
		return runAsRoot(command)
	}
	if err := prepareRootfs(); err != nil {
		return 0, explain(err)
	}
	c, err := reexec("init", command, asRoot(&syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUTS |
			syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNS |
			syscall.CLONE_NEWNET,
	}))
	if err != nil {
		return 0, explain(fmt.Errorf("create namespaces: %w", err))
	}
	// From here on signals wait for c.wait: the cgroup is always removed.
	cgroup, err := createCgroup(c.process.Process.Pid)
	defer cgroup.remove(&err)
	err = unlessOrdinary("limits", cgroupError(err))
	if err == nil {
		err = unlessOrdinary("network but loopback", connect(c.process.Process.Pid))
	}
	if err != nil {
		c.process.Process.Kill() // never released: it ran nothing
		c.process.Wait()
		return 0, err
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
		configureNetwork,
		unlockRootfs,
		pivotRoot,
		mountFilesystems,
		leaveOldRoot,
	} {
		if err := prepare(); err != nil {
			return explain(err)
		}
	}
	return execute(command)
}
