package sandbox

import (
	"errors"
	"io/fs"
	"runtime"
	"syscall"
	"time"
)

// host and user make boxes: fresh namespaces on this machine, with a small
// root filesystem of their own. A box is made anew for every job, because that
// takes a tenth of a second.
//
// A box keeps accidents off the machine (mounts, host name, processes, links,
// files, in host also cgroups), not malice: it shares the kernel, so what has no
// namespace (most of /proc/sys, the clock, block devices) is the machine's own.
// That is why vm and container come first.
type (
	host struct{} // as root
	user struct{} // as an ordinary user, root only in its user namespace
)

func (host) Name() string { return "host" }
func (user) Name() string { return "user" }

// Check runs `sh -c :` in a real box.
func (p host) Check(spec Spec) Finding { return explain(tryBox(p.Name(), spec)) }

// Check runs `sh -c :` in a real box.
func (p user) Check(spec Spec) Finding { return explain(tryBox(p.Name(), spec)) }

// Start needs root: Check says so first, and how to get it.
func (p host) Start(spec Spec) (Machine, error) { return startBox(p.Name(), spec) }

// Start needs nothing but a kernel that lets users make user namespaces.
func (p user) Start(spec Spec) (Machine, error) { return startBox(p.Name(), spec) }

// checkTime is what Check gives the box; it needs a fiftieth of it.
const checkTime = 5 * time.Second

// facts are what a finding about a box is made from.
type facts struct {
	place   string // "host" or "user"
	spec    Spec
	root    bool  // the effective user id is 0
	err     error // why the box that was tried did not run
	refused bool  // err is the kernel's no to the box itself

	usernsClone   string // /proc/sys/kernel/unprivileged_userns_clone (Debian), "" if there is none
	maxUserns     string // /proc/sys/user/max_user_namespaces
	apparmor      string // /proc/sys/kernel/apparmor_restrict_unprivileged_userns (Ubuntu)
	maskedProc    bool   // something covers a part of /proc, as docker does
	withoutAdmin  bool   // root, but without CAP_SYS_ADMIN
	insideAnother bool   // in a container of somebody's
}

// freshContainer is the way out of a container that may do too little.
const freshContainer = "start this container anew with: docker run --privileged"

// explain turns facts into a finding. Settings are blamed only when the kernel
// refused: else a full disk would be reported as AppArmor's doing.
func explain(f facts) Finding {
	bad := func(reason, fix string) Finding { return Finding{Reason: reason, Fix: fix} }
	switch {
	case runtime.GOOS != "linux":
		return bad("needs Linux", "make test SANDBOX=vm")
	case f.spec.Arch != "" && f.spec.Arch != runtime.GOARCH:
		return bad("this machine is "+runtime.GOARCH, "make test SANDBOX=vm ARCH="+f.spec.Arch)
	case f.spec.Cgroup != "":
		return bad("has the cgroups this machine has", "make test SANDBOX=vm CGROUP="+f.spec.Cgroup)
	case f.spec.Kernel != "":
		return bad("has the kernel this machine has", "make test SANDBOX=vm KERNEL="+f.spec.Kernel)
	case f.place == "host" && !f.root:
		return bad("needs root", "sudo -v && make test SANDBOX=host")
	case f.err == nil && f.place == "host":
		return Finding{OK: true, Reason: "namespaces on this machine, as root"}
	case f.err == nil:
		return Finding{OK: true, Reason: "a user namespace on this machine, without root"}
	case !f.refused:
		return bad(f.err.Error(), "")
	case f.withoutAdmin:
		return bad("root without CAP_SYS_ADMIN, as in an unprivileged container", freshContainer)
	case f.place == "user" && f.maxUserns == "0":
		return bad("user namespaces are switched off", "sudo sysctl -w user.max_user_namespaces=10000")
	case f.place == "user" && f.usernsClone == "0" && !f.root:
		return bad("user namespaces are for root only here", "sudo sysctl -w kernel.unprivileged_userns_clone=1")
	case f.place == "user" && f.apparmor == "1" && !f.root:
		return bad("AppArmor restricts user namespaces", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
	case f.maskedProc:
		return bad("parts of /proc are masked, so the kernel refuses a fresh one", freshContainer)
	case f.insideAnother:
		return bad("this container may not make namespaces", freshContainer)
	}
	return bad(f.err.Error(), "")
}

// refused tells whether err is the kernel's no to namespaces or mounts: EPERM
// and EACCES, ENOSPC at user.max_user_namespaces, EINVAL and ENOSYS without
// CONFIG_USER_NS, see clone(2).
func refused(err error) bool {
	for _, no := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EINVAL, syscall.ENOSYS} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// A report is what process 1 of a box tells its launcher: the status of the
// job, or why there is none.
type report struct {
	Status  int
	Failure string
	Errno   syscall.Errno // the kernel's part in Failure, 0 if it has none
}

// failure makes the report of err.
func failure(err error) report {
	r := report{Failure: err.Error()}
	errors.As(err, &r.Errno)
	return r
}

// err gives back what failure was made of.
func (r report) err() error {
	if r.Failure == "" {
		return nil
	}
	return guestError(r)
}

// A guestError is an error of process 1 whose errno survived the way out.
type guestError report

func (e guestError) Error() string { return e.Failure }

func (e guestError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}
