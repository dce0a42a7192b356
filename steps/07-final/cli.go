//go:build linux

package main

import (
	"cmp"
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

// options are what the flags of all verbs say.
type options struct {
	runOptions               // of run CMD
	root              string // directory of the states
	log, logFormat    string // file for what is said, besides stderr; text or json
	version           bool
	systemd           bool   // refused
	debug             bool   // ignored: there is nothing more to say
	bundle            string // directory of config.json and, as a rule, the rootfs
	pidFile           string
	consoleSocket     string // gets the terminal
	preserveFDs       int    // descriptors from 3 on that the command gets
	noKeyring         bool   // the caller's session keyring stays
	detach            bool   // do not wait
	process           string // file of a process as in config.json; of exec, as what follows
	tty               bool
	cwd, user         string
	env               []string
	all, force, quiet bool
	format            string // table or json
	resources         string // file of linux.resources, or - for standard input
}

// Flags that verbs share: long name, and after a slash the short one.
const (
	ofProcess = "pid-file console-socket preserve-fds detach/d"
	ofBundle  = "bundle/b no-new-keyring " + ofProcess
	ofCommand = "hostname memory pids-limit cpus without"
)

// A verb is a command of the command line. Its flags come before its arguments,
// with one dash or two, and with "=" or a word of its own.
type verb struct {
	name, flags, args, about string
	do                       func(o *options, args *flag.FlagSet) (status int, err error)
}

// verbs are all there are, in the order of a container's life.
var verbs = []verb{
	{"run", ofCommand + " " + ofBundle, "CMD [ARG...] | --bundle DIR ID", "run a command, or a bundle, to its end", runEither},
	{"create", ofBundle, "ID", "make the container of a bundle, all but its command", one(func(o *options, id string) error { return create(o.root, id, o) })},
	{"start", "", "ID", "let the command run", one(func(o *options, id string) error { return start(o.root, id) })},
	{"state", "", "ID", "print the state", one(func(o *options, id string) error { return printState(o.root, id) })},
	{"kill", "all/a", "ID [SIGNAL]", "send a signal, by default TERM", killNamed},
	{"delete", "force/f", "ID", "remove what create made", one(func(o *options, id string) error { return remove(o.root, id, o.force) })},
	{"exec", "process/p tty/t cwd user/u env/e " + ofProcess, "ID CMD [ARG...] | --process FILE ID", "run another process inside", execEither},
	{"list", "format/f quiet/q", "", "print all containers", one(func(o *options, _ string) error { return list(o.root, o.format, o.quiet) })},
	{"ps", "format/f", "ID", "print the processes inside", one(func(o *options, id string) error { return ps(o.root, id, o.format) })},
	{"pause", "", "ID", "freeze all processes", one(func(o *options, id string) error { return pause(o.root, id, true) })},
	{"resume", "", "ID", "let them go on", one(func(o *options, id string) error { return pause(o.root, id, false) })},
	{"update", "resources/r", "ID", "change the limits to those of a file, or of standard input", one(func(o *options, id string) error { return update(o.root, id, o.resources) })},
	{"features", "", "", "print what this runtime can do", one(func(*options, string) error { fmt.Print(features); return nil })},
	{"spec", "bundle/b", "", "write a config.json with every protection", one(func(o *options, _ string) error { return writeSpec(o.bundle) })},
}

// parse takes the flags of a list from args. Messages are left to exit.
func (o *options) parse(list string, args []string) (*flag.FlagSet, error) {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	places := map[string]any{
		"root": &o.root, "log": &o.log, "log-format": &o.logFormat, "version": &o.version, "systemd-cgroup": &o.systemd, "debug": &o.debug,
		"hostname": &o.hostname, "memory": &o.memory, "pids-limit": &o.pids, "cpus": &o.cpus, "without": &o.without,
		"bundle": &o.bundle, "pid-file": &o.pidFile, "console-socket": &o.consoleSocket, "preserve-fds": &o.preserveFDs,
		"no-new-keyring": &o.noKeyring, "detach": &o.detach,
		"process": &o.process, "tty": &o.tty, "cwd": &o.cwd, "user": &o.user, "env": &o.env,
		"all": &o.all, "force": &o.force, "quiet": &o.quiet, "format": &o.format, "resources": &o.resources,
	}
	for names := range strings.FieldsSeq(list) {
		long, _, _ := strings.Cut(names, "/")
		for name := range strings.SplitSeq(names, "/") {
			switch place := places[long].(type) {
			case *string:
				f.StringVar(place, name, *place, "")
			case *bool:
				f.BoolVar(place, name, *place, "")
			case *int:
				f.IntVar(place, name, *place, "")
			case *float64:
				f.Float64Var(place, name, *place, "")
			case *[]string:
				f.Func(name, "", func(text string) error { *place = append(*place, text); return nil })
			}
		}
	}
	return f, f.Parse(args)
}

// dispatch runs the verb that args name and returns the program's exit status.
func dispatch(args []string) (status int, err error) {
	o := &options{root: stateRoot, logFormat: "text", bundle: ".", format: "table", resources: "-"}
	o.runOptions = runOptions{hostname: "container", memory: "64m", pids: 64, cpus: 0.5}
	f, err := o.parse("root log log-format version/v systemd-cgroup debug", args)
	if err == nil {
		err = openLog(o.log, o.logFormat)
	}
	if err == nil {
		o.root, err = filepath.Abs(o.root)
	}
	if err == nil && o.systemd {
		err = errors.New("--systemd-cgroup: " + noSystemd)
	}
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == f.Arg(0) })
	switch {
	case errors.Is(err, flag.ErrHelp) || f.Arg(0) == "help":
		return printUsage()
	case err != nil:
		return 0, commandError{err, cmp.Or(failures[f.Arg(0)], 1)}
	case o.version:
		fmt.Printf("containers-from-scratch version %s\ncommit: none\nspec: %s\ngo: %s\n", version, specs.Version, runtime.Version())
		return 0, nil
	case i < 0:
		return oneLineUsage()
	}
	return verbs[i].run(o, f.Args()[1:])
}

// failures are the statuses of failures that are not 1. They are those of runc,
// except that run CMD has those of all steps.
var failures = map[string]int{"run": 125, "exec": 255}

// run does what the verb says.
func (v verb) run(o *options, args []string) (status int, err error) {
	f, err := o.parse(v.flags, args)
	switch n := f.NArg(); {
	case errors.Is(err, flag.ErrHelp):
		return printUsage()
	case err != nil:
	case v.args == "" && n > 0 || v.args == "ID" && n != 1:
		err = fmt.Errorf("got %d arguments, want: %s %s", n, v.name, v.args)
	case o.format != "table" && o.format != "json":
		err = fmt.Errorf("format %q is neither table nor json", o.format)
	default:
		status, err = v.do(o, f)
	}
	if _, told := errors.AsType[commandError](err); err != nil && (!told || failures[v.name] == 0) {
		err = commandError{err, cmp.Or(failures[v.name], 1)}
	}
	return status, err
}

// oneLineUsage says in one line what the program wants, as all steps do.
func oneLineUsage() (status int, err error) {
	fmt.Fprintf(os.Stderr, "usage: %s run CMD [ARG...]\n", filepath.Base(os.Args[0]))
	return 125, nil
}

// printUsage prints all verbs.
func printUsage() (status int, err error) {
	fmt.Printf("usage: %s [--root DIR] [--log FILE] [--log-format text|json] COMMAND\n", filepath.Base(os.Args[0]))
	for _, v := range verbs {
		fmt.Printf("\n  %-10s %-38s %s\n", v.name, v.args, v.about)
		if v.flags != "" {
			fmt.Printf("%13s--%s\n", "", strings.NewReplacer("/", "|-", " ", " --").Replace(v.flags))
		}
	}
	return 0, nil
}

// one calls do with the id that is the only argument of most verbs.
func one(do func(o *options, id string) error) func(*options, *flag.FlagSet) (int, error) {
	return func(o *options, args *flag.FlagSet) (int, error) { return 0, do(o, args.Arg(0)) }
}

// runEither runs a command or, with a flag that is for one, a bundle.
func runEither(o *options, args *flag.FlagSet) (status int, err error) {
	people, oci := false, false // which face each flag belongs to
	args.Visit(func(f *flag.Flag) {
		shown := slices.Contains(strings.Fields(ofCommand), f.Name)
		people, oci = people || shown, oci || !shown
	})
	switch {
	case people && oci:
		return 0, errors.New("flags of a bundle and of a command do not go together: config.json has them")
	case oci && args.NArg() == 1:
		status, err := run(o.root, args.Arg(0), o)
		if _, told := errors.AsType[commandError](err); err != nil && !told {
			err = commandError{err, 1}
		}
		return status, err
	case oci || args.NArg() == 0:
		return oneLineUsage()
	}
	o.without = strings.FieldsFunc(strings.Join(o.without, ","), func(r rune) bool { return r == ',' })
	for _, name := range o.without {
		if !slices.Contains(protections, name) {
			return 0, fmt.Errorf("--without %s: there is none of that name: %s", name, strings.Join(protections, " "))
		}
	}
	return runCommand(o.runOptions, args.Args())
}

// killNamed sends the signal that an argument names.
func killNamed(o *options, args *flag.FlagSet) (int, error) {
	if args.NArg() != 1 && args.NArg() != 2 {
		return 0, fmt.Errorf("want a container id and a signal, got %d arguments", args.NArg())
	}
	sig, err := signalByName(cmp.Or(args.Arg(1), "TERM"))
	if err != nil {
		return 0, err
	}
	return 0, kill(o.root, args.Arg(0), sig, o.all)
}

// execEither runs a process inside: of a file, or the one in the arguments.
func execEither(o *options, args *flag.FlagSet) (int, error) {
	if args.NArg() == 0 || (o.process == "") != (args.NArg() > 1) {
		return 0, errors.New("want a container id, and a command or --process")
	}
	return execIn(o.root, args.Arg(0), o, args.Args()[1:])
}
