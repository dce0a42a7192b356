//go:build linux

// Command probe is the harness's hand inside a container. Without arguments it
// prints what it sees as JSON (package probe); with a verb it does one thing,
// such as an attack, and says what came of it. It is static, so that it runs
// on any root filesystem.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"containers-from-scratch/harness/probe"
)

// verbs are what probe can do, each with its arguments.
var verbs = map[string]func(args []string) error{
	"args":        args,        // WORD...: print each word quoted
	"as":          as,          // UID PROG [ARG...]: run PROG as that user
	"block":       block,       // PROG [ARG...]: run PROG with SIGTERM blocked
	"breakout":    breakout,    // FILE: leave a chroot, then read FILE
	"deny":        deny,        // SYSCALL PROG [ARG...]: run PROG, which gets EPERM from SYSCALL
	"early":       early,       // SIGNAL PROG run CMD [ARG...]: send PROG SIGNAL when it is about to execute CMD
	"fail":        fail,        // SYSCALL N PROG [ARG...]: run PROG, whose Nth SYSCALL gets EPERM; 0: all ENOSYS
	"fill":        fill,        // FILE MIB: write FILE until the filesystem is full, at most MIB
	"late":        late,        // PROG [ARG...]: run PROG, whose first mkdirat gets EPERM when all else waits
	"list":        list,        // DIR...: print the names in each DIR
	"mode":        mode,        // FILE: print its permission bits in octal
	"mount":       mountTmpfs,  // DIR: mount a tmpfs on DIR
	"nest":        nest,        // PROG [ARG...]: run PROG in a machine inside the machine
	"pty":         pty,         // open a terminal, print its name
	"read":        read,        // FILE...: print what the first readable FILE holds
	"refuse":      refuse,      // SYSCALL PROG [ARG...]: run PROG until each SYSCALL has failed once
	"remove":      remove,      // FILE...: remove each FILE
	"hostname":    hostname,    // [NAME]: set it to NAME; print it
	"size":        size,        // print rows and columns of the terminal on stdin
	"unshareless": unshareless, // PROG [ARG...]: run PROG, which gets no new namespace
	"without":     without,     // CAPABILITY PROG [ARG...]: run PROG without it
	"write":       write,       // FILE TEXT
}

func main() {
	if len(os.Args) == 1 {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		exit(encoder.Encode(probe.Observe()))
	}
	verb, ok := verbs[os.Args[1]]
	if !ok {
		var known []string
		for name := range verbs {
			known = append(known, name)
		}
		sort.Strings(known)
		exit(fmt.Errorf("unknown verb %q, known are %s", os.Args[1], strings.Join(known, " ")))
	}
	exit(verb(os.Args[2:]))
}

// exit ends the program: 0, or 1 with the reason on stderr.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
