// Package engines runs podman, docker and containerd with an OCI runtime of
// one's choice and tries what people do with them: run, exec, stop, pause,
// limits, networks, terminals.
//
// Each engine is started with files, sockets and a daemon of its own, in a
// sandbox on this machine, where the programs are shared and nothing else is:
// whatever images, networks and containers the machine has are not seen, and
// what is made is gone with the sandbox.
package engines

import "slices"

// A Plan is what Guest is told.
type Plan struct {
	Engines []string // of Names, those that are installed
	Runtime string   // its path in the sandbox
	Run     string   // only checks whose claim contains it
	Texts   []Text   // lines that the texts tell people to type
}

// A Text is a line for an engine from a text. In it IMAGE is any image, and
// /usr/local/bin/07-final the runtime.
type Text struct {
	Engine, At, Line string
	Shows            []string
}

// An Engine is one that Guest knows.
type Engine struct {
	Name     string
	Programs []string // without which it does not work
}

// All are the engines, by the programs that they need.
var All = []Engine{
	{"podman", []string{"podman", "conmon", "iptables"}},
	{"docker", []string{"docker", "dockerd", "containerd", "containerd-shim-runc-v2", "iptables"}},
	{"ctr", []string{"ctr", "containerd", "containerd-shim-runc-v2"}},
}

// Named are the engines to try when RUN is text: one of them, or all, of whose
// checks only those with text in their claim.
func Named(text string) (list []Engine, checks string) {
	if i := slices.IndexFunc(All, func(e Engine) bool { return e.Name == text }); i >= 0 {
		return All[i : i+1], ""
	}
	return All, text
}
