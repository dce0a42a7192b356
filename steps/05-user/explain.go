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
// namespaces.
var settings = []struct {
	file, value, hint string
	forRoot           bool
}{
	{"kernel/apparmor_restrict_unprivileged_userns", "1\n", "AppArmor: sysctl kernel.apparmor_restrict_unprivileged_userns=0", false},
	{"kernel/unprivileged_userns_clone", "0\n", "sysctl kernel.unprivileged_userns_clone=1", false},
	{"user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces=10000", true},
}

// explain adds to a refusal what on this machine may be behind it.
func explain(err error) error {
	refused := errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC)
	if refused && strings.HasPrefix(err.Error(), "mount proc") {
		return fmt.Errorf("%w (part of /proc is covered: in Docker, --security-opt systempaths=unconfined)", err)
	}
	// Init has all that run could have, and a root that is closed is another's.
	if !refused || os.Args[1] == "init" || strings.HasPrefix(err.Error(), "enter") {
		return err
	}
	for _, s := range settings {
		if value, _ := os.ReadFile("/proc/sys/" + s.file); string(value) == s.value && (s.forRoot || !privileged()) {
			return fmt.Errorf("%w (%s)", err, s.hint)
		}
	}
	return fmt.Errorf("%w%s", err, hint(err))
}
