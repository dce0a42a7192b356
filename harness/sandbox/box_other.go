//go:build !linux

package sandbox

import (
	"errors"
	"os"
)

var errLinux = errors.New("needs Linux")

// tryBox need not try: explain says why.
func tryBox(place string, spec Spec) facts { return facts{place: place, spec: spec} }

// startBox fails, as there are no namespaces to start one in.
func startBox(string, Spec) (Machine, error) { return nil, errLinux }

// machineRoot fails, as this machine's programs run on this system only.
func machineRoot() (string, error) { return "", errLinux }

// Libraries cannot ask a loader that is not there: programs for a machine are
// static.
func Libraries(string) ([]string, error) { return nil, nil }

// GuestBox is process 1 of a box, which only Linux has.
func GuestBox([]string) { os.Exit(125) }
