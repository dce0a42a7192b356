package sandbox

import "syscall"

// qemuProcAttr puts QEMU into a process group of its own, or Ctrl-C in a shell
// would reach it before us, and has it killed when we die without a word.
func qemuProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
