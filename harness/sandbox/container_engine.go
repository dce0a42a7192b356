//go:build linux

package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// A variant is one way to ask an engine for a container whose root may do
// what the root of a machine may.
type variant struct {
	name   string   // as a Finding says it
	engine string   // the program in PATH
	global []string // options of the engine itself
	run    []string // options of its run command
}

// variants are tried in this order, each as it is known to be needed
// somewhere: an engine whose daemon has no CAP_SYS_RESOURCE can neither give
// that capability ("unable to apply caps") nor raise a limit ("setrlimit
// RLIMIT_NPROC"), and crun refuses hybrid cgroups.
var variants = []variant{
	{
		name:   "docker --privileged",
		engine: "docker",
		run:    []string{"--privileged"},
	},
	{
		name:   "docker with listed capabilities",
		engine: "docker",
		run: []string{
			"--cap-add=ALL", "--cap-drop=SYS_RESOURCE",
			"--security-opt", "seccomp=unconfined",
			"--security-opt", "apparmor=unconfined",
			"--security-opt", "label=disable",
		},
	},
	{
		name:   "podman --privileged",
		engine: "podman",
		run:    []string{"--privileged"},
	},
	{
		name:   "podman with runc",
		engine: "podman",
		global: []string{"--runtime", "runc"},
		run: []string{
			"--privileged",
			"--ulimit", "nproc=4096:4096", "--ulimit", "nofile=4096:4096",
		},
	},
}

// selfInside is where the harness's own executable stands in the container.
const selfInside = "/.harness"

// imageName and imageLabel mark what is ours among the engine's images.
const (
	imageName  = "localhost/containers-from-scratch/machine"
	imageLabel = "containers-from-scratch.machine"
)

// runArgs are the engine's arguments for process 1 of a machine. Its stdin
// and stdout are the control channel, so the log driver must not copy them.
func (v variant) runArgs(name, self, image string) []string {
	args := append([]string{}, v.global...)
	args = append(args, "run", "-i", "--rm", "--name", name,
		"--network", "none", "--cgroupns", "private",
		"--log-driver", "none", "--pull", "never",
		"-v", self+":"+selfInside+":ro")
	args = append(args, v.run...)
	return append(args, image, selfInside, "guest-container")
}

// execArgs are the engine's arguments for one job: the engine carries stdio
// and the terminal, encoded says the rest (guestJob).
func (v variant) execArgs(name, encoded string, stdin, tty bool) []string {
	args := append([]string{}, v.global...)
	args = append(args, "exec")
	if stdin {
		args = append(args, "-i")
	}
	if tty {
		args = append(args, "-t")
	}
	return append(args, name, selfInside, "guest-container", "job", encoded)
}

// command is a call of the variant's engine.
func (v variant) command(args ...string) *exec.Cmd {
	return exec.Command(v.engine, append(append([]string{}, v.global...), args...)...)
}

// ensureImage imports the machine root as an image, unless the engine has
// this very content, and returns the image's name. Nothing is pulled.
func (v variant) ensureImage() (string, error) {
	root, err := machineRoot()
	if err != nil {
		return "", fmt.Errorf("make the machine root: %w", err)
	}
	sum := sha256.New()
	if err := packTar(sum, map[string]string{"/": root}); err != nil {
		return "", fmt.Errorf("read the machine root: %w", err)
	}
	key := hex.EncodeToString(sum.Sum(nil))[:16]
	image := imageName + ":" + key
	if _, err := output(v.command("image", "inspect", image)); err == nil {
		return image, nil
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(packTar(w, map[string]string{"/": root})) }()
	cmd := v.command("import", "--change", "LABEL "+imageLabel+"="+key, "-", image)
	cmd.Stdin = r
	_, err = output(cmd)
	r.Close() // an import that failed early leaves the writer waiting
	if err != nil {
		return "", fmt.Errorf("import the machine root: %w", err)
	}
	v.removeOldImages(image)
	return image, nil
}

// removeOldImages drops our images of other content. One that a machine
// still runs on is refused by the engine and goes next time.
func (v variant) removeOldImages(image string) {
	current, err := output(v.command("images", "-q", "--no-trunc", image))
	if err != nil {
		return
	}
	ours, err := output(v.command("images", "-q", "--no-trunc", "--filter", "label="+imageLabel))
	if err != nil {
		return
	}
	for _, id := range strings.Fields(ours) {
		if !strings.Contains(current, id) {
			_, _ = output(v.command("rmi", id))
		}
	}
}
