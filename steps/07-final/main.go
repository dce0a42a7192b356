//go:build linux

// Step 07 is a complete container runtime. `run CMD` is the six steps with
// every protection; the other verbs are the command line of the OCI, by which
// podman, docker and containerd drive a runtime. README.md has the map.
package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

func main() {
	unix.Umask(0o022)
	if len(os.Args) > 1 && os.Args[1] == "init" {
		exit(0, initProcess())
	}
	exit(dispatch(os.Args[1:]))
}

// runCommand is `run CMD`, the half that stays on the host: it starts init in
// new namespaces, within limits and on the bridge, and returns the command's
// exit status.
func runCommand(o runOptions, command []string) (status int, err error) {
	if os.Geteuid() != 0 {
		return runAsRoot()
	}
	spec := defaultSpec(command)
	if err := o.apply(spec); err != nil {
		return 0, err
	}
	if spec.Root != nil {
		if spec.Root.Path, err = prepareRootfs(spec.Mounts); err != nil {
			return 0, explain(err)
		}
	}
	if o.keeps("descriptors") {
		if err := closeDescriptors(3); err != nil {
			return 0, err
		}
	}
	signals := notify() // from here on they wait for c.wait: the cgroup is always removed
	var limits cgroup
	group, refused := findCgroup("", fmt.Sprintf("%d-%x", os.Getpid(), rand.Uint32()))
	if refused == nil && o.keeps("limits") {
		if refused = group.create(spec.Linux.Resources); refused == nil {
			limits = group
			defer func() { err = cmp.Or(err, limits.remove()) }()
		}
	}
	c, err := reexec(spec, inheritance{cgroup: limits})
	if err != nil {
		return 0, err
	}
	defer c.kill() // before the cgroup is removed
	c.signals = signals
	tasks, err := limits.join(c.process.Pid)
	if err := unlessOrdinary("limits", cmp.Or(refused, err)); err != nil {
		return 0, err
	}
	connected := false
	if o.keeps("network") {
		err := connect(c.process.Pid)
		if connected = err == nil; unlessOrdinary("network but loopback", err) != nil {
			return 0, explainDeath(err, c.process)
		}
	}
	err = c.configure(initConfig{Spec: spec, Cgroup: group, Connected: connected,
		Keyring: o.keeps("keyring"), Inherit: !o.keeps("descriptors")}, tasks, nil)
	if err != nil {
		return 0, explain(err)
	}
	return c.wait(func() error { return c.release("start") })
}

// initProcess is the half inside: it prepares the namespaces it was born in
// and becomes the command. It returns only to say what went wrong.
func initProcess() error {
	c, err := awaitConfig()
	if err != nil {
		return err
	}
	namespaces := []func() error{
		c.joinCgroup,       // the runtime has made it
		c.hideCgroup,       // from here on /proc/self/cgroup is "/"
		c.setHostname,      //
		c.configureNetwork, // lo, and eth0 where there is one
	}
	files := []func() error{
		c.enterRootfs,      // mounts are private; the root filesystem is one
		c.mountFilesystems, // /proc, /dev, and what else config.json lists
		c.createDevices,    //
		c.runCreateHooks,   // the last acts with the host's files in sight
		c.pivotRoot,        // the old root is gone
		c.finishRootfs,     // what of it is masked, and what read-only
	}
	command := []func() error{
		c.openTerminal,   //
		c.enterDirectory, //
		c.findCommand,    // a command that is missing must not be started
		c.awaitStart,     //
		c.runStartHooks,  //
		c.restrict,       // user, capabilities: all that the command must not have
		c.execute,
	}
	if c.Exec {
		namespaces = nil // the runtime joined them
	}
	if c.Exec || c.Spec.Root == nil { // run --without mount
		files = nil
	}
	if err := inOrder(slices.Concat(namespaces, files, command)...); err != nil {
		return c.fail(explain(err))
	}
	return nil
}

// inOrder takes steps until one fails, and returns its error.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
