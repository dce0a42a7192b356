package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// syscallTable is what step 07 looks up names of system calls in.
const syscallTable = "../steps/07-final/syscalls.txt"

// x32 lacks a few calls of amd64 and has its own numbers for others, from 512
// on, where structures differ: arch/x86/entry/syscalls/syscall_64.tbl. Numbers
// that came later are common to both.
const (
	onlyAMD64 = "uselib _sysctl create_module get_kernel_syms query_module nfsservctl set_thread_area " +
		"get_thread_area epoll_ctl_old epoll_wait_old vserver uretprobe uprobe"
	x32From512 = "rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace " +
		"rt_sigpending rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid " +
		"set_robust_list get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg " +
		"process_vm_readv process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 pwritev2"
)

// The parts of socketcall(2) and ipc(2), from 1 on: include/uapi/linux/net.h,
// ipc.h.
const (
	socketParts = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom " +
		"shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
	ipcParts = "semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget shmctl"
)

// armPrivate are calls that ARM has beside the numbered ones, see
// arch/arm/include/uapi/asm/unistd.h.
const armPrivate = "breakpoint cacheflush usr26 usr32 set_tls"

// TestCarriedSyscalls compares syscalls.txt with the module whose numbers it has.
func TestCarriedSyscalls(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^\tSYS_(\w+)\s*= (\d+)$`)
	table := map[string][7]string{}
	put := func(name string, column int, number string) {
		row := table[name]
		row[column] = number
		table[name] = row
	}
	for arch, column := range map[string]int{"amd64": 0, "386": 2, "arm64": 3, "arm": 4} {
		file := filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go")
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range line.FindAllStringSubmatch(string(source), -1) {
			name := strings.ToLower(match[1])
			if name == "syscall_mask" || name == "arch_specific_syscall" {
				continue // are numbers, but of no call
			}
			put(name, column, match[2])
			if column == 0 && !slices.Contains(strings.Fields(onlyAMD64), name) {
				put(name, 1, match[2])
			}
		}
	}
	for i, name := range strings.Fields(x32From512) {
		put(name, 1, strconv.Itoa(512+i))
	}
	for call, parts := range map[string]string{"socketcall": socketParts, "ipc": ipcParts} {
		for i, name := range strings.Fields(parts) {
			if name != "-" {
				put(name, 5, table[call][2])
				put(name, 6, strconv.Itoa(i+1))
			}
		}
	}
	put("sync_file_range2", 4, table["arm_sync_file_range"][4]) // its other name
	for i, name := range strings.Fields(armPrivate) {
		put(name, 4, strconv.Itoa(0xf0001+i))
	}
	var want strings.Builder
	for _, name := range slices.Sorted(maps.Keys(table)) {
		want.WriteString(name)
		row := table[name]
		for _, number := range row[:5] {
			fmt.Fprint(&want, " ", map[bool]string{true: "-", false: number}[number == ""])
		}
		if row[5] != "" {
			fmt.Fprint(&want, " ", row[5], " ", row[6])
		}
		want.WriteByte('\n')
	}
	if *update {
		require.NoError(t, os.WriteFile(syscallTable, []byte(want.String()), 0o644))
		return
	}
	saw, err := os.ReadFile(syscallTable)
	require.NoError(t, err)
	if diff := cmp.Diff(strings.Split(want.String(), "\n"), strings.Split(string(saw), "\n")); diff != "" {
		t.Errorf("%s is outdated, run: make carry\n%s", clean(syscallTable), diff)
	}
}
