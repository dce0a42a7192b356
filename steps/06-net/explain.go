//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// settings are those of a machine that keep ordinary users, or all, from user
// namespaces: files below /proc, and what they then say. The first is missing
// then: the kernel was built without.
var settings = []struct {
	file, value, hint string
	forRoot           bool
}{
	{"self/uid_map", "", "a kernel with CONFIG_USER_NS is needed", true},
	{"sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "sysctl kernel.apparmor_restrict_unprivileged_userns=0", false},
	{"sys/kernel/unprivileged_userns_clone", "0\n", "sysctl kernel.unprivileged_userns_clone=1", false},
	{"sys/user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces=10000", true},
}

// explain adds to a refusal what on this machine may be behind it.
func explain(err error) error {
	refused := errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL)
	if refused && strings.HasPrefix(err.Error(), "mount proc") {
		return fmt.Errorf("%w (part of /proc is covered: in Docker, --security-opt systempaths=unconfined)", err)
	}
	// Init has all that run could have, and a root that is closed is another's.
	if !refused || os.Args[1] == "init" || strings.HasPrefix(err.Error(), "enter") {
		return err
	}
	sudo := map[bool]string{false: "sudo sysctl", true: "sysctl"}[privileged()]
	for _, s := range settings {
		if value, _ := os.ReadFile("/proc/" + s.file); string(value) == s.value && (s.forRoot || !privileged()) {
			return fmt.Errorf("%w (%s)", err, strings.Replace(s.hint, "sysctl", sudo, 1))
		}
	}
	if errors.Is(err, os.ErrPermission) && os.Geteuid() == 0 && !privileged() { // no sudo mends it
		return fmt.Errorf("%w (in a user namespace: an unprivileged container, a security module, or Linux before 5.12? see dmesg)", err)
	}
	return fmt.Errorf("%w%s", err, hint(err))
}
