//go:build linux

// Command broken is a crowd of programs that each break one promise of the
// contract, and keep the others as far as they can. Its name says which: the
// harness calls it through links such as broken-status-zero. For each promise
// there is one here that breaks it, or nobody would know that the check can
// fail.
//
// One called broken-without-user,masks is step 07 without these protections.
//
// None is isolated: run them only in a sandbox.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modes are the broken programs. Each gets the command.
var modes = map[string]func(command []string){
	"empty-dev": func(c []string) { emptyDev(); become(c) },
	"fails-open": func(c []string) {
		_ = unix.Unshare(unix.CLONE_NEWUTS)
		_ = unix.Sethostname([]byte("container"))
		become(c)
	},
	"guesses":          become,
	"hangs":            func([]string) { time.Sleep(time.Hour) },
	"hangs-after":      func(c []string) { wait(start(c, nil, nil)); time.Sleep(time.Hour) },
	"joins-arguments":  func(c []string) { become([]string{"sh", "-c", strings.Join(c, " ")}) },
	"keeps-terminal":   func(c []string) { os.Exit(wait(start(c, ownGroup(true), nil))) },
	"kills-on-signal":  func(c []string) { os.Exit(killOnSignal(start(c, nil, nil))) },
	"leaks-a-file":     func(c []string) { leak(); become(c) },
	"leaves-mounts":    func(c []string) { _ = unix.Mount("proc", "/proc", "proc", 0, ""); become(c) },
	"leaves-a-process": func(c []string) { start([]string{"sleep", "8888"}, nil, nil); become(c) },
	"makes-private":    func(c []string) { _ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); become(c) },
	"merges-stderr":    func(c []string) { _ = unix.Dup3(1, 2, 0); become(c) },
	"needs-stdin":      func(c []string) { needStdin(); become(c) },
	"no-stdin":         func(c []string) { os.Exit(wait(start(c, nil, closedPipe()))) },
	"no-terminal":      func(c []string) { os.Exit(wait(start(c, &syscall.SysProcAttr{Setsid: true}, closedPipe()))) },
	"outlives":         func(c []string) { os.Exit(wait(start(c, nil, nil))) },
	"prints-nothing":   func([]string) {},
	"sends-int-twice":  func(c []string) { os.Exit(passAll(start(c, nil, nil))) },
	"steals-terminal":  func(c []string) { os.Exit(steal(start(c, nil, nil))) },
	"status-one":       func(c []string) { statusOne(c) },
	"status-zero":      func(c []string) { wait(start(c, nil, nil)) },
	"swallows-signals": func(c []string) { swallow(c) },
	"unmounts-proc":    func(c []string) { _ = unix.Unmount("/proc", unix.MNT_DETACH); become(c) },
}

func main() {
	mode := strings.TrimPrefix(filepath.Base(os.Args[0]), "broken-")
	run, ok := modes[mode]
	if protections, found := strings.CutPrefix(mode, "without-"); found {
		run, ok = func(c []string) {
			become(append([]string{filepath.Dir(os.Args[0]) + "/07-final", "run", "--without", protections}, c...))
		}, true
	}
	if !ok {
		for name := range modes {
			fmt.Println("broken-" + name)
		}
		return
	}
	if mode == "prints-nothing" {
		return
	}
	if mode == "guesses" && len(os.Args) > 1 {
		if os.Args[1] != "run" {
			become(os.Args[2:])
		}
	}
	if len(os.Args) < 3 || os.Args[1] != "run" {
		status := 125
		if mode == "status-one" {
			status = 1
		}
		fail(fmt.Errorf("usage: broken run CMD [ARG...]"), status)
	}
	run(os.Args[2:])
}

// fail says why, in one line, with the status that the contract wants.
func fail(err error, status int) {
	fmt.Fprintln(os.Stderr, "container:", err)
	os.Exit(status)
}

// become is what step 00 does.
func become(command []string) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		fail(err, 127)
	}
	fail(unix.Exec(path, command, os.Environ()), 126)
}

// start runs command as a child, with stdin in the place of the program's own.
func start(command []string, attr *syscall.SysProcAttr, stdin *os.File) *exec.Cmd {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		fail(err, 127)
	}
	return cmd
}

// wait returns the command's status as the contract wants it.
func wait(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// killOnSignal kills the command whatever it makes of the signal.
func killOnSignal(cmd *exec.Cmd) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	go func() { <-signals; _ = cmd.Process.Kill() }()
	return wait(cmd)
}

// passAll passes SIGINT on, which the terminal has sent to the command too.
func passAll(cmd *exec.Cmd) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		for sig := range signals {
			_ = cmd.Process.Signal(sig)
		}
	}()
	return wait(cmd)
}

// steal takes the terminal at the end, whoever has it.
func steal(cmd *exec.Cmd) int {
	status := wait(cmd)
	signal.Ignore(unix.SIGTTOU)
	_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
	return status
}

// statusOne ends every failure with 1.
func statusOne(command []string) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		fail(err, 1)
	}
	cmd := start(append([]string{path}, command[1:]...), nil, nil)
	if status := wait(cmd); status != 0 {
		os.Exit(1)
	}
}

// swallow catches the signals and does nothing, as process 1 without handlers.
func swallow(command []string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	os.Exit(wait(start(command, ownGroup(false), nil)))
}

// ownGroup makes the command a process group of its own, if there is a
// terminal: then keys such as Ctrl-C go to the foreground group only.
func ownGroup(foreground bool) *syscall.SysProcAttr {
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	return &syscall.SysProcAttr{Setpgid: true, Foreground: foreground && err == nil}
}

// leak opens a directory of the host without close-on-exec.
func leak() {
	if _, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		fail(err, 125)
	}
}

// needStdin gives up without a file 0.
func needStdin() {
	if target, _ := os.Readlink("/proc/self/fd/0"); target == "/dev/null" {
		fail(io.ErrUnexpectedEOF, 125)
	}
}

// closedPipe is a stdin from which nothing comes.
func closedPipe() *os.File {
	read, write, err := os.Pipe()
	if err != nil {
		fail(err, 125)
	}
	write.Close()
	return read
}

// emptyDev hides /dev, in a mount namespace of its own.
func emptyDev() {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		fail(err, 125)
	}
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	_ = unix.Mount("tmpfs", "/dev", "tmpfs", 0, "")
}
