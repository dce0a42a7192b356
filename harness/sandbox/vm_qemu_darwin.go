package sandbox

import "syscall"

// qemuProcAttr puts QEMU into a process group of its own, or Ctrl-C in a shell
// would reach it before us. macOS has no parent death signal: process 1 of the
// VM sees its ports close and switches the machine off.
func qemuProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
