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
