//go:build linux

package main

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimits has the names of the limits at the place of their numbers, see
// getrlimit(2).
const rlimits = "RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE " +
	"RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME"

// rlimitNumber returns the number of the limit name, or -1.
func rlimitNumber(name string) int { return slices.Index(strings.Fields(rlimits), name) }

// validateProcess tells what in p no kernel would do, or this program does not.
func validateProcess(p *specs.Process) error {
	adj, mask := given(p.OOMScoreAdj), given(p.User.Umask)
	texts := slices.Concat(p.Args, p.Env, []string{p.Cwd, p.ApparmorProfile, p.SelinuxLabel})
	nul := slices.IndexFunc(texts, func(text string) bool { return strings.ContainsRune(text, 0) })
	if err := refuse(
		refusal{p.CommandLine != "", "process.commandLine is not supported"},
		refusal{len(p.Args) == 0 || p.Args[0] == "", "process.args: no command"},
		refusal{!path.IsAbs(p.Cwd), fmt.Sprintf("process.cwd: %q is not absolute", p.Cwd)},
		refusal{strings.ToValidUTF8(p.Cwd, "") != p.Cwd, fmt.Sprintf("process.cwd: %q is no UTF-8", p.Cwd)}, // as its way to init
		refusal{p.Scheduler != nil, "process.scheduler is not supported"},
		refusal{p.IOPriority != nil, "process.ioPriority is not supported"},
		refusal{p.ExecCPUAffinity != nil, "process.execCPUAffinity is not supported"},
		refusal{adj < -1000 || adj > 1000, fmt.Sprintf("process.oomScoreAdj: %d is not in -1000 to 1000", adj)},
		refusal{mask > 0o777, fmt.Sprintf("process.user.umask: %#o is above 0777", mask)},
		refusal{nul >= 0, fmt.Sprintf("process: there is a NUL in %q", texts[max(nul, 0)])},
	); err != nil {
		return err
	}
	for i, limit := range p.Rlimits {
		same := func(other specs.POSIXRlimit) bool { return other.Type == limit.Type }
		if err := refuse(
			refusal{rlimitNumber(limit.Type) < 0, fmt.Sprintf("process.rlimits: unknown type %q", limit.Type)},
			refusal{slices.ContainsFunc(p.Rlimits[:i], same), fmt.Sprintf("process.rlimits: %s is there twice", limit.Type)},
			refusal{limit.Soft > limit.Hard, fmt.Sprintf("process.rlimits: %s: soft limit %d above hard limit %d", limit.Type, limit.Soft, limit.Hard)},
		); err != nil {
			return err
		}
	}
	return nil
}

// setRlimits sets limits, which validateProcess has seen: late, since under a
// small limit of memory Go cannot go on for long.
func setRlimits(limits []specs.POSIXRlimit) error {
	for _, limit := range limits {
		err := unix.Prlimit(0, rlimitNumber(limit.Type), &unix.Rlimit{Cur: limit.Soft, Max: limit.Hard}, nil)
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
		err := unix.Prlimit(pid, rlimitNumber(limit.Type), nil, &now)
		if now.Max = max(now.Max, limit.Hard); err == nil {
			err = unix.Prlimit(pid, rlimitNumber(limit.Type), &now, nil)
		}
		if err != nil {
			return fmt.Errorf("raise %s of process %d to %d: %w", limit.Type, pid, limit.Hard, err)
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
	return wrap(os.WriteFile(file, []byte(strconv.Itoa(*adj)), 0), "set OOM score adjustment to %d", *adj)
}
