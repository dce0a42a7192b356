//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// signalByName returns the signal that s means: 9, KILL or SIGKILL, in any
// case. Real-time signals go by number, 34 to 64: which of them RTMIN is, each
// C library says, see signal(7).
func signalByName(s string) (unix.Signal, error) {
	if number, err := strconv.ParseUint(s, 10, 8); err == nil && number >= 1 && number <= 64 {
		return unix.Signal(number), nil
	}
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}
