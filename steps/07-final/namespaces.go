//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A namespace is a type of them.
type namespace struct {
	kind specs.LinuxNamespaceType
	file string // in /proc/PID/ns
	flag uintptr
}

// namespaces are the types of config.json, in the order in which they are
// joined: the user namespace last, for it need not own the others. See
// namespaces(7) and config-linux.md.
var namespaces = []namespace{
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS},
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER},
}

// hasNamespace tells whether the container has a namespace of this type that is
// not the runtime's: a new one or one that is named by its path.
func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	_, own := findNamespace(spec, kind)
	return own
}

// findNamespace returns the path of the namespace of this type, empty for a new
// one, and whether config.json lists it: what is not listed is inherited.
func findNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) (path string, listed bool) {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == kind {
			return ns.Path, true
		}
	}
	return "", false
}

// An inheritance is what init is born with besides the standard streams of
// the runtime.
type inheritance struct {
	stderr    *os.File   // instead of the runtime's, if not nil
	preserved []*os.File // for the command, from descriptor 3 on
	own       []*os.File // for init, behind the channel
	cgroup    cgroup     // in whose v2 it is born, if the kernel lets it
	tasks     []*os.File // of the cgroup that it joins before execve(2)
	// joined is called when init is in all its namespaces and does nothing yet.
	joined func(pid int) error
}

// startIn starts init in the namespaces that spec lists: new ones, and those
// that it names by a path. With those, or with a time namespace, that takes
// more than clone(2): only then it has tasks and joined.
func startIn(spec *specs.Spec, exe *os.File, args []string, files []*os.File, more inheritance) (*os.Process, error) {
	var create uintptr
	var join []namespaceFD
	for _, ns := range namespaces {
		path, listed := findNamespace(spec, ns.kind)
		switch {
		case !listed:
		case path != "":
			file, err := openNamespace(path, ns.flag)
			if err != nil {
				return nil, err
			}
			defer file.Close()
			join = append(join, namespaceFD{ns.flag, file})
		case ns.flag != unix.CLONE_NEWCGROUP: // hideCgroup does that, in the cgroup
			create |= ns.flag
		}
	}
	group, _ := os.Open(more.cgroup.Dirs[""]) // where there is one
	defer group.Close()
	// Two processors serve init as well as many, and few threads start faster.
	// Whoever started it is told why it died, and not where.
	env := []string{"GOMAXPROCS=2", "GOGC=off", "GOTRACEBACK=none"}
	if more.joined == nil && len(join) == 0 && create&unix.CLONE_NEWTIME == 0 {
		attr := &syscall.SysProcAttr{Cloneflags: create &^ unix.CLONE_NEWUSER, Pdeathsig: unix.SIGKILL}
		if create&unix.CLONE_NEWUSER != 0 {
			asRoot(attr, spec.Linux)
		}
		attr.UseCgroupFD, attr.CgroupFD = group != nil, int(group.Fd())
		name, process := fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), &os.ProcAttr{Env: env, Files: files, Sys: attr}
		p, err := os.StartProcess(name, args, process)
		// What the cgroup refuses, add does or explains. EPERM: of namespaces.
		if attr.UseCgroupFD && err != nil && !errors.Is(err, unix.EPERM) {
			attr.UseCgroupFD = false
			p, err = os.StartProcess(name, args, process)
		}
		return p, err
	}
	p, err := spawn(&spawnAttr{Join: join, New: create, UIDMappings: spec.Linux.UIDMappings, GIDMappings: spec.Linux.GIDMappings,
		TimeOffsets: timeOffsets(spec.Linux),
		Exe:         exe, Args: args, Env: env, Files: files, Cgroup: group, Tasks: more.tasks, Pdeathsig: unix.SIGKILL})
	if err != nil {
		return nil, err
	}
	if more.joined != nil {
		if err := more.joined(p.Pid); err != nil {
			p.abandon()
			return nil, err
		}
	}
	return p.Process, p.start()
}

// openNamespace opens the namespace at path, which must be one of this type.
func openNamespace(path string, flag uintptr) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err == nil && uintptr(kind) != flag {
		err = errors.New("it is of another type than config.json says")
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open namespace %s: %w", path, err)
	}
	return file, nil
}

// timeOffsets writes those of config.json as the kernel wants them, a line for
// each clock: see time_namespaces(7).
func timeOffsets(linux *specs.Linux) string {
	var lines []string
	for clock, offset := range linux.TimeOffsets {
		lines = append(lines, fmt.Sprintf("%s %d %d\n", clock, offset.Secs, offset.Nanosecs))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
