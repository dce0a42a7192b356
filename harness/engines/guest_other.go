//go:build !linux

package engines

import "errors"

// Guest is for Linux.
func Guest([]string) error { return errors.New("the engines run in a sandbox only: make engines") }
