//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimits has the names of the limits at the place of their numbers, without
// RLIMIT_, see getrlimit(2).
const rlimits = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"

// numberIn returns the place of name, without prefix, in names, or -1.
func numberIn(names, prefix, name string) int {
	short, found := strings.CutPrefix(name, prefix)
	if !found {
		return -1
	}
	return slices.Index(strings.Fields(names), short)
}

// validateProcess tells what in p no kernel would do.
func validateProcess(p *specs.Process) error {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return errors.New("process.args: no command")
	}
	if !path.IsAbs(p.Cwd) {
		return fmt.Errorf("process.cwd: %q is not absolute", p.Cwd)
	}
	for _, text := range slices.Concat(p.Args, p.Env, []string{p.Cwd, p.ApparmorProfile, p.SelinuxLabel}) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("process: %q has a NUL in it", text)
		}
	}
	seen := map[string]bool{}
	for _, limit := range p.Rlimits {
		if numberIn(rlimits, "RLIMIT_", limit.Type) < 0 {
			return fmt.Errorf("process.rlimits: unknown type %q", limit.Type)
		}
		if seen[limit.Type] {
			return fmt.Errorf("process.rlimits: %s is there twice", limit.Type)
		}
		if limit.Soft > limit.Hard {
			return fmt.Errorf("process.rlimits: %s: soft limit %d above hard limit %d", limit.Type, limit.Soft, limit.Hard)
		}
		seen[limit.Type] = true
	}
	if adj := p.OOMScoreAdj; adj != nil && (*adj < -1000 || *adj > 1000) {
		return fmt.Errorf("process.oomScoreAdj: %d is not in -1000 to 1000", *adj)
	}
	if mask := p.User.Umask; mask != nil && *mask > 0o777 {
		return fmt.Errorf("process.user.umask: %#o is above 0777", *mask)
	}
	if p.Scheduler != nil {
		if _, err := schedulerAttr(p.Scheduler); err != nil {
			return fmt.Errorf("process.scheduler: %w", err)
		}
	}
	if p.IOPriority != nil {
		if _, err := ioPriorityValue(p.IOPriority); err != nil {
			return fmt.Errorf("process.ioPriority: %w", err)
		}
	}
	if a := p.ExecCPUAffinity; a != nil {
		for _, list := range []string{a.Initial, a.Final} {
			if _, err := parseCPUs(list); err != nil {
				return fmt.Errorf("process.execCPUAffinity: %w", err)
			}
		}
	}
	return nil
}

// setRlimits sets limits, which validateProcess has seen, of this process. It
// comes late: under a small limit of memory Go cannot go on for long. A hard
// limit can only be raised outside user namespaces: see limitProcess.
func setRlimits(limits []specs.POSIXRlimit) error { return limitProcess(0, limits) }

// limitProcess sets limits of the process pid, 0 for this one.
func limitProcess(pid int, limits []specs.POSIXRlimit) error {
	for _, limit := range limits {
		err := unix.Prlimit(pid, numberIn(rlimits, "RLIMIT_", limit.Type), &unix.Rlimit{Cur: limit.Soft, Max: limit.Hard}, nil)
		if err != nil {
			return fmt.Errorf("set %s to %d, hard %d: %w", limit.Type, limit.Soft, limit.Hard, err)
		}
	}
	return nil
}

// raiseRlimits raises the hard limits of process pid where limits has higher
// ones: in a user namespace it could only lower them.
func raiseRlimits(pid int, limits []specs.POSIXRlimit) error {
	for _, limit := range limits {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, numberIn(rlimits, "RLIMIT_", limit.Type), nil, &now); err != nil {
			return fmt.Errorf("get %s of process %d: %w", limit.Type, pid, err)
		}
		if limit.Hard > now.Max {
			higher := []specs.POSIXRlimit{{Type: limit.Type, Soft: now.Cur, Hard: limit.Hard}}
			if err := limitProcess(pid, higher); err != nil {
				return err
			}
		}
	}
	return nil
}

// setOOMScoreAdj sets how soon the OOM killer takes the process pid. To make it
// less likely needs CAP_SYS_RESOURCE on the host, so the runtime does it.
func setOOMScoreAdj(pid int, adj *int) error {
	if adj == nil {
		return nil
	}
	file := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	if err := os.WriteFile(file, []byte(strconv.Itoa(*adj)), 0); err != nil {
		return fmt.Errorf("set OOM score adjustment to %d: %w", *adj, err)
	}
	return nil
}

// setUmask sets the mask for modes of new files, where one is asked for.
func setUmask(mask *uint32) {
	if mask != nil {
		unix.Umask(int(*mask))
	}
}
