//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The real-time signals that a program may use: the C library keeps 32 and 33
// for its threads, see signal(7).
const sigRTMin, sigRTMax = 34, 64

// signalByName returns the signal that s means: 9, KILL, SIGKILL, RTMIN+3 or
// SIGRTMAX-1, in any case.
func signalByName(s string) (unix.Signal, error) {
	if number, err := strconv.ParseUint(s, 10, 8); err == nil && number >= 1 && number <= sigRTMax {
		return unix.Signal(number), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	switch name {
	case "CLD": // other names of three in the table
		name = "CHLD"
	case "IOT":
		name = "ABRT"
	case "POLL":
		name = "IO"
	case "RTMIN":
		name += "+0"
	case "RTMAX":
		name += "-0"
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	offset, err := strconv.ParseUint(name[min(len("RTMIN+"), len(name)):], 10, 8) // which takes no sign
	if err == nil && offset <= sigRTMax-sigRTMin {
		switch name[:len("RTMIN+")] {
		case "RTMIN+":
			return sigRTMin + unix.Signal(offset), nil
		case "RTMAX-":
			return sigRTMax - unix.Signal(offset), nil
		}
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}
