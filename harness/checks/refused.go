//go:build linux

package checks

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// refused are facts about what the program is refused, and what it says then.
var refused = []Fact{
	{
		Claim:   "whatever mount is refused, the run stops",
		Holds:   "---+",
		Because: "an isolation that cannot be made must not be left out; each mount hides something of the host",
		LookAt:  "the error of each mount, and of what is done for it",
		Ours: []string{"03-mount/mount.go mount", "03-mount/mount.go makeMountsPrivate", "03-mount/mount.go mountRootfs",
			"03-mount/mount.go pivotRoot", "03-mount/mount.go mountFilesystems", "03-mount/mount.go leaveOldRoot",
			"03-mount/main.go initProcess", "05-user/user.go prepareRootfs", "05-user/user.go unlockRootfs"},
		Read: "mount(2), pivot_root(2), umount2(2), chdir(2)",
		Show: func(t *Trial) {
			t.Refuse("", "mount=EINVAL", "pivot_root", "umount2", "chdir", "symlinkat")
		},
	},
	{
		Claim:   "whatever id it is refused, the run stops",
		Holds:   "-----+",
		Because: "a container whose root is not the one that was meant has other rights than were meant",
		LookAt:  "the error of what changes the container's user, and the owner of its root",
		Ours: []string{"05-user/user.go prepareRootfs", "05-user/user.go handOver", "05-user/user.go asRoot",
			"05-user/user.go privileged", "05-user/main.go run"},
		Read: "setuid(2), setgroups(2), chown(2), user_namespaces(7)",
		Show: func(t *Trial) {
			calls := []string{"setuid", "setgid"}
			if !oneUser() { // else there is nobody to be handed anything
				calls = append(calls, "setgroups", "fchownat")
			}
			t.Refuse("", calls...)
			const own = "/proc/1/uid_map"
			usual := t.Run("probe", "read", own)
			r := t.Launch("", "/probe", "closed", "/proc/self/uid_map", t.Program.Path, "run", "/probe", "read", own)
			if r.Status != 125 && r.Status != 99 { // it stopped, or the probe's "never": another looks elsewhere
				t.Expect(usual.Stdout, r.Stdout)
			}
		},
	},
	{
		Claim:   "whatever namespace it makes for itself is refused, the run stops",
		Holds:   "-+--+",
		Because: "an isolation that cannot be made must not be left out",
		LookAt:  "the error of unshare",
		Ours:    []string{"01-uts/main.go run", "04-cgroup/cgroup.go hideCgroup", "04-cgroup/main.go initProcess", "05-user/user.go prepareRootfs"},
		Read:    "unshare(2), cgroup_namespaces(7)",
		Show: func(t *Trial) {
			t.Refuse("", "unshare")
		},
	},
	{
		Claim:   "the command waits for its limits",
		Holds:   "----+",
		Because: "a command that runs before its cgroup is there runs without limits, and what it starts stays so",
		LookAt:  "what the inner half waits for, and when the outer half lets it go on",
		Ours: []string{"02-pid/pid.go awaitRelease", "02-pid/main.go initProcess", "04-cgroup/cgroup.go createCgroup",
			"04-cgroup/main.go run", "04-cgroup/cgroup.go cgroupError", "02-pid/pid.go reexec"},
		Read: "cgroups(7), pipe(7)",
		Show: func(t *Trial) {
			r := t.Launch("", "/probe", "late", t.Program.Path, "run", "/probe", "args", "it", "ran")
			if !t.others() || r.Status != 99 { // the probe's "never": another makes its cgroup
				t.ExpectRefusal(r)
			}
			t.Refuse("", "pipe2") // without which nobody waits
		},
	},
	{
		Claim:   "an ordinary user's root is locked or the run stops",
		Holds:   "-----+",
		Because: "where an overlay cannot be had, the host's own files are the root: writable, if nobody makes them read-only",
		LookAt:  "the error of what makes the root without an overlay",
		Ours: []string{"05-user/user.go prepareRootfs", "05-user/user.go unlockRootfs", "05-user/user.go runAsRoot", "05-user/user.go rerun",
			"03-mount/mount.go mountRootfs"},
		Read: "mount_setattr(2), mount_namespaces(7)",
		Show: func(t *Trial) {
			t.Refuse("1000", "mount", "mount_setattr", "chdir", "unshare")
		},
	},
	{
		Claim:   "whatever of its network is refused, the run stops",
		Holds:   "------+",
		Because: "a network that was promised and is not there is found out by a service that nobody reaches",
		LookAt:  "the error of each request by netlink",
		Ours: []string{"06-net/net.go connect", "06-net/net.go createBridge", "06-net/net.go freeSubnet", "06-net/net.go configureNetwork",
			"06-net/main.go run", "06-net/main.go initProcess"},
		Read: "netlink(7), rtnetlink(7)",
		Show: func(t *Trial) {
			t.Refuse("", "sendto", "sendto=GET")
			if !t.others() { // another's bridge may have IPv6 off from birth
				const setting = "/proc/sys/net/ipv6/conf/cfs0/disable_ipv6"
				if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
					t.ExpectRefusal(t.Launch("", "/probe", "closed", setting, t.Program.Path, "run", "/probe", "args", "it", "ran"))
				}
			}
		},
	},
	{
		Claim:   "an ordinary user is told what to paste",
		Holds:   "-++++-",
		Because: "namespaces are for CAP_SYS_ADMIN to create: the likely cause, and the words that mend it, belong in the error",
		LookAt:  "the error of unshare or clone, when it is a missing permission",
		Ours:    []string{"01-uts/command.go hint", "01-uts/main.go run", "02-pid/main.go run"},
		Read:    "capabilities(7), sudo(8)",
		Show: func(t *Trial) {
			const goRun = "/box/go-build/program" // a file that is gone when sudo looks for it
			t.must(os.MkdirAll(filepath.Dir(goRun), 0o755))
			t.AtEnd(func() { _ = os.RemoveAll(filepath.Dir(goRun)) })
			t.must(os.Symlink(t.Program.Path, goRun))
			command := []string{"sh", "-c", `echo "it's ${ROOTFS-unset}" "$@"`, "sh", "a b", "", "$HOME"}
			for rootfs, want := range map[string]string{"": "it's unset a b  $HOME", "/": "it's / a b  $HOME"} {
				var env []string
				exec := "sudo"
				if rootfs != "" {
					env, exec = []string{"ROOTFS=" + rootfs}, "'sudo env ROOTFS=/'"
				}
				words := slices.Concat([]string{"/probe", "as", "65534", t.Program.Path, "run"}, command)
				r := t.launch(env, nil, words...).Wait()
				t.ExpectRefusal(r)
				_, hint, found := strings.Cut(strings.TrimSpace(r.Stderr), "sudo ")
				t.ExpectThat(found, "a line for sudo on stderr", r.Stderr)
				// sudo itself is not in every sandbox; here root plays it, and
				// like sudo it passes no variables on.
				paste := `sudo() { unset ROOTFS; "$@"; }; sudo ` + strings.TrimSuffix(hint, ")")
				t.Expect(want, t.Launch("", "sh", "-c", paste).Stdout)
				if !t.others() {
					r := t.launch(env, nil, "/probe", "as", "65534", goRun, "run", "true").Wait()
					want := "go run -exec " + exec + " ./steps/" + t.Program.Name + " run true"
					t.ExpectThat(strings.HasSuffix(r.Stderr, "(needs root: "+want+")\n"), want, r.Stderr)
				}
			}
		},
	},
	{
		Claim:   "root is not told to become root",
		Holds:   "-+",
		Because: "root without CAP_SYS_ADMIN is root of an unprivileged container: sudo does not mend that",
		LookAt:  "the error of unshare or clone, when it is a missing permission",
		Ours:    []string{"01-uts/command.go hint"},
		Read:    "capabilities(7), sudo(8)",
		Show: func(t *Trial) {
			r := t.Launch("", "/probe", "without", "sys_admin", t.Program.Path, "run", "/probe", "args", "it", "ran")
			t.Excuse()
			t.ExpectRefusal(r)
			t.ExpectThat(!strings.Contains(r.Stderr, "sudo"), "no word of sudo on stderr", r.Stderr)
			r = t.Launch("", "/probe", "fail", "unshare=EINVAL", "1", t.Program.Path, "run", "/probe", "args", "it", "ran")
			t.ExpectThat(!strings.Contains(r.Stderr, "CAP_SYS_ADMIN"), "no word of a right that is not what is missing", r.Stderr)
		},
	},
}

// Refuse lets each use of these system calls fail once, in the vm a tenth of them,
// see storm and the probe's refuse: each time the run must stop. The program is
// run by that user, "" is root. To an ordinary user EINVAL is the kernel's word
// for an overlay that he cannot have.
func (t *Trial) Refuse(user string, calls ...string) {
	defer shorten(10 * patience)() // many runs in one
	words := []string{t.Program.Path, "run", "/probe", "args", "it", "ran"}
	if user != "" {
		words = slices.Concat([]string{"/probe", "as", user}, words)
	}
	var want []string
	for i, call := range calls {
		if oneUser() {
			calls[i] = strings.TrimSuffix(call, "=EINVAL")
		}
		want = append(want, calls[i]+" is refused")
	}
	r := t.Launch("", slices.Concat([]string{"/probe", "refuse", itoa(10 / storm(10)), strings.Join(calls, ",")}, words)...)
	for i, saw := range lines(r.Stdout) {
		if t.others() && i < len(calls) && saw == calls[i]+" is not used" {
			want[i] = saw
		}
	}
	t.Expect(strings.Join(want, "\n"), r.Stdout)
}

// storm is how many runs a storm has: n, but a tenth in the vm, where a run
// takes some 200 ms without KVM. STORM=full means n everywhere.
func storm(n int) int {
	if os.Getenv("SANDBOX_KIND") == "vm" && os.Getenv("STORM") != "full" {
		return n / 10
	}
	return n
}

// others tells whether the program is not ours: another may do what it does by
// other system calls.
func (t *Trial) others() bool { return strings.HasPrefix(t.Program.Path, "/box/own/") }
