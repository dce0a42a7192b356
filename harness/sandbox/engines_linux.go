package sandbox

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// plain are the ways to run a container as an engine does it for everybody,
// but without a network, which would change this machine. The second is for a
// machine that may raise no limit, see variants.
var plain = []variant{
	{engine: "docker"},
	{engine: "podman"},
	{engine: "podman", global: []string{"--runtime", "runc"},
		run: []string{"--ulimit", "nproc=4096:4096", "--ulimit", "nofile=4096:4096"}},
}

// EngineCommand returns the words that run a command in a container of an
// engine of this machine, in which file is /probe: its path is the next word.
// The first way that works is taken; what it was tried with is `/probe args`.
func EngineCommand(engine, file string) (words []string, err error) {
	if err := errors.Join(rootless(engine), engineAnswers(engine)); err != nil {
		return nil, err
	}
	for _, v := range plain {
		if v.engine != engine {
			continue
		}
		var image string
		if image, err = v.ensureImage(); err != nil {
			return nil, err
		}
		words = append([]string{engine}, v.global...)
		words = append(words, "run", "-i", "--rm", "--network", "none", "--pull", "never", "-v", file+":/probe:ro")
		words = append(append(words, v.run...), image)
		cmd := exec.Command(engine, append(words[1:len(words):len(words)], "/probe", "args")...)
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		_, err = output(cmd)
		late.Stop()
		if err == nil {
			return words, nil
		}
	}
	return nil, fmt.Errorf("it runs no container here: %w", err)
}
