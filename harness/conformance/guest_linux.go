package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// The suite polls once a second, so that a test takes seconds; the control
// groups' try dozens of containers each.
const (
	testTime   = time.Minute
	cgroupTime = 5 * time.Minute
)

// Guest is called in a sandbox, as the one job there. It runs tests, which are
// in the working directory with the rest of the suite, against the runtime
// that RUNTIME names, and writes JSON to stdout: the Machine first, then a Run
// for each.
func Guest(tests []string) error {
	// What a test leaves is killed with kill(-1).
	if os.Getenv("SANDBOX_KIND") == "" || os.Getppid() != 1 {
		return errors.New("the suite runs in a sandbox only: make conformance")
	}
	m, err := machine()
	if err != nil {
		return err
	}
	// linux_cgroups_network sets a priority on two interfaces, and panics when it
	// finds one.
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "suite0"}, PeerName: "suite1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a second interface: %w", err)
	}
	results := json.NewEncoder(os.Stdout)
	if err := results.Encode(m); err != nil {
		return err
	}
	before := cgroups()
	for _, test := range tests {
		r, err := run(test)
		if err == nil {
			err = results.Encode(r)
		}
		if err == nil {
			err = tidy(before)
		}
		if err != nil {
			return fmt.Errorf("test %s: %w", test, err)
		}
	}
	return nil
}

// machine looks at the sandbox, and adds what it may.
func machine() (m Machine, err error) {
	m.Cgroup = os.Getenv("SANDBOX_CGROUP")
	if m.Cgroup == "v1" || m.Cgroup == "hybrid" {
		for _, name := range strings.Fields("blkio cpu cpuset devices freezer hugetlb memory net_cls net_prio pids") {
			if _, err := os.Stat(filepath.Join(cgroupRoot, name)); errors.Is(err, fs.ErrNotExist) {
				m.Lacks = append(m.Lacks, name)
			}
		}
	}
	var header = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return m, fmt.Errorf("read the capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		m.Lacks = append(m.Lacks, "CAP_SYS_RESOURCE")
	}
	switch {
	case !hasAppArmor(): // where a profile is of no consequence
	case os.Getenv("SANDBOX_KIND") == "vm":
		return m, loadProfile()
	default:
		m.Lacks = append(m.Lacks, profile)
	}
	return m, nil
}

// run runs one test in a mount namespace of its own: linux_ns_itype leaves
// seven mounts behind.
func run(test string) (Run, error) {
	limit := testTime
	if strings.HasPrefix(test, "linux_cgroups_") {
		limit = cgroupTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "./"+test)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a container that the test leaves holds the pipes
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	start := time.Now()
	err := cmd.Run()
	r := Run{Test: test, Seconds: time.Since(start).Seconds(), Stdout: stdout.String(), Stderr: stderr.String()}
	if cmd.ProcessState == nil {
		return r, err // it did not start
	}
	if ctx.Err() != nil {
		r.Timeout = limit
	}
	r.Status = cmd.ProcessState.ExitCode()
	if end := cmd.ProcessState.Sys().(syscall.WaitStatus); end.Signaled() {
		r.Status = 128 + int(end.Signal())
	}
	return r, nil
}

// tidy kills what a test has left, and removes its cgroups and files: the suite
// uses the same names again, and what is left of them would fail the next test.
func tidy(before []string) error {
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill what is left: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		var left []string
		for _, dir := range slices.Backward(cgroups()) { // those below first
			if !slices.Contains(before, dir) && unix.Rmdir(dir) != nil {
				left = append(left, dir)
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot remove its cgroup %s", left[0])
		}
		time.Sleep(10 * time.Millisecond) // until its processes are gone
	}
	bundles, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	for _, dir := range bundles {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// cgroups are all directories of all trees, each after the one above it.
func cgroups() (dirs []string) {
	_ = filepath.WalkDir(cgroupRoot, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what has just gone is no error
	})
	return dirs
}
