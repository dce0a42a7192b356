//go:build !linux

package sandbox

// GuestVM is process 1 of the VM, which is always Linux.
func GuestVM() {}
