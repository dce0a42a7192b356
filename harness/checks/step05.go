//go:build linux

package checks

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// step05 are the facts that the user namespace makes true.
var step05 = []Fact{
	{
		Claim:   "its root is nobody on the host",
		Holds:   "-----+",
		Broken:  []string{"without-user"},
		Because: "a user namespace maps its ids to others outside; what these may not, its root may not",
		LookAt:  "where the user namespace is made, and its maps",
		Ours:    []string{"05-user/user.go asRoot", "05-user/user.go privileged", "05-user/main.go run"},
		Read:    "user_namespaces(7), setgroups(2)",
		Show: func(t *Trial) {
			host := observe(t).Namespaces["user"]
			words := []string{t.Program.Path, "run", "sh", "-c", "probe; exec sleep 4747"}
			if !oneUser() { // there nobody can join a group
				words = append([]string{"/probe", "as", "0:4242"}, words...)
			}
			run := t.launch(nil, nil, words...)
			sleep := run.Command("sleep 4747")
			seen := outside(sleep)
			t.must(syscall.Kill(sleep, syscall.SIGKILL))
			inside := t.report(run.Wait())
			t.expectNobody(seen)
			t.Expect("0:0 []", identity(inside))
			t.ExpectThat(inside.Namespaces["user"] != host, "another user namespace than "+host, inside.Namespaces["user"])
		},
	},
	{
		Claim:   "its root has no right over the machine",
		Holds:   "-----+",
		Broken:  []string{"without-user,masks", "without-user,capabilities,seccomp"},
		Despite: []string{"user", "masks", "capabilities,seccomp"},
		Because: "a capability counts in the user namespace of its process; the clock, modules and devices belong to the first one",
		LookAt:  "where the user namespace is made, and what its root is mapped to",
		Ours:    []string{"05-user/user.go asRoot", "05-user/main.go run"},
		Read:    "capabilities(7), user_namespaces(7)",
		Show: func(t *Trial) {
			t.Expect("tried", t.Run("probe", "rights").Stdout)
			may := t.Launch("", "/probe", "rights").Stdout
			t.Control(len(lines(may)) > 4, "root of this machine may do little itself: %q", may)
		},
	},
	{
		Claim:   "the files of the host's users are closed to it",
		Holds:   "-----+",
		Because: "only the owner's id may read a file of mode 0600 or change its mode; the root of a user namespace only has the ids in its map",
		LookAt:  "what the root of the user namespace is mapped to",
		Ours:    []string{"05-user/user.go asRoot", "05-user/user.go privileged"},
		Read:    "user_namespaces(7), path_resolution(7)",
		Show: func(t *Trial) {
			open := t.HostFile("/box/for-all")
			private := t.HostFile("/box/root-only")
			t.must(os.Chmod(private, 0o600))
			other := t.HostFile("/box/user-only")
			t.must(os.Chmod(other, 0o600))
			t.must(os.Chown(other, ordinary(), ordinary()))
			// A set-user-ID program of the host's root might read them, if it ran as that.
			tool := t.HostFile("/box/tool")
			data, err := os.ReadFile("/probe")
			t.must(err)
			t.must(os.WriteFile(tool, data, 0))
			t.must(os.Chmod(tool, 0o4755))

			script := fmt.Sprintf("probe read %s; probe read %s %s; %s args ran; %[4]s read %[2]s; probe suid", open, private, other, tool)
			r := t.Launch("", "sh", "-c", `exec "$0" run sh -c "$1" <>`+open, t.Program.Path, script)
			t.Excuse()
			t.Expect("a secret of the host\n[\"ran\"]", r.Stdout)
			info, err := os.Stat(open)
			t.must(err)
			t.ExpectThat(info.Mode()&os.ModeSetuid == 0, "no set-user-ID file of the host's root", info.Mode().String()+" "+open)
		},
	},
	{
		Claim:   "what its caller owns it cannot write",
		Holds:   "-----+",
		Because: "a mount that is read-only in one user namespace cannot be made writable in another below it",
		LookAt:  "in which user namespace the root filesystem is mounted, and in which the command runs",
		Ours: []string{"05-user/user.go prepareRootfs", "05-user/user.go asRoot", "05-user/user.go unlockRootfs", "05-user/user.go runAsRoot",
			"05-user/user.go rerun", "05-user/main.go run"},
		Read: "mount_namespaces(7), mount_setattr(2)",
		Show: func(t *Trial) {
			t.HostMount("/mnt") // where only an ordinary user's root shows mounts
			for _, place := range []struct {
				user       int
				mount, dir string
			}{{0, "/", "/box"}, {1000, "/", "/box"}, {1000, "/mnt", "/mnt"}} {
				mine := t.HostFile(place.dir + "/mine")
				t.must(os.Chown(mine, place.user, place.user))
				r := t.startAs(place.user, nil, "sh", "-c", "probe remount "+place.mount+"; probe read "+mine+"; probe write "+mine+" poison").Wait()
				t.Expect("a secret of the host", r.Stdout)
				t.ExpectStatus(1, r)
				content, err := os.ReadFile(mine)
				t.must(err)
				t.Expect("a secret of the host", string(content))
			}
		},
	},
	{
		Claim:   "below an ordinary user's mounts is nothing of the host",
		Holds:   "-----+",
		Because: "what a container mounts itself it may take off again; only what came from a more privileged user namespace is locked",
		LookAt:  "what lies below the container's proc and dev",
		Ours:    []string{"05-user/user.go prepareRootfs", "05-user/user.go unlockRootfs"},
		Read:    "mount_namespaces(7)",
		Show: func(t *Trial) {
			device, process := t.HostFile("/dev/of-the-host"), fmt.Sprintf("/proc/%d/cmdline", os.Getpid())
			r := t.startAs(ordinary(), nil, "sh", "-c", fmt.Sprintf("probe uncover /dev /proc; probe read %s %s; echo tried", device, process)).Wait()
			own, err := os.ReadFile("/proc/self/cmdline")
			t.must(err)
			// A thread of the container may have the harness's number: its arguments are not the host's.
			theirs := strings.Contains(r.Stdout, "a secret of the host") || strings.Contains(r.Stdout, string(own))
			t.ExpectThat(strings.HasSuffix(r.Stdout, "tried\n") && !theirs, "nothing of the host, tried", strings.ReplaceAll(r.Stdout, "\x00", " "))
		},
	},
	{
		Claim:   "an ordinary user needs no sudo",
		Holds:   "-----+",
		Because: "every user may make a user namespace, and its root all other namespaces",
		LookAt:  "the order of the namespaces, and what only the host's root has: each is named in one warning",
		Ours: []string{"05-user/user.go runAsRoot", "05-user/user.go rerun", "05-user/user.go asRoot", "05-user/user.go unlessOrdinary",
			"05-user/user.go privileged", "05-user/user.go prepareRootfs", "05-user/user.go unlockRootfs", "05-user/user.go handOver",
			"05-user/main.go main", "05-user/main.go run", "05-user/main.go initProcess"},
		Read: "user_namespaces(7), setgroups(2)",
		Show: func(t *Trial) {
			host := observe(t)
			const script = "probe; trap 'probe read /proc/self/setgroups; exit 3' TERM; echo ready; while :; do :; done"
			run := t.startAs(ordinary(), nil, "sh", "-c", script)
			run.Output("ready")
			t.Expect(nobodyBut(ordinary()), outside(run.Command("sh -c "+script)))
			run.Signal(syscall.SIGTERM)
			t.ran += " & kill -TERM $!"
			r := run.Wait()
			t.ExpectStatus(3, r)
			report, rest, _ := strings.Cut(r.Stdout, "\nready\n")
			inside := t.report(Result{Stdout: report})
			t.Expect("deny", rest)
			t.Expect("0:0 []", identity(inside))
			t.Expect("container", inside.Hostname)
			for _, kind := range []string{"cgroup", "mnt", "pid", "user", "uts"} {
				t.ExpectThat(inside.Namespaces[kind] != host.Namespaces[kind], kind+" namespace of its own", kind+" namespace of the host")
			}
			t.Expect("", r.Stderr)
			t.expectWarnings(r)
			if !t.others() { // root of a user namespace, as LXD's, is one as well
				r := t.Launch("", "/probe", "userns", t.Program.Path, "run", "/probe", "args", "it", "ran")
				t.ExpectStatus(0, r)
				t.ExpectThat(strings.Contains(r.Warnings, warning+"no ids"), "a warning of ids", r.Warnings)
			}
		},
	},
	{
		Claim:   "an ordinary user's container ends with the program",
		Holds:   "-----+",
		Because: "a process between the program and the command must pass on what reaches it, and die with it",
		LookAt:  "signals and the parent death signal of each process in between",
		Ours:    []string{"05-user/user.go runAsRoot", "05-user/user.go rerun"},
		Read:    "signal(7), PR_SET_PDEATHSIG(2const)",
		Show: func(t *Trial) {
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
				run := t.startAs(ordinary(), nil, "sleep", "4848")
				command := run.Command("sleep 4848")
				t.Expect(nobodyBut(ordinary()), outside(command))
				run.Signal(sig)
				t.ran += fmt.Sprintf(" & kill -%d $!", sig)
				t.ExpectStatus(128+int(sig), run.Wait())
				t.Expect("", named("sleep 4848"))
			}
		},
	},
	{
		Claim:   "an ordinary user's ROOTFS is his to change, inside",
		Holds:   "-----+",
		Because: "an overlay keeps what it knows in attributes that only the host's root may set, unless it is told to use others",
		LookAt:  "the options of the overlay in a user namespace",
		Ours:    []string{"03-mount/mount.go mountRootfs", "05-user/user.go prepareRootfs"},
		Read:    "overlayfs.rst in the kernel's documentation: userxattr",
		Show: func(t *Trial) {
			dir := t.EmptyDir()
			t.must(os.Chmod(dir, 0o755))
			t.must(os.Link(rootfs+"/probe", dir+"/probe"))
			t.must(os.MkdirAll(dir+"/etc/below", 0o755))
			t.must(os.WriteFile(dir+"/etc/file", nil, 0o644))
			for _, name := range []string{"", "/etc", "/etc/below", "/etc/file"} {
				t.must(os.Chown(dir+name, ordinary(), ordinary()))
			}
			before := tree(dir)
			env := []string{"ROOTFS=" + dir}
			host := observe(t).Namespaces["user"]
			inside := t.report(t.startAs(ordinary(), env, "/probe").Wait()).Namespaces["user"]
			t.ExpectThat(inside != host, "another user namespace than "+host, inside)
			t.Expect("new", t.startAs(ordinary(), env, "/probe", "write", "/etc/file", "new").Wait().Stdout)
			gone := "/etc/file"
			if keepsAttributes("/dev/shm") {
				gone = "/etc"
			}
			t.Expect("removed "+gone, t.startAs(ordinary(), env, "/probe", "remove", gone).Wait().Stdout)
			t.Expect(before, tree(dir))
		},
	},
	{
		Claim:   "what keeps users from user namespaces is named",
		Holds:   "-----+",
		Because: "the kernel only says \"not permitted\"; which setting of the machine is behind it can be read in /proc/sys",
		LookAt:  "the errors of clone and of the first mount",
		Ours:    []string{"05-user/explain.go explain", "05-user/explain.go settings", "05-user/user.go runAsRoot", "05-user/main.go run", "05-user/main.go initProcess"},
		Read:    "user_namespaces(7), namespaces(7), \"/proc/sys/user\"",
		Show: func(t *Trial) {
			const kernel = "/proc/sys/kernel/"
			user := as(ordinary())
			type refusal struct {
				cause    string
				launcher []string
			}
			refusals := []refusal{
				{"kernel.apparmor_restrict_unprivileged_userns=0", slices.Concat(
					[]string{"/probe", "covered", kernel + "apparmor_restrict_unprivileged_userns", "1"}, user, []string{"/probe", "deny", "mount"})},
				{"kernel.unprivileged_userns_clone=1", slices.Concat(
					[]string{"/probe", "first", "/probe", "covered", kernel + "unprivileged_userns_clone", "0"}, user, []string{"/probe", "unshareless"})},
				{"user.max_user_namespaces=", slices.Concat(
					user, []string{"/probe", "userns", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"`, "sh"})},
				{"systempaths=unconfined", []string{"/probe", "first", "/probe", "covered", "/proc/sys/vm/some", "0"}},
				{"systempaths=unconfined", append([]string{"/probe", "covered", "/proc/sys/vm/some", "0"}, user...)},
			}
			if !t.others() {
				for i := range refusals[:3] { // to be pasted by him
					refusals[i].cause = "(sudo sysctl " + refusals[i].cause
				}
				refusals = append(refusals,
					refusal{"CONFIG_USER_NS", []string{"/probe", "userless"}},
					refusal{map[bool]string{false: "(", true: "(sudo "}[oneUser()] + "sysctl user.max_user_namespaces=", []string{
						"/probe", "first", "/probe", "covered", "/proc/sys/user/max_user_namespaces", "0", "/probe", "unshareless"}},
					refusal{"see dmesg", append(user, "/probe", "deny", "mount")})
			}
			for _, refusal := range refusals {
				r := t.Launch("", append(refusal.launcher, t.Program.Path, "run", "/probe", "args", "it", "ran")...)
				t.Excuse()
				t.ExpectRefusal(r)
				t.ExpectThat(strings.Contains(r.Stderr, refusal.cause), refusal.cause+" on stderr", "another cause, or none")
			}
			if oneUser() {
				return // to whom no directory is closed
			}
			closed := t.EmptyDir() // another's: no setting keeps him out of it
			t.must(os.Chmod(closed, 0o700))
			r := t.startAs(ordinary(), []string{"ROOTFS=" + closed}, "/probe", "args", "it", "ran").Wait()
			t.ExpectRefusal(r)
			other := strings.Contains(r.Stderr, "sudo") || strings.Contains(r.Stderr, "CAP_") || strings.Contains(r.Stderr, "dmesg")
			t.ExpectThat(!other, "no word of root's rights on stderr", r.Stderr)
		},
	},
	{
		Claim:   "what root cannot have stops the run",
		Holds:   "----+",
		Because: "root asked for it, and can mend it: another ROOTFS, where two overlays lie already; a cgroup filesystem",
		LookAt:  "the errors of mounting the overlay and of making the cgroup",
		Ours: []string{"03-mount/mount.go mountRootfs", "05-user/user.go prepareRootfs", "05-user/user.go unlessOrdinary",
			"04-cgroup/main.go run", "05-user/main.go run"},
		Read: "overlayfs.rst in the kernel's documentation, cgroups(7)",
		Show: func(t *Trial) {
			r := t.RunWith([]string{"ROOTFS=" + t.stacked()}, "/probe", "args", "it", "ran")
			t.Excuse()
			t.ExpectRefusal(r)
			t.ExpectThat(strings.Contains(r.Stderr, "overlay"), "the overlay named on stderr", r.Stderr)
			r = t.Launch("", "/probe", "covered", "/sys/fs/cgroup/some", "0", t.Program.Path, "run", "/probe", "args", "it", "ran")
			t.Excuse()
			t.ExpectRefusal(r)
			// Whoever mounts all the same mounts on the host: that would be left.
			t.ExpectRefusal(t.Launch("", "/probe", "deny", "unshare", t.Program.Path, "run", "/probe", "args", "it", "ran"))
		},
	},
}

// ordinary is an id without rights.
func ordinary() int {
	if oneUser() {
		return 0
	}
	return 1000
}

// stacked is a root filesystem of as many overlays, one on the other, as the
// kernel allows: two, of which the machine itself may be one.
func (t *Trial) stacked() string {
	for lower := rootfs; ; {
		dir := t.EmptyDir()
		t.must(unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
		t.AtEnd(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		for _, name := range []string{"/upper", "/work", "/merged"} {
			t.must(os.Mkdir(dir+name, 0o755))
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%[2]s/work", lower, dir)
		err := unix.Mount("overlay", dir+"/merged", "overlay", 0, options)
		if errors.Is(err, unix.EINVAL) {
			return lower
		}
		t.must(err)
		lower = dir + "/merged"
		t.AtEnd(func() { _ = unix.Unmount(dir+"/merged", unix.MNT_DETACH) })
	}
}

// keepsAttributes tells whether a file in dir, a tmpfs, may have user attributes.
// Before Linux 6.6 it may not, and an overlay in a user namespace, with its upper
// layer in a tmpfs, cannot remove a directory of the lower one.
func keepsAttributes(dir string) bool {
	f, err := os.CreateTemp(dir, "attributes")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return unix.Fsetxattr(int(f.Fd()), "user.test", []byte("y"), 0) == nil
}

// as are the words that make what follows run as a user.
func as(user int) []string {
	if oneUser() {
		return nil
	}
	return []string{"/probe", "as", itoa(user)}
}

// startAs starts the program as a user.
func (t *Trial) startAs(user int, env []string, command ...string) *Running {
	return t.launch(env, nil, slices.Concat(as(user), []string{t.Program.Path, "run"}, command)...)
}

// identity is who a process is, by its own report.
func identity(r probe.Report) string { return fmt.Sprintf("%d:%d %v", r.UID, r.GID, r.Groups) }

// outside is who a process is to the host.
func outside(pid int) string {
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, _ := os.ReadFile(proc + "status")
	var seen []string
	for _, line := range lines(string(status)) {
		words := slices.Compact(strings.Fields(line)) // real, effective, saved, and of the filesystem
		if slices.Contains([]string{"Uid:", "Gid:", "Groups:"}, words[0]) {
			seen = append(seen, strings.Join(words, " "))
		}
	}
	for _, kind := range []string{"uid", "gid"} {
		ids, _ := os.ReadFile(proc + kind + "_map")
		seen = append(seen, strings.Join(append([]string{kind + "_map"}, strings.Fields(string(ids))...), " "))
	}
	return strings.Join(seen, "\n")
}

// nobodyBut is what outside tells of a root that has nothing but an id.
func nobodyBut(id int) string {
	return fmt.Sprintf("Uid: %[1]d\nGid: %[1]d\nGroups:\nuid_map 0 %[1]d 1\ngid_map 0 %[1]d 1", id)
}

// expectNobody expects of what outside tells that no user of the host has the
// container's ids; which these are says the map. A user has his own.
func (t *Trial) expectNobody(seen string) {
	if programUser != 0 || oneUser() {
		t.Expect(nobodyBut(programUser), seen)
		return
	}
	var uid, gid int
	var uids, gids struct{ first, size int }
	_, err := fmt.Sscanf(seen, "Uid: %d\nGid: %d\nGroups:\nuid_map 0 %d %d\ngid_map 0 %d %d",
		&uid, &gid, &uids.first, &uids.size, &gids.first, &gids.size)
	t.ExpectThat(err == nil && uid == uids.first && gid == gids.first, "the ids with which the maps begin, and no groups", seen)
	users, err := os.ReadFile("/etc/passwd")
	t.must(err)
	for line := range strings.Lines(string(users)) { // root:x:0:0:root:/root:/bin/bash
		var u, g int
		if f := strings.Split(line, ":"); len(f) > 3 {
			u, _ = strconv.Atoi(f[2])
			g, _ = strconv.Atoi(f[3])
		}
		theirs := u >= uids.first && u < uids.first+uids.size || g >= gids.first && g < gids.first+gids.size
		t.ExpectThat(!theirs, "ids that no user of the host has", seen)
	}
}

// expectWarnings expects one line for each thing that an ordinary user cannot
// have.
func (t *Trial) expectWarnings(r Result) {
	var missing []string
	if !oneUser() {
		missing = []string{"ids", "root"}
	}
	missing = append(missing, "limits")
	var named []string
	for _, line := range lines(r.Warnings) {
		what, reason, _ := strings.Cut(strings.TrimPrefix(line, warning+"no "), ": ")
		t.ExpectThat(what != line && reason != "", warning+"no THING: REASON", line)
		t.ExpectThat(!slices.Contains(named, what), "one warning of "+what, r.Warnings)
		named = append(named, what)
	}
	for _, what := range missing {
		t.ExpectThat(strings.Contains(strings.Join(named, "\n"), what), "a warning of "+what, strings.Join(named, "\n"))
	}
}
