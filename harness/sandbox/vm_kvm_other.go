//go:build (linux && !amd64) || darwin

package sandbox

import "os"

// probeKVM has no program for this architecture: whether KVM is any good shows
// when a guest has to come up in ten seconds.
func probeKVM(*os.File) string { return "" }
