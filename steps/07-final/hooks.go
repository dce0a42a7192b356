//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runHooks runs hooks in their order, each with the container's state on its
// standard input, and stops at the first that fails: see the runtime-spec's
// config.md, POSIX-platform Hooks.
func runHooks(kind string, hooks []specs.Hook, s specs.State) error {
	for _, hook := range hooks {
		if err := runHook(hook, s); err != nil {
			return fmt.Errorf("run %s hook %s: %w", kind, hook.Path, err)
		}
	}
	return nil
}

// runHook runs one hook, and kills it when its timeout (seconds) is over.
func runHook(hook specs.Hook, s specs.State) error {
	stdin, err := json.Marshal(s, anyBytes)
	if err != nil {
		return err
	}
	seconds := cmp.Or(given(hook.Timeout), 1<<30) // 34 years
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Duration(seconds)*time.Second,
		fmt.Errorf("timeout of %d s", seconds))
	defer cancel()
	var output bytes.Buffer
	// The path is absolute: nothing is looked up in PATH. An environment of nil
	// would be the runtime's.
	command := exec.CommandContext(ctx, hook.Path)
	command.Args, command.Env = hook.Args, append([]string{}, hook.Env...)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &output, &output
	command.WaitDelay = time.Second // what it left behind may hold its output open
	err = command.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // the hook itself has ended well
		err = nil
	}
	if late := context.Cause(ctx); late != nil {
		err = late
	}
	if err != nil && output.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(output.Bytes()))
	}
	return err
}

// runtimeHooks runs those of create that belong outside, when init is ready.
// The deprecated prestart ones come first: Docker's network is one.
func (s *state) runtimeHooks(spec *specs.Spec, c *container) error {
	hooks, created := given(spec.Hooks), s.public(specs.StateCreated)
	return inOrder(
		func() error { return c.channel.receive("hooks") },
		func() error { return runHooks("prestart", hooks.Prestart, created) },
		func() error { return runHooks("createRuntime", hooks.CreateRuntime, created) },
		func() error { return c.channel.send("hooks") },
	)
}

// runCreateHooks lets the runtime run its hooks, now that the namespaces are
// there, and runs those of them that belong inside: see createContainer.
func (c *initHalf) runCreateHooks() error {
	if !c.Hooks {
		return nil
	}
	c.State.Pid = os.Getpid() // as it is seen inside
	return inOrder(
		func() error { return c.channel.send("hooks") },
		func() error { return c.channel.receive("hooks") },
		func() error { return runHooks("createContainer", given(c.Spec.Hooks).CreateContainer, c.State) },
	)
}

// runStartHooks runs those that belong inside, right before the command.
func (c *initHalf) runStartHooks() error {
	return runHooks("startContainer", given(c.Spec.Hooks).StartContainer, c.State)
}
