//go:build !linux

package sandbox

import (
	"fmt"
	"runtime"
)

// ProgramFiles has nothing to give: the machines are Linux.
func ProgramFiles(name, _ string) (map[string]string, error) {
	return nil, fmt.Errorf("%s for %s does not run in a Linux machine", name, runtime.GOOS)
}

// EngineCommand has none to offer: an engine's machine is not this one.
func EngineCommand(engine, _ string) ([]string, error) {
	return nil, fmt.Errorf("%s on %s has a machine of its own", engine, runtime.GOOS)
}
