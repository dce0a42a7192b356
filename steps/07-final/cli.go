//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A verb is a subcommand. Its flags come before its arguments, with one dash or
// two, and with "=" or a word of its own.
type verb struct {
	name, args string // as usage shows them
	about      string
	status     int // of a failure, as runc has it
	// define defines the flags and returns what to do with the arguments.
	define func(f *flag.FlagSet, root *string) func(args []string) (int, error)
}

// dispatch runs the verb that args name and returns the program's exit status.
func dispatch(args []string) (status int, err error) {
	root := stateRoot()
	var logFile, logFormat string
	var showVersion, systemd, debug bool
	f := newFlags("")
	f.StringVar(&root, "root", root, "directory of the states")
	f.StringVar(&logFile, "log", "", "file for warnings and errors, besides stderr")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.BoolVar(&showVersion, "version", false, "print the version")
	f.BoolVar(&showVersion, "v", false, "")
	f.BoolVar(&debug, "debug", false, "ignored: there is nothing more to say")
	f.BoolVar(&systemd, "systemd-cgroup", false, "not supported")
	if err := f.Parse(args); err != nil {
		return 0, commandError{err, 125}
	}
	if err := openLog(logFile, logFormat); err != nil {
		return 0, commandError{err, 1}
	}
	switch {
	case systemd:
		return 0, commandError{errors.New("--systemd-cgroup is not supported: let the engine use cgroupfs (podman --cgroup-manager=cgroupfs; docker --exec-opt native.cgroupdriver=cgroupfs)"), 1}
	case showVersion:
		fmt.Printf("containers-from-scratch version %s\ncommit: none\nspec: %s\ngo: %s\n", version, specs.Version, runtime.Version())
		return 0, nil
	case f.NArg() == 0:
		return oneLineUsage()
	case f.Arg(0) == "help":
		printUsage()
		return 0, nil
	}
	for _, v := range verbs() {
		if v.name != f.Arg(0) {
			continue
		}
		flags := newFlags(v.name)
		do := v.define(flags, &root)
		if err := flags.Parse(f.Args()[1:]); err != nil {
			return 0, commandError{fmt.Errorf("%s: %w", v.name, err), v.status}
		}
		if root, err = filepath.Abs(root); err != nil {
			return 0, err
		}
		status, err := do(flags.Args())
		if _, told := errors.AsType[commandError](err); err != nil && (!told || v.status == 1) {
			err = commandError{err, v.status}
		}
		return status, err
	}
	return oneLineUsage()
}

// oneLineUsage says in one line what the program wants, as all steps do.
func oneLineUsage() (status int, err error) {
	fmt.Fprintf(os.Stderr, "usage: %s run CMD [ARG...]\n", filepath.Base(os.Args[0]))
	return 125, nil
}

// newFlags makes a flag set that leaves messages to exit.
func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// openLog opens the file that record writes to.
func openLog(file, format string) (err error) {
	if format != "text" && format != "json" {
		return fmt.Errorf("log format %q is neither text nor json", format)
	}
	log.json = format == "json"
	if file != "" {
		if log.file, err = os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return fmt.Errorf("open log: %w", err)
		}
	}
	return nil
}

// both defines a flag that has a long and a short name.
func both[T any](define func(*T, string, T, string), value *T, long, short string, otherwise T, about string) {
	define(value, long, otherwise, about)
	define(value, short, otherwise, "")
}

// one calls do with the id that is the only argument of most verbs.
func one(do func(id string) error) func([]string) (int, error) {
	return func(args []string) (int, error) {
		if len(args) != 1 {
			return 0, fmt.Errorf("want one container id, got %d arguments", len(args))
		}
		return 0, do(args[0])
	}
}

// defineCreate defines the flags that create and run share.
func defineCreate(f *flag.FlagSet, o *createOptions) {
	both(f.StringVar, &o.bundle, "bundle", "b", ".", "directory with config.json")
	f.StringVar(&o.pidFile, "pid-file", "", "file for the process number")
	f.StringVar(&o.consoleSocket, "console-socket", "", "socket that gets the terminal")
	f.IntVar(&o.preserveFDs, "preserve-fds", 0, "descriptors from 3 on that the command gets")
	f.BoolVar(&o.noKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	f.BoolFunc("no-pivot", "not supported", func(s string) error {
		if s == "true" {
			return errors.New("not supported: the old root would stay in reach")
		}
		return nil
	})
}

// verbs are all there are, in the order of a container's life.
func verbs() []verb {
	return []verb{
		{"run", "CMD [ARG...] | --bundle DIR ID", "run a command, or a bundle, to its end", 125, defineRun},
		{"create", "ID", "make the container of a bundle, all but its command", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var o createOptions
			defineCreate(f, &o)
			return one(func(id string) error { return create(*root, id, o) })
		}},
		{"start", "ID", "let the command run", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			return one(func(id string) error { return start(*root, id) })
		}},
		{"state", "ID", "print the state", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			return one(func(id string) error { return printState(*root, id) })
		}},
		{"kill", "ID [SIGNAL]", "send a signal, by default TERM", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var all bool
			both(f.BoolVar, &all, "all", "a", false, "to every process")
			return func(args []string) (int, error) {
				if len(args) == 1 {
					args = append(args, "TERM")
				}
				if len(args) != 2 {
					return 0, fmt.Errorf("want a container id and a signal, got %d arguments", len(args))
				}
				sig, err := signalByName(args[1])
				if err != nil {
					return 0, err
				}
				return 0, kill(*root, args[0], sig, all)
			}
		}},
		{"delete", "ID", "remove what create made", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var force bool
			both(f.BoolVar, &force, "force", "f", false, "also if it runs")
			return one(func(id string) error { return remove(*root, id, force) })
		}},
		{"exec", "ID CMD [ARG...] | --process FILE ID", "run another process inside", 255, defineExec},
		{"list", "", "print all containers", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var format string
			var quiet bool
			both(f.StringVar, &format, "format", "f", "table", "table or json")
			both(f.BoolVar, &quiet, "quiet", "q", false, "ids only")
			return func([]string) (int, error) { return 0, list(*root, format, quiet) }
		}},
		{"ps", "ID", "print the processes inside", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var format string
			both(f.StringVar, &format, "format", "f", "table", "table or json")
			return one(func(id string) error { return ps(*root, id, format) })
		}},
		{"pause", "ID", "freeze all processes", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			return one(func(id string) error { return pause(*root, id, true) })
		}},
		{"resume", "ID", "let them go on", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			return one(func(id string) error { return pause(*root, id, false) })
		}},
		{"update", "--resources FILE ID", "change the limits", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var file string
			both(f.StringVar, &file, "resources", "r", "", "linux.resources as JSON; - is standard input")
			return one(func(id string) error { return update(*root, id, file) })
		}},
		{"features", "", "print what this runtime can do", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			return func([]string) (int, error) { return 0, printJSON(describe()) }
		}},
		{"spec", "[--bundle DIR]", "write a config.json with every protection", 1, func(f *flag.FlagSet, root *string) func([]string) (int, error) {
			var bundle string
			both(f.StringVar, &bundle, "bundle", "b", ".", "directory for config.json")
			return func([]string) (int, error) { return 0, writeSpec(bundle) }
		}},
	}
}

// defineRun defines run, which has two faces.
func defineRun(f *flag.FlagSet, root *string) func([]string) (int, error) {
	var c createOptions
	var o runOptions
	defineCreate(f, &c)
	both(f.BoolVar, &c.detach, "detach", "d", false, "with --bundle: do not wait")
	f.StringVar(&o.hostname, "hostname", "container", "name of the machine inside")
	f.StringVar(&o.memory, "memory", "64m", "limit in bytes, with k, m or g")
	f.Int64Var(&o.pids, "pids-limit", 64, "limit of processes and threads")
	f.Float64Var(&o.cpus, "cpus", 0.5, "limit of processors")
	f.Func("without", "leave out protections: "+strings.Join(protections, ","), func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			if !slices.Contains(protections, name) {
				return fmt.Errorf("there is none of that name: %s", strings.Join(protections, " "))
			}
			o.without = append(o.without, name)
		}
		return nil
	})
	return func(args []string) (status int, err error) {
		people, oci := false, false // which face each flag belongs to
		f.Visit(func(g *flag.Flag) {
			shown := slices.Contains([]string{"hostname", "memory", "pids-limit", "cpus", "without"}, g.Name)
			people, oci = people || shown, oci || !shown
		})
		switch {
		case people && oci:
			return 0, errors.New("run: flags of a bundle and of a command do not go together: config.json has them")
		case oci && len(args) == 1:
			c.run = true
			status, err := run(*root, args[0], c)
			if _, ok := errors.AsType[commandError](err); err != nil && !ok {
				err = commandError{err, 1}
			}
			return status, err
		case oci || len(args) == 0:
			return oneLineUsage()
		}
		return runCommand(o, args)
	}
}

// defineExec defines exec.
func defineExec(f *flag.FlagSet, root *string) func([]string) (int, error) {
	var o execOptions
	both(f.StringVar, &o.process, "process", "p", "", "file with a process as in config.json")
	f.StringVar(&o.pidFile, "pid-file", "", "file for the process number")
	f.StringVar(&o.consoleSocket, "console-socket", "", "socket that gets the terminal")
	f.IntVar(&o.preserveFDs, "preserve-fds", 0, "descriptors from 3 on that the command gets")
	both(f.BoolVar, &o.detach, "detach", "d", false, "do not wait")
	both(f.BoolVar, &o.tty, "tty", "t", false, "with a terminal")
	f.StringVar(&o.cwd, "cwd", "", "working directory")
	both(f.StringVar, &o.user, "user", "u", "", "UID or UID:GID")
	add := func(variable string) error { o.env = append(o.env, variable); return nil }
	f.Func("env", "variable to add", add)
	f.Func("e", "", add)
	return func(args []string) (int, error) {
		if len(args) == 0 || (o.process == "") != (len(args) > 1) {
			return 0, errors.New("want a container id, and a command or --process")
		}
		return execIn(*root, args[0], o, args[1:])
	}
}

// printUsage prints all verbs.
func printUsage() {
	fmt.Printf("usage: %s [--root DIR] [--log FILE] [--log-format text|json] COMMAND\n\n", filepath.Base(os.Args[0]))
	for _, v := range verbs() {
		fmt.Printf("  %-10s %-38s %s\n", v.name, v.args, v.about)
	}
}
