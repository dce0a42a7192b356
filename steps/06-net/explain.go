//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// settings are those of a machine that keep users from user namespaces.
var settings = []struct{ file, value, hint string }{
	{"kernel/apparmor_restrict_unprivileged_userns", "1\n", "AppArmor: sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	{"kernel/unprivileged_userns_clone", "0\n", "sysctl kernel.unprivileged_userns_clone=1"},
	{"user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces=10000"},
}

// explain adds to a refusal what on this machine may be behind it.
func explain(err error) error {
	refused := errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSPC)
	if refused && strings.HasPrefix(err.Error(), "mount proc") {
		return fmt.Errorf("%w (part of /proc is covered: in Docker, --security-opt systempaths=unconfined)", err)
	}
	for _, s := range settings {
		if value, _ := os.ReadFile("/proc/sys/" + s.file); refused && string(value) == s.value {
			return fmt.Errorf("%w (%s)", err, s.hint)
		}
	}
	return fmt.Errorf("%w%s", err, hint(err))
}
