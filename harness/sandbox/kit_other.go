//go:build !linux && !darwin

package sandbox

import (
	"errors"
	"io"
)

// KitFiles has nothing to give where no virtual machine is made.
func KitFiles(Spec, io.Writer) (map[string]string, error) {
	return nil, errors.New("a kit is made on Linux or macOS")
}
