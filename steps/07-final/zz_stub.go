//go:build linux

package main

import (
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

type cgroup struct{}

func (c cgroup) create(r *specs.LinuxResources) error { return nil }
func (c cgroup) add(pid int) error                    { return nil }
func (c cgroup) update(r *specs.LinuxResources) error { return nil }
func (c cgroup) freeze(bool) error                    { return nil }
func (c cgroup) frozen() (bool, error)                { return false, nil }
func (c cgroup) processes() ([]int, error)            { return nil, nil }
func (c cgroup) signal(unix.Signal) error             { return nil }
func (c cgroup) remove() error                        { return nil }
func (c cgroup) stats() (any, error)                  { return nil, nil }
func findCgroup(path, id string) (cgroup, error)      { return cgroup{}, nil }
func defaultResources() *specs.LinuxResources {
	n := int64(64)
	return &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &n}}
}

func compileSeccomp(s *specs.LinuxSeccomp) (filter []unix.SockFilter, flags uintptr, err error) {
	return nil, 0, nil
}
func loadSeccomp(filter []unix.SockFilter, flags uintptr) error { return nil }
func defaultSeccomp() *specs.LinuxSeccomp                       { return nil }

type capabilities struct{}

func parseCapabilities(c *specs.LinuxCapabilities) (caps capabilities, unknown []string) { return }
func (c capabilities) dropBounding() error                                               { return nil }
func (c capabilities) apply() error                                                      { return nil }
func defaultCapabilities() []string                                                      { return nil }
func allCapabilities() []string                                                          { return nil }
func setRlimits([]specs.POSIXRlimit) error                                               { return nil }
func validateProcess(p *specs.Process) error                                             { return nil }
func closeDescriptors(int) error                                                         { return nil }
func joinSessionKeyring(string) error                                                    { return nil }
func sealedExecutable() (*os.File, error)                                                { return os.Open("/proc/self/exe") }
func adjustOOM(pid int, p *specs.Process) error                                          { return nil }
func (c *initHalf) setAttributes(p *specs.Process) error                                 { return nil }
func validateMounts(*specs.Spec) error                                                   { return nil }
func defaultMounts() []specs.Mount                                                       { return nil }
func defaultMaskedPaths() []string                                                       { return nil }
func defaultReadonlyPaths() []string                                                     { return nil }
func mountOptionNames() []string                                                         { return nil }
func seccompActions() []string                                                           { return nil }
func seccompOperators() []string                                                         { return nil }
func seccompArchitectures() []string                                                     { return nil }
func seccompFlags() []string                                                             { return nil }
func signalByName(s string) (unix.Signal, error)                                         { return 9, nil }
func dialConsole(string) (*os.File, error)                                               { return nil, nil }
func prepareRootfs(*specs.Spec) error                                                    { return nil }
func (c *initHalf) hideCgroup() error                                                    { return nil }
func (c *initHalf) enterRootfs() error                                                   { return nil }
func (c *initHalf) mountFilesystems() error                                              { return nil }
func (c *initHalf) createDevices() error                                                 { return nil }
func (c *initHalf) pivotRoot() error                                                     { return nil }
func (c *initHalf) finishRootfs() error                                                  { return nil }
func (c *initHalf) openTerminal() error                                                  { return nil }
func (c *initHalf) enterDirectory() error                                                { return nil }

type namespaceFD struct {
	Kind uintptr
	File *os.File
}
type spawnAttr struct {
	Join                     []namespaceFD
	New                      uintptr
	UIDMappings, GIDMappings []specs.LinuxIDMapping
	DenySetgroups            bool
	TimeOffsets              string
	Exe                      *os.File
	Args, Env                []string
	Files                    []*os.File
	Pdeathsig                unix.Signal
}
type spawned struct{ *os.Process }

func spawn(*spawnAttr) (*spawned, error) { return nil, nil }
func (p *spawned) start() error          { return nil }
func (p *spawned) abandon()              {}
