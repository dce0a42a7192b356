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

// A verb is one thing that probe does.
type verb struct {
	do    func(args []string) error
	wants string // its arguments, as a manual page lists them
}

// lacks tells whether there are fewer arguments than those in no brackets.
func (v verb) lacks(args []string) bool {
	needed := 0
	for word := range strings.FieldsSeq(v.wants) {
		if !strings.HasPrefix(word, "[") {
			needed++
		}
	}
	return len(args) < needed
}

// verbs are what probe can do.
var verbs = map[string]verb{
	"args":         {args, "[WORD...]"},                                    // print each word quoted
	"advertise":    {advertise, ""},                                        // advertise over eth0 a router that is none
	"as":           {as, "UID[:GROUP] PROG [ARG...]"},                      // run PROG as that user
	"below":        {below, ""},                                            // make cgroups below its own
	"block":        {block, "PROG [ARG...]"},                               // run PROG with SIGTERM blocked
	"breakout":     {breakout, "FILE"},                                     // leave a chroot, then read FILE
	"closed":       {closed, "FILE PROG [ARG...]"},                         // run PROG, which may not open FILE
	"column":       {column, "NAME WORD..."},                               // what the engine called by WORD... makes of a command, as JSON
	"converse":     {converse, ""},                                         // run lines in shells on the host and in containers, as JSON
	"cgroupless":   {cgroupless, "PROG [ARG...]"},                          // run PROG, which gets no new cgroup namespace
	"crowded":      {crowded, "MOUNT DIR PROG [ARG...]"},                   // run PROG in cgroup DIR, the root of those on MOUNT
	"deny":         {deny, "SYSCALL PROG [ARG...]"},                        // run PROG, which gets EPERM from SYSCALL
	"fail":         {fail, "SYSCALL N PROG [ARG...]"},                      // run PROG, whose Nth SYSCALL gets EPERM; 0: all ENOSYS
	"fill":         {fill, "FILE MIB"},                                     // write FILE until the filesystem is full, at most MIB
	"first":        {first, "PROG [ARG...]"},                               // run PROG as process 1 of a PID namespace
	"forks":        {forks, "N"},                                           // start N processes, or as many as it gets, and stay
	"hoard":        {hoard, "MIB FILE FILE"},                               // write as much of that as there is room for, take the rest as memory
	"lift":         {lift, "PROG [ARG...]"},                                // try to lift the limits of PROG
	"list":         {list, "DIR..."},                                       // print the names in each DIR
	"mem":          {mem, "MIB"},                                           // take so much memory
	"measure":      {measure, "PROGRAM..."},                                // what each program makes of a command, as JSON
	"mode":         {mode, "FILE"},                                         // print its permission bits in octal
	"mount":        {mountTmpfs, "DIR"},                                    // mount a tmpfs on DIR
	"nest":         {nest, "PROG [ARG...]"},                                // run PROG in a machine inside the machine
	"pty":          {pty, ""},                                              // open a terminal, print its name
	"read":         {read, "FILE..."},                                      // print what the first readable FILE holds
	"readonly":     {readonly, "PROG [ARG...]"},                            // run PROG, to which all cgroups are read-only
	"remove":       {remove, "FILE..."},                                    // remove each FILE
	"hostname":     {hostname, "[NAME]"},                                   // set it to NAME; print it
	"size":         {size, ""},                                             // print rows and columns of the terminal on stdin
	"uncontrolled": {uncontrolled, "CONTROLLER ROOT CGROUP PROG [ARG...]"}, // run PROG, which finds no such cgroup mount, and CGROUP, if any, as ROOT
	"unwaited":     {unwaited, "PROG [ARG...]"},                            // run PROG, which is refused its limits, print whether it waits for what it then ends
	"unsent":       {unsent, "SIGNAL PROG [ARG...]"},                       // run PROG, which SIGSYS ends when it sends SIGNAL
	"swapless":     {swapless, "PROG [ARG...]"},                            // run PROG, as on a kernel that does not count swap
	"unshareless":  {unshareless, "PROG [ARG...]"},                         // run PROG, which gets no new namespace
	"without":      {without, "CAPABILITY PROG [ARG...]"},                  // run PROG without it
	"write":        {write, "FILE TEXT"},                                   // write TEXT into FILE, print what it reads back
	"covered":      {covered, "FILE TEXT PROG [ARG...]"},                   // run PROG where FILE, in a directory of its own, holds TEXT
	"remount":      {remount, "DIR"},                                       // make the mount on DIR writable
	"uncover":      {uncover, "DIR..."},                                    // take off all mounts on each DIR
	"rights":       {rights, ""},                                           // print what it may do of what only the host's root may
	"stay":         {stay, "TOKEN"},                                        // print what it sees, stay until stdin ends
	"suid":         {suid, ""},                                             // make the file on stdin set-user-ID
	"userless":     {userless, "PROG [ARG...]"},                            // run PROG, as on a kernel without user namespaces
	"userns":       {userns, "PROG [ARG...]"},                              // run PROG as root of a user namespace with one id
	"address":      {address, "INTERFACE ADDRESS"},                         // give it one more address
	"connect":      {connect, "tcp:ADDRESS:PORT|unix:@NAME..."},            // print what is said there
	"serve":        {serve, "ADDRESS:PORT"},                                // answer who connects, until one says "end"
	"sniff":        {sniff, ""},                                            // print what is sent to port 9, until stdin ends
	"early":        {early, "SIGNAL PROG run CMD [ARG...]"},                // send PROG SIGNAL when it is about to execute CMD
	"interrupted":  {interrupted, "N PROG [ARG...]"},                       // run PROG, for whom N answers by netlink are out of date
	"late":         {late, "PROG [ARG...]"},                                // run PROG, whose first mkdirat gets EPERM when all else waits
	"escalate":     {escalate, ""},                                         // run as user 1000 a set-user-ID file of root, print as whom it ran
	"euid":         {euid, ""},                                             // print the effective user id
	"key":          {key, ""},                                              // print the secret of a key in the session keyring
	"keyed":        {keyed, "SECRET PROG [ARG...]"},                        // run PROG with a key in its session keyring
	"mounts":       {mounts, "TYPE"},                                       // mount a filesystem of TYPE on /tmp
	"nested":       {nested, "TYPE"},                                       // the same in a user namespace of its own
	"node":         {node, "MAJOR MINOR"},                                  // make that device, open it
	"shm":          {shm, "KEY [TEXT]"},                                    // print what a segment of shared memory holds, or make it hold TEXT
	"surface":      {surface, ""},                                          // print which calls of the kernel's rarer ones come through to it
	"killed":       {killed, "SYSCALL N PROG [ARG...]"},                    // run PROG, which SIGKILL ends at its Nth SYSCALL
	"watches":      {watches, ""},                                          // take all inotify instances, print how many, keep them until stdin ends
	"kernel-log":   {kernelLog, "TEXT"},                                    // print whether the kernel's log has it
	"types":        {types, "TEXT"},                                        // type it on the terminal on stdin
	"refuse":       {refuse, "N SYSCALL,... PROG [ARG...]"},                // run PROG until each Nth use of SYSCALL has failed
}

func main() {
	if len(os.Args) == 1 {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		exit(encoder.Encode(probe.Observe()))
	}
	name, args := os.Args[1], os.Args[2:]
	verb, ok := verbs[name]
	if !ok {
		var known []string
		for name := range verbs {
			known = append(known, name)
		}
		sort.Strings(known)
		exit(fmt.Errorf("unknown verb %q, known are %s", name, strings.Join(known, " ")))
	}
	if verb.lacks(args) {
		exit(fmt.Errorf("%s wants %s", name, verb.wants))
	}
	exit(verb.do(args))
}

// exit ends the program: 0, or 1 with the reason on stderr.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
