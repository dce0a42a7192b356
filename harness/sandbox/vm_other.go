//go:build !linux && !darwin

package sandbox

import (
	"errors"
	"io"
	"runtime"
)

// A vm makes virtual machines, but not from here: its channels are sockets
// that QEMU inherits.
type vm struct{}

// Name is what SANDBOX= calls it.
func (vm) Name() string { return "vm" }

// Check says what to do instead.
func (vm) Check(Spec) Finding {
	return Finding{Reason: "the VM is not supported on " + runtime.GOOS, Fix: "wsl --install, then work in its shell"}
}

// Start cannot.
func (vm) Start(s Spec) (Machine, error) { return nil, errors.New(vm{}.Check(s).Reason) }

// FetchBusybox cannot fetch either.
func FetchBusybox(string, io.Writer) (string, error) {
	return "", errors.New(vm{}.Check(Spec{}).Reason)
}

// FetchKernel cannot either.
func FetchKernel(string, string, io.Writer) (string, error) {
	return "", errors.New(vm{}.Check(Spec{}).Reason)
}
