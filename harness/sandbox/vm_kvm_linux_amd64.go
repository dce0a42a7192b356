package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The part of the kernel's virt/kvm/api.rst that the probe needs.
const (
	kvmCreateVM      = 0xae01
	kvmVCPUMmapSize  = 0xae04
	kvmCreateVCPU    = 0xae41
	kvmSetUserMemory = 0x4020ae46
	kvmGetSregs      = 0x8138ae83
	kvmSetSregs      = 0x4138ae84
	kvmSetRegs       = 0x4090ae82
	kvmRun           = 0xae80
	kvmExitIO        = 2
)

// The probe's guest counts down from kvmTurns, which takes about 2 ms on a
// processor that runs guests itself and about 2 s where another hypervisor
// emulates it.
const (
	kvmTurns    = 2_000_000
	kvmDeadline = 300 * time.Millisecond
)

// kvmProgram is the guest, in real mode at 0x1000.
var kvmProgram = binary.LittleEndian.AppendUint32([]byte{0x66, 0xb9}, kvmTurns) // mov ecx, kvmTurns
var kvmProgramEnd = []byte{
	0x66, 0x49, // 1: dec ecx
	0x75, 0xfc, // jnz 1b
	0xb0, 0x2a, // mov al, 42
	0xe6, 0x10, // out 0x10, al
	0xf4, // hlt
}

// probeKVM says why KVM should not be used, "" when it may be. It tries its
// speed, because inside another virtual machine KVM can be there, work, and be
// a thousand times too slow: then QEMU looks as if it hung.
func probeKVM(kvm *os.File) string {
	verdict := make(chan string, 1)
	thread := make(chan int, 1)
	go func() {
		// Never unlocked: the thread, which may be interrupted below, ends
		// with the goroutine.
		runtime.LockOSThread()
		thread <- unix.Gettid()
		took, err := runKVM(int(kvm.Fd()))
		switch {
		case err != nil:
			verdict <- "KVM here does not work: " + err.Error()
		case took > kvmDeadline:
			verdict <- kvmTooSlow
		default:
			verdict <- ""
		}
	}()
	select {
	case why := <-verdict:
		return why
	case <-time.After(kvmDeadline):
	}
	// A signal takes the thread out of KVM_RUN, if it can be: else it ends
	// with its countdown. SIGURG is the one that Go's scheduler sends to
	// itself and expects at any time.
	_ = unix.Tgkill(unix.Getpid(), <-thread, unix.SIGURG)
	return kvmTooSlow
}

var kvmTooSlow = fmt.Sprintf("KVM here is too slow: %d million instructions took more than %v", 2*kvmTurns/1_000_000, kvmDeadline)

// runKVM runs the guest once and says how long it took.
func runKVM(kvm int) (time.Duration, error) {
	call := func(what string, fd int, request uintptr, arg unsafe.Pointer) (int, error) {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if errno != 0 {
			return 0, fmt.Errorf("%s: %w", what, errno)
		}
		return int(r), nil
	}
	vm, err := call("KVM_CREATE_VM", kvm, kvmCreateVM, nil)
	if err != nil {
		return 0, err
	}
	defer unix.Close(vm)
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, fmt.Errorf("mmap guest memory: %w", err)
	}
	defer unix.Munmap(page)
	copy(page[copy(page, kvmProgram):], kvmProgramEnd)
	memory := struct {
		slot, flags          uint32
		guest, size, address uint64
	}{0, 0, 0x1000, 4096, uint64(uintptr(unsafe.Pointer(&page[0])))}
	if _, err := call("KVM_SET_USER_MEMORY_REGION", vm, kvmSetUserMemory, unsafe.Pointer(&memory)); err != nil {
		return 0, err
	}
	vcpu, err := call("KVM_CREATE_VCPU", vm, kvmCreateVCPU, nil)
	if err != nil {
		return 0, err
	}
	defer unix.Close(vcpu)
	size, err := call("KVM_GET_VCPU_MMAP_SIZE", kvm, kvmVCPUMmapSize, nil)
	if err != nil {
		return 0, err
	}
	state, err := unix.Mmap(vcpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("mmap kvm_run: %w", err)
	}
	defer unix.Munmap(state)
	var sregs [312]byte // struct kvm_sregs; cs comes first
	if _, err := call("KVM_GET_SREGS", vcpu, kvmGetSregs, unsafe.Pointer(&sregs)); err != nil {
		return 0, err
	}
	clear(sregs[0:8])   // cs.base
	clear(sregs[12:14]) // cs.selector
	if _, err := call("KVM_SET_SREGS", vcpu, kvmSetSregs, unsafe.Pointer(&sregs)); err != nil {
		return 0, err
	}
	var regs [18]uint64            // struct kvm_regs
	regs[16], regs[17] = 0x1000, 2 // rip, and the one bit of rflags that is always set
	if _, err := call("KVM_SET_REGS", vcpu, kvmSetRegs, unsafe.Pointer(&regs)); err != nil {
		return 0, err
	}
	start := time.Now()
	for {
		_, err := call("KVM_RUN", vcpu, kvmRun, nil)
		took := time.Since(start)
		if err != nil && (took > kvmDeadline || !errors.Is(err, unix.EINTR)) {
			return took, err
		}
		if err != nil {
			continue
		}
		if reason := binary.LittleEndian.Uint32(state[8:]); reason != kvmExitIO {
			return took, fmt.Errorf("KVM_RUN ended with exit reason %d", reason)
		}
		return took, nil
	}
}
