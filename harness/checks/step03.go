//go:build linux

package checks

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// step03 are the facts that the mount namespace, the overlay and pivot_root
// make true.
var step03 = []Fact{
	{
		Claim:   "its mount namespace is not the host's",
		Holds:   "---+",
		Broken:  []string{"without-mount"},
		Because: "processes share each namespace that nobody made anew for them",
		LookAt:  "where the mount namespace is made",
		Ours:    []string{"03-mount/main.go run"},
		Read:    "namespaces(7)",
		Show: func(t *Trial) {
			host := observe(t).Namespaces["mnt"]
			inside := t.Inside().Namespaces["mnt"]
			t.ExpectThat(inside != host, "another number than "+host, inside)
		},
	},
	{
		Claim:   "it sees no mount of the host",
		Holds:   "---+",
		Because: "a mount namespace starts as a copy of the host's, until the old root is detached",
		LookAt:  "where the old root is unmounted",
		Ours:    []string{"03-mount/mount.go leaveOldRoot", "03-mount/mount.go pivotRoot", "03-mount/main.go initProcess"},
		Read:    "pivot_root(2), mount_namespaces(7)",
		Show: func(t *Trial) {
			t.HostMount("/mnt")
			var seen []string
			for _, m := range t.Inside().Mounts {
				if strings.Contains(m.Source, "host-marker") {
					seen = append(seen, m.Type+" on "+m.Target)
				}
			}
			t.Expect("", strings.Join(seen, "\n"))
		},
	},
	{
		Claim:   "it cannot read a file outside its root",
		Holds:   "---+",
		Broken:  []string{"without-mount"},
		Despite: []string{"user"},
		Because: "a path starts at the process's root, or at a directory that is already open",
		LookAt:  "where the root is changed, and the working directory with it",
		Ours:    []string{"03-mount/mount.go pivotRoot", "03-mount/mount.go leaveOldRoot", "03-mount/mount.go mountFilesystems"},
		Read:    "path_resolution(7), pivot_root(2)",
		Show: func(t *Trial) {
			secret := t.HostFile("/run/host-secret")
			r := t.InRootfs("/probe", "read", secret, "../../../../../.."+secret,
				"/proc/1/root"+secret, "/proc/1/cwd"+secret, "/proc/self/cwd/../../.."+secret)
			t.ExpectNoAccess(r)
		},
	},
	{
		Claim:   "a file it makes stays inside",
		Holds:   "---+",
		Because: "an overlay takes writes in its upper layer; the lower layer is only read",
		LookAt:  "where the root filesystem is stacked",
		Ours:    []string{"03-mount/mount.go mountRootfs", "03-mount/mount.go pivotRoot"},
		Read:    "overlayfs.rst in the kernel's documentation",
		Show: func(t *Trial) {
			r := t.Sh("echo mine >/made-inside; read line </made-inside; echo $line")
			t.Excuse()
			t.Expect("mine", r.Stdout)
			t.ran += "; ls /made-inside"
			t.ExpectThat(!exists("/made-inside"), "no such file on the host", "/made-inside on the host")
		},
	},
	{
		Claim:   "ROOTFS names its root",
		Holds:   "---+",
		Because: "pivot_root(2) makes any mount the root of a mount namespace; of an overlay, the mode is that of its upper layer",
		LookAt:  "where ROOTFS is read, the root is changed, and the upper layer made, from whose mode the caller's umask takes",
		Ours:    []string{"03-mount/mount.go mountRootfs", "03-mount/mount.go pivotRoot", "03-mount/main.go initProcess"},
		Read:    "pivot_root(2), umask(2)",
		Show: func(t *Trial) {
			t.Rootfs()
			r := t.InRootfs("/probe", "read", "/marker")
			t.Expect("rootfs", r.Stdout)
			// Whoever runs it keeps others out of new files; of / it must not.
			masked := t.launch([]string{"ROOTFS=" + rootfs}, nil, "sh", "-c", `umask 077; exec "$0" run /probe mode /`, t.Program.Path).Wait()
			t.Expect("755", masked.Stdout)
		},
	},
	{
		Claim:   "its root filesystem stays as it was",
		Holds:   "---+",
		Because: "an overlay takes writes in its upper layer; the lower layer is only read",
		LookAt:  "where the root filesystem is stacked",
		Ours:    []string{"03-mount/mount.go mountRootfs"},
		Read:    "overlayfs.rst in the kernel's documentation",
		Show: func(t *Trial) {
			dir := t.Rootfs()
			before := tree(dir)
			t.Expect("poison", t.InRootfs("/probe", "write", "/marker", "poison").Stdout)
			t.Expect("removed /dir", t.InRootfs("/probe", "remove", "/dir").Stdout)
			t.Excuse()
			t.Expect(before, tree(dir))
			t.ExpectThat(!exists("/marker"), "no /marker on the host", "/marker on the host")
		},
	},
	{
		Claim:   "the old root is not behind dot-dot",
		Holds:   "---+",
		Because: "pivot_root(\".\", \".\") leaves the old root on top of the new one; \"..\" of / leads there",
		LookAt:  "where the old root is unmounted",
		Ours:    []string{"03-mount/mount.go leaveOldRoot", "03-mount/main.go initProcess"},
		Read:    "pivot_root(2)",
		Show: func(t *Trial) {
			secret := t.HostFile("/run/host-secret")
			t.ExpectNoAccess(t.InRootfs("/probe", "read", "/.."+secret))
		},
	},
	{
		Claim:   "a chroot breakout stays inside",
		Holds:   "---+",
		Because: "chroot(2) moves a process's root, not a directory it has open: \"..\" from there goes all the way up",
		LookAt:  "where the root is changed: pivot_root, not chroot",
		Ours:    []string{"03-mount/mount.go pivotRoot", "03-mount/mount.go leaveOldRoot"},
		Read:    "chroot(2), pivot_root(2)",
		Show: func(t *Trial) {
			secret := t.HostFile("/run/host-secret")
			t.ExpectNoAccess(t.InRootfs("/probe", "breakout", secret))
		},
	},
	{
		Claim:   "a mount it makes stays inside",
		Holds:   "---+",
		Because: "without a mount namespace, or with a shared /, each mount also happens on the host",
		LookAt:  "where the mount namespace is made, and the propagation of its mounts",
		Ours:    []string{"03-mount/main.go run", "03-mount/mount.go makeMountsPrivate"},
		Read:    "mount_namespaces(7)",
		Show: func(t *Trial) {
			t.Control(mountOn("/") != nil && mountOn("/").Propagation != "", "/ is not shared")
			r := t.Sh("probe mount /mnt && echo mounted")
			t.Excuse()
			t.ExpectDoneOrDenied("mounted", r)
			t.ran += "; grep /mnt /proc/mounts"
			t.ExpectThat(mountOn("/mnt") == nil, "nothing on the host", "a tmpfs on the host's /mnt")
		},
	},
	{
		Claim:   "it sees no process but its own",
		Holds:   "---+",
		Broken:  []string{"without-pid"},
		Because: "processes are shown by a proc mount, and it shows the PID namespace of whoever mounted it",
		LookAt:  "where proc is mounted",
		Ours:    []string{"03-mount/mount.go mountFilesystems", "03-mount/mount.go filesystems", "03-mount/mount.go mount", "03-mount/main.go initProcess"},
		Read:    "proc(5), pid_namespaces(7)",
		Show: func(t *Trial) {
			t.Control(len(observe(t).Processes) > 1, "the host shows one process only")
			r := t.Sh("echo /proc/[0-9]*")
			t.Expect("/proc/1", strings.ReplaceAll(r.Stdout, " ", "\n"))
		},
	},
	{
		Claim:   "it starts in its root directory",
		Holds:   "---+",
		Because: "a working directory outside the root is a way out",
		LookAt:  "where the working directory is changed, before or after pivot_root",
		Ours:    []string{"03-mount/mount.go mountRootfs"},
		Read:    "chdir(2), pivot_root(2)",
		Show: func(t *Trial) {
			t.Control(observe(t).Cwd != "/", "the harness itself runs in /")
			t.Expect("/", t.Inside().Cwd)
		},
	},
	{
		Claim:   "what it writes is limited",
		Holds:   "---+",
		Because: "a tmpfs is memory of the host: without a size it may take half of it",
		LookAt:  "the size of the writable layer",
		Ours:    []string{"03-mount/mount.go mountRootfs"},
		Read:    "tmpfs(5)",
		Show: func(t *Trial) {
			// Several times what is a limit, and little enough to end in good time.
			r := t.Run("probe", "fill", "/made-inside", itoa(min(memoryMiB()/3, 128)))
			t.Excuse()
			t.Expect("full", r.Stdout)
			t.ExpectThat(!exists("/made-inside"), "no such file on the host", "/made-inside fills the host")
		},
	},
	{
		Claim:   "it sees no device of the host but the harmless ones",
		Holds:   "---+",
		Broken:  []string{"without-devices"},
		Because: "a device node in /dev is the device: a disk can be read past all permissions",
		LookAt:  "where /dev is mounted",
		Ours:    []string{"03-mount/mount.go filesystems", "03-mount/mount.go mountFilesystems"},
		Read:    "null(4), mknod(2)",
		Show: func(t *Trial) {
			t.HostFile("/dev/host-device")
			r := t.Run("probe", "list", "/dev")
			t.ExpectThat(strings.Contains(r.Stdout, "null"), "null in /dev", "no null in /dev")
			t.ExpectThat(!strings.Contains(r.Stdout, "host-device"), "no host-device in /dev", "host-device in /dev")
		},
	},
	{
		Claim:   "it sees no terminal of the host",
		Holds:   "---+",
		Because: "each devpts mount has its own terminals; in the host's, they can be read and typed into",
		LookAt:  "where devpts is mounted",
		Ours:    []string{"03-mount/mount.go filesystems", "03-mount/mount.go mountFilesystems"},
		Read:    "pts(4), devpts.rst in the kernel's documentation",
		Show: func(t *Trial) {
			t.HostTerminal()
			t.Expect("/dev/pts/0", t.Run("probe", "pty").Stdout)
		},
	},
	{
		Claim:   "its tmp is empty and everybody's",
		Holds:   "---+",
		Because: "the host's temporary files are the host's; mode 1777 lets each user have files in it",
		LookAt:  "where /tmp is mounted",
		Ours:    []string{"03-mount/mount.go filesystems"},
		Read:    "tmpfs(5), hier(7)",
		Show: func(t *Trial) {
			t.HostFile("/tmp/host-file")
			r := t.Sh("probe list /tmp; probe mode /tmp; cd /tmp && echo ok >x && probe list /tmp")
			t.Excuse()
			t.Expect("1777\nx", r.Stdout)
			m := t.insideMount("/tmp")
			t.ExpectThat(contains(m.Options, "nosuid", "nodev"), "nosuid nodev", strings.Join(m.Options, " "))
		},
	},
	{
		Claim:   "its shared memory is its own",
		Holds:   "---+",
		Because: "shm_open(3) makes files in /dev/shm, which the host's processes would share",
		LookAt:  "where /dev/shm is mounted",
		Ours:    []string{"03-mount/mount.go filesystems"},
		Read:    "shm_overview(7), tmpfs(5)",
		Show: func(t *Trial) {
			t.HostFile("/dev/shm/host-file")
			r := t.Sh("probe list /dev/shm; probe mode /dev/shm; echo ok >/dev/shm/x && probe list /dev/shm")
			t.Excuse()
			t.Expect("1777\nx", r.Stdout)
			m := t.insideMount("/dev/shm")
			t.ExpectThat(contains(m.Options, "nosuid", "nodev"), "nosuid nodev", strings.Join(m.Options, " "))
		},
	},
	{
		Claim:   "a root that cannot be entered stops the run",
		Holds:   "---+",
		Because: "an isolation that cannot be made must not be left out",
		LookAt:  "the errors of what is done before the command starts",
		Ours:    []string{"03-mount/mount.go mountRootfs", "03-mount/main.go initProcess", "05-user/user.go prepareRootfs"},
		Read:    "harness/CONTRACT.md: it never fails open",
		Show: func(t *Trial) {
			others := t.HostFile("/tmp/merged") // where ours puts its root together, if it comes so far
			for _, rootfs := range []string{"/box/nowhere", "/probe"} {
				r := t.RunWith([]string{"ROOTFS=" + rootfs}, "/probe", "args", "it", "ran")
				t.Excuse()
				t.ExpectRefusal(r)
				var st unix.Stat_t
				t.must(unix.Stat(others, &st))
				t.Expect("0", fmt.Sprint(st.Uid)) // whose it was
			}
		},
	},
	{
		Claim:   "an empty root has no command",
		Holds:   "---+",
		Because: "the command is looked for in the new root, where its program and loader must be",
		LookAt:  "when the command is looked up: after the root has changed",
		Ours:    []string{"03-mount/mount.go pivotRoot"},
		Read:    "execve(2)",
		Show: func(t *Trial) {
			dir := t.EmptyDir()
			for _, command := range []string{"sh", "/bin/sh"} {
				r := t.RunWith([]string{"ROOTFS=" + dir}, command, "-c", "echo ran")
				t.ExpectStatus(127, r)
			}
		},
	},
	{
		Claim:   "it has the harmless devices and no others",
		Holds:   "---+",
		Broken:  []string{"without-devices"},
		Despite: []string{"user"},
		Because: "a device node in /dev is the device: a disk can be read past all permissions",
		LookAt:  "where /dev is mounted and filled: from the old root, as long as that is there",
		Ours:    []string{"03-mount/mount.go filesystems", "07-final/devices.go defaultDevices", "07-final/spec.go defaultConfig"},
		Read:    "null(4), random(4), tty(4)",
		Show: func(t *Trial) {
			if !oneUser() { // whose root may make none
				t.HostNode("/dev/host-node")
			}
			var seen []string
			for name := range t.Inside().Devices {
				seen = append(seen, name)
			}
			slices.Sort(seen)
			t.Expect("full null random tty urandom zero", strings.Join(seen, " "))
		},
	},
	{
		Claim:   "a link in its root leads no mount elsewhere",
		Holds:   "---+",
		Because: "mount(2) follows a symbolic link, and an image may hold any: the mount is made where it leads",
		LookAt:  "what proc, dev and tmp are when something is mounted on them",
		Ours:    []string{"03-mount/mount.go mountFilesystems"},
		Read:    "mount(2), path_resolution(7)",
		Show: func(t *Trial) {
			dir := t.EmptyDir()
			t.must(os.Link(rootfs+"/probe", dir+"/probe"))
			for _, name := range []string{"proc", "dev", "tmp"} {
				t.must(os.Symlink("../"+name, dir+"/"+name))
			}
			report := t.report(t.RunWith([]string{"ROOTFS=" + dir}, "/probe"))
			t.Expect("/proc shows [1]", fmt.Sprintf("/proc shows %v", report.Processes))
			t.ExpectThat(report.Devices["null"] != "", "null in /dev", "no null in /dev")
		},
	},
}
