//go:build linux

package checks

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// step07 are the facts that the last step makes true: what the kernel isolates
// by no namespace. Where two layers stop the same, Broken leaves out both, and
// Despite each.
var step07 = []Fact{
	{
		Claim:   "a file that its caller has open is closed to it",
		Holds:   "-------+",
		Broken:  []string{"without-descriptors"},
		Despite: []string{"user"},
		Because: "a descriptor is inherited, and one of a directory leads to all that lies in it, whatever the root is",
		LookAt:  "which descriptors are open when the command starts",
		Ours:    []string{"07-final/descriptors.go closeDescriptors", "07-final/channel.go awaitConfig"},
		Read:    "close_range(2), proc_pid_fd(5)",
		Show: func(t *Trial) {
			secret := t.HostFile("/run/host-secret")
			t.ExpectNoAccess(t.Launch("", "sh", "-c",
				`ROOTFS=`+t.Rootfs()+` exec "$0" run /probe read /proc/self/fd/9`+secret+" 9</", t.Program.Path))
		},
	},
	{
		Claim:   "it does not see its caller's variables",
		Holds:   "-------+",
		Broken:  []string{"without-environment"},
		Despite: []string{"user"},
		Because: "the environment is inherited, and passwords are often in it",
		LookAt:  "what the command's environment is made of",
		Ours:    []string{"07-final/spec.go defaultConfig", "07-final/command.go execute"},
		Read:    "environ(7)",
		Show: func(t *Trial) {
			r := t.RunWith([]string{"SECRET=of-the-host"}, "sh", "-c", `echo "${SECRET-none} ${HOME}"`)
			t.Expect("none /root", r.Stdout)
		},
	},
	{
		Claim:   "it does not have its caller's keys",
		Holds:   "-------+",
		Broken:  []string{"without-keyring,seccomp"},
		Despite: []string{"keyring", "user,seccomp"},
		Because: "a session keyring is inherited, and no namespace keeps keyrings apart",
		LookAt:  "where a session keyring is joined, and whether keyctl is allowed",
		Ours:    []string{"07-final/keyring.go joinSessionKeyring", "07-final/spec.go defaultConfig"},
		Read:    "session-keyring(7), keyrings(7)",
		Show: func(t *Trial) {
			keyed := []string{"/probe", "keyed", "a secret of the host"}
			t.ExpectNoAccess(t.Launch("", append(keyed, t.Program.Path, "run", "/probe", "key")...))
			t.Control(t.Launch("", append(keyed, "/probe", "key")...).Stdout == "a secret of the host\n", "the host has no key")
		},
	},
	{
		Claim:   "a set-user-ID file gives no other user's rights",
		Holds:   "-------+",
		Broken:  []string{"without-no-new-privileges"},
		Despite: []string{"user"},
		Because: "no_new_privs makes execve(2) ignore set-user-ID and file capabilities, for good",
		LookAt:  "where no_new_privs is set",
		Ours:    []string{"07-final/restrict.go restrict"},
		Read:    "PR_SET_NO_NEW_PRIVS(2const), execve(2)",
		Show: func(t *Trial) {
			t.Expect("euid 1000", t.Run("probe", "escalate").Stdout)
		},
	},
	{
		Claim:   "what programs do not need of the kernel it does not get",
		Holds:   "-------+",
		Broken:  []string{"without-seccomp"},
		Despite: []string{"user,capabilities"},
		Because: "a filter refuses calls by their number and arguments: what is not called cannot have a hole",
		LookAt:  "the filter, and when it is loaded",
		Ours:    []string{"07-final/spec.go defaultConfig", "07-final/seccomp.go loadSeccomp"},
		Read:    "seccomp(2), syscalls(2)",
		Show: func(t *Trial) {
			t.Expect("tried", t.Run("probe", "surface").Stdout)
		},
	},
	{
		Claim:   "a user namespace of its own gives it no rights",
		Holds:   "-------+",
		Broken:  []string{"without-seccomp"},
		Despite: []string{"user,capabilities"},
		Because: "everybody may make a user namespace, and in it has all capabilities: much code of the kernel is reached only so",
		LookAt:  "whether the filter allows new namespaces",
		Ours:    []string{"07-final/spec.go defaultConfig"},
		Read:    "user_namespaces(7), seccomp(2)",
		Show: func(t *Trial) {
			t.ExpectNoAccess(t.Run("probe", "nested", "tmpfs"))
		},
	},
	{
		Claim:   "it gets no proc without covers",
		Holds:   "-------+",
		Broken:  []string{"without-masks,seccomp"},
		Despite: []string{"masks", "seccomp"},
		Because: "in a user namespace proc can be mounted only as covered as it is: what lies over a part of it protects that part",
		LookAt:  "what of /proc is masked and read-only, and whether new namespaces are allowed",
		Ours:    []string{"07-final/spec.go defaultConfig"},
		Read:    "mount_namespaces(7), proc(5)",
		Show: func(t *Trial) {
			t.ExpectNoAccess(t.Run("probe", "nested", "proc"))
		},
	},
	{
		Claim:   "of proc and sys it writes nothing, and reads what is its own",
		Holds:   "-------+",
		Broken:  []string{"without-masks"},
		Despite: []string{"user"},
		Because: "files of /proc/sys are root's to write, whatever capabilities he has; others tell of the whole machine",
		LookAt:  "which paths are made read-only and which covered, after the root is changed",
		Ours:    []string{"07-final/spec.go defaultConfig", "07-final/masks.go finishRootfs"},
		Read:    "proc(5), sysfs(5), mount(2)",
		Show: func(t *Trial) {
			inside := t.Inside()
			for _, path := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"} {
				m := lastOn(inside.Mounts, path)
				t.ExpectThat(!exists(path) || m != nil && contains(m.Options, "ro"), path+" mounted read-only", fmt.Sprint(orEmpty(m).Options))
			}
			for _, path := range []string{"/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"} {
				t.ExpectThat(!exists(path) || lastOn(inside.Mounts, path) != nil, path+" covered", "no mount there")
			}
			t.Expect("", t.Run("probe", "read", "/proc/interrupts").Stdout)
			t.Control(exists("/proc/interrupts"), "the host has no /proc/interrupts")
		},
	},
	{
		Claim:   "its root has few capabilities, and gets no more",
		Holds:   "-------+",
		Broken:  []string{"without-capabilities"},
		Despite: []string{"user"},
		Because: "what is not in the bounding set no execve(2) gives, and a capability in a user namespace still opens much of the kernel",
		LookAt:  "the five sets of the command",
		Ours:    []string{"07-final/spec.go defaultConfig", "07-final/capabilities.go dropBounding", "07-final/capabilities.go apply"},
		Read:    "capabilities(7)",
		Show: func(t *Trial) {
			inside := t.Inside()
			for set, most := range map[string]uint64{"CapBnd": ordinaryCapabilities, "CapPrm": ordinaryCapabilities,
				"CapEff": ordinaryCapabilities, "CapInh": 0, "CapAmb": 0} {
				bits, err := strconv.ParseUint(inside.Capabilities[set], 16, 64)
				t.ExpectThat(err == nil && bits&^most == 0, fmt.Sprintf("%s of no more than %x", set, most), inside.Capabilities[set])
			}
		},
	},
	{
		Claim:   "it mounts nothing",
		Holds:   "-------+",
		Broken:  []string{"without-capabilities,seccomp"},
		Despite: []string{"capabilities", "user,seccomp"},
		Because: "who may mount can cover and uncover files, also what masks them",
		LookAt:  "whether the command has CAP_SYS_ADMIN, and the filter mount(2)",
		Ours:    []string{"07-final/spec.go defaultConfig"},
		Read:    "mount(2), capabilities(7)",
		Show: func(t *Trial) {
			t.ExpectNoAccess(t.Sh("probe mount /mnt && echo mounted"))
		},
	},
	{
		Claim:   "it does not see the host's shared memory",
		Holds:   "-------+",
		Broken:  []string{"without-ipc"},
		Despite: []string{"user"},
		Because: "System V objects have numbers for names, which an IPC namespace has its own of",
		LookAt:  "where the IPC namespace is made",
		Ours:    []string{"07-final/spec.go defaultConfig"},
		Read:    "ipc_namespaces(7), sysvipc(7)",
		Show: func(t *Trial) {
			const key = 4711
			t.AtEnd(func() {
				if id, err := unix.SysvShmGet(key, 0, 0); err == nil {
					_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
				}
			})
			r := t.Launch("", "/probe", "shm", itoa(key), "a secret of the host")
			t.Control(r.Stdout == "a secret of the host\n", "no segment: %s", r.Stderr)
			t.ExpectNoAccess(t.Run("probe", "shm", itoa(key)))
		},
	},
	{
		Claim:   "a device node that it makes is none",
		Holds:   "-----+",
		Broken:  []string{"without-user,capabilities,devices"},
		Despite: []string{"user,capabilities", "user,devices", "capabilities,devices"},
		Because: "root may make any node, unless a user namespace or the missing CAP_MKNOD forbids it; and a cgroup says which can be opened",
		LookAt:  "what the command may make, and which devices its cgroup allows",
		Ours:    []string{"07-final/devicefilter.go deviceRules", "05-user/user.go asRoot", "07-final/spec.go defaultConfig"},
		Read:    "mknod(2), capabilities(7), cgroups(7)",
		Show: func(t *Trial) {
			t.ExpectNoAccess(t.Run("probe", "node", "1", "11"))
			t.Control(t.Launch("", "/probe", "node", "1", "11").Stdout == "opened\n", "the host cannot open a node of its messages")
		},
	},
}

// ordinaryCapabilities are those that container engines leave to root by
// default: changing owners and users, binding low ports, and the like.
const ordinaryCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
	1<<unix.CAP_KILL | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_BIND_SERVICE |
	1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETFCAP

// HostNode makes a device node on the host: that of a disk, which may be missing.
func (t *Trial) HostNode(path string) {
	t.must(unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(254, 99))))
	t.AtEnd(func() { _ = os.Remove(path) })
}
