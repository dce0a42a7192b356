package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// securityfs is where the kernel's security modules have their files.
const securityfs = "/sys/kernel/security"

// profile is the AppArmor profile that linux_process_apparmor_profile puts its
// container under. It takes for granted that the machine has it.
const profile = "acme_secure_profile"

// hasAppArmor tells whether the kernel has AppArmor, and uses it.
func hasAppArmor() bool {
	enabled, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return bytes.HasPrefix(enabled, []byte("Y"))
}

// loadProfile gives the kernel the profile, which allows everything. It is the
// kernel of all that the machine shares it with: for a VM only.
func loadProfile() error {
	if err := unix.Mount("securityfs", securityfs, "securityfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount securityfs: %w", err)
	}
	if err := os.WriteFile(securityfs+"/apparmor/.load", policy(profile), 0); err != nil {
		return fmt.Errorf("load the AppArmor profile %s: %w", profile, err)
	}
	return nil
}

// policy is a profile as apparmor_parser(8) would compile it, in the order that
// the kernel unpacks it (security/apparmor/policy_unpack.c): a sequence of
// values, each after a byte that says what it is, some with a name before.
func policy(profile string) []byte {
	const (
		u32, name, text, structure, end = 2, 4, 5, 7, 8

		version    = 5 // of this format, the oldest that kernels still read
		unconfined = 3 // mode: the profile is a label and no more
	)
	var b []byte
	word := func(code byte, s string) { // with its length and a NUL
		b = append(b, code)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)+1))
		b = append(b, s+"\x00"...)
	}
	number := func(n uint32) { b = binary.LittleEndian.AppendUint32(append(b, u32), n) }

	word(name, "version")
	number(version)
	word(name, "profile")
	b = append(b, structure)
	word(text, profile)
	word(name, "flags")
	b = append(b, structure)
	number(0) // no hat of another
	number(unconfined)
	number(0) // no audit
	b = append(b, end)
	for range 4 { // capabilities: allowed, audited, quiet, and one unused
		number(0)
	}
	return append(b, end)
}
