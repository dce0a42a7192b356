//go:build linux

package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// stay prints what it sees, tries to make a file in /, and waits for the end
// of stdin: so long the host can look at it. TOKEN makes it known there.
func stay(args []string) error {
	report := probe.Stay{Report: probe.Observe()} // before it changes anything
	report.Wrote = os.WriteFile("/"+probe.InsideMark(args[0]), nil, 0o644) == nil
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// patience is how long one program may take to bring a command up, and to end.
const patience = 30 * time.Second

// settling is how long what a program left may take to go.
const settling = 5 * time.Second

// measure runs each PROGRAM on this machine and prints a probe.Measurement. The
// first column is the machine itself. "runc" gets a bundle as it writes it.
//
// Programs change the machine they run on: only a sandbox may be measured.
func measure(programs []string) error {
	if os.Getenv("SANDBOX_KIND") == "" {
		return errors.New("measuring runs programs that change the machine: only in a sandbox")
	}
	m := probe.Measurement{Sandbox: os.Getenv("SANDBOX_KIND")}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	links, err := probe.Interfaces()
	if err != nil {
		return err
	}
	for _, name := range append([]string{"host"}, programs...) {
		column := probe.Column{}
		err := settle(links)
		if err == nil {
			column, err = measureColumn(name)
		}
		if err != nil && name == "host" {
			return fmt.Errorf("measure the host: %w", err)
		} else if err != nil {
			m.Left = append(m.Left, probe.Omission{Name: name, Reason: err.Error()})
			continue
		}
		m.Columns = append(m.Columns, column)
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// settle brings the network back to the links it had before the first program:
// else a column without a network of its own shows what the one before left. A
// bridge may stay, says the contract, and goes here; a veth pair goes by itself,
// some moments after its program.
func settle(links []probe.Interface) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(s)
	for deadline := time.Now().Add(settling); ; time.Sleep(10 * time.Millisecond) {
		left, err := probe.Interfaces()
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(l probe.Interface) bool {
			return slices.ContainsFunc(links, func(had probe.Interface) bool { return had.Name == l.Name })
		})
		if len(left) == 0 {
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("the program before left the interface %s", left[0].Name)
		}
		for _, l := range left {
			if req, err := unix.NewIfreq(l.Name); err == nil && l.Driver == "bridge" {
				_ = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req) // down, as the next wants it
				_ = unix.IoctlIfreq(s, unix.SIOCBRDELBR, req)  // what fails is seen above
			}
		}
	}
}

// measureColumn runs `probe stay` by one program and looks at it from both
// sides.
func measureColumn(name string) (column probe.Column, err error) {
	token := strings.ToLower(rand.Text()[:10])
	hostMark, insideMark := "/"+probe.HostMark(token), "/"+probe.InsideMark(token)
	if err := os.WriteFile(hostMark, nil, 0o644); err != nil {
		return column, fmt.Errorf("make a file on the host: %w", err)
	}
	defer os.Remove(hostMark)
	defer os.Remove(insideMark)

	self := []string{"/probe", "stay", token}
	cmd := exec.Command(name, append([]string{"run"}, self...)...)
	switch name {
	case "host":
		cmd = exec.Command(self[0], self[1:]...)
	case "runc":
		bundle, err := runcBundle(self)
		if err != nil {
			return column, err
		}
		cmd = exec.Command("runc", "run", "--bundle", bundle, "map-"+token)
		defer func() { _ = exec.Command("runc", "delete", "--force", "map-"+token).Run() }()
	}
	column.Name = name
	err = whileItStays(cmd, func(inside probe.Stay) error {
		column.Inside = inside.Report
		column.Outside.Reads = slices.Contains(inside.Root, probe.HostMark(token))
		_, err := os.Stat(insideMark)
		column.Outside.Writes = err == nil
		pid, err := processCalled(self)
		if err != nil {
			return err
		}
		return lookAt(pid, &column.Outside)
	})
	return column, err
}

// column prints a probe.Column of WORDS, an engine that runs the words after
// them in a container. It may be called outside a sandbox: nothing but the
// probe runs, and it only looks.
func column(args []string) error {
	token := strings.ToLower(rand.Text()[:10])
	self := []string{"/probe", "stay", token}
	base := probe.Column{Name: "host", Inside: probe.Observe()}
	if err := lookAt(os.Getpid(), &base.Outside); err != nil {
		return err
	}
	base.Outside.Reads, base.Outside.Writes = true, true
	c := probe.Column{Name: args[0], Base: &base}
	words := append(args[1:len(args):len(args)], self...)
	err := whileItStays(exec.Command(words[0], words[1:]...), func(inside probe.Stay) error {
		c.Inside = inside.Report
		// No file is made in the / of a real machine: what is in it is known.
		c.Outside.Reads = !slices.ContainsFunc(base.Inside.Root, func(name string) bool { return !slices.Contains(inside.Root, name) })
		_, err := os.Stat("/" + probe.InsideMark(token))
		c.Outside.Writes = err == nil
		pid, err := processCalled(self)
		if err != nil {
			return err
		}
		return lookAt(pid, &c.Outside)
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// whileItStays starts cmd, which becomes or brings up `probe stay`, calls look
// with what that says, and then ends it. A program that fails is told with the
// last line of what it says.
func whileItStays(cmd *exec.Cmd, look func(probe.Stay) error) error {
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // for a descendant that holds stderr open
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	var inside probe.Stay
	looked := json.NewDecoder(stdout).Decode(&inside)
	if looked == nil {
		looked = look(inside)
	} else {
		looked = errors.New("it does not run the command")
	}
	_ = stdin.Close() // and so ends it
	_, _ = io.Copy(io.Discard, stdout)
	ended := cmd.Wait()
	switch hung := !late.Stop(); {
	case hung:
		return fmt.Errorf("it did not end within %v", patience)
	case looked != nil && strings.TrimSpace(said.String()) != "":
		all := strings.Split(strings.TrimSpace(said.String()), "\n")
		return errors.New(all[len(all)-1])
	case looked != nil:
		return looked
	case ended != nil:
		return fmt.Errorf("it ended with %w", ended)
	}
	return nil
}

// processCalled finds the process with a command line. Those that start it
// have the same words in theirs, after others.
func processCalled(args []string) (pid int, err error) {
	want := strings.Join(args, "\x00") + "\x00"
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if line, _ := os.ReadFile(file); string(line) == want {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, errors.New("the host does not see the command")
}

// lookAt fills in what the host sees of a process.
func lookAt(pid int, o *probe.Outside) error {
	o.PID, o.Namespaces = pid, map[string]string{}
	dir := fmt.Sprintf("/proc/%d", pid)
	kinds, err := os.ReadDir(dir + "/ns")
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if o.Namespaces[kind.Name()], err = os.Readlink(dir + "/ns/" + kind.Name()); err != nil {
			return err
		}
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return err
	}
	_, uids, _ := strings.Cut(string(status), "\nUid:") // real, effective, saved, of the filesystem
	if _, err := fmt.Sscan(uids, &o.UID); err != nil {
		return fmt.Errorf("read the user of process %d: %w", pid, err)
	}
	mounts, err := probe.Mounts()
	if err != nil {
		return err
	}
	o.Limits, err = probe.ReadLimits(pid, probe.Hierarchies(mounts))
	return err
}

// runcBundle makes a bundle with the configuration that runc itself writes, in
// which only the command is another, and has no terminal.
func runcBundle(command []string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "bundle"); err != nil {
		return "", err
	}
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return "", err
	}
	self, err := os.ReadFile("/probe")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(rootfs, "probe"), self, 0o755); err != nil {
		return "", err
	}
	if out, err := exec.Command("runc", "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("runc spec: %s%w", out, err)
	}
	data, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		return "", err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("read what runc spec wrote: %w", err)
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return "", errors.New("runc spec wrote no process")
	}
	process["terminal"], process["args"] = false, command
	if data, err = json.Marshal(config); err != nil {
		return "", err
	}
	return dir, os.WriteFile(dir+"/config.json", data, 0o644)
}
