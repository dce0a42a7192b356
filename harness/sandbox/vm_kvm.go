//go:build linux || darwin

package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// A kvmRecord remembers what the probe found until the next boot.
type kvmRecord struct{ BootID, Why string }

// kvmVerdict says why KVM is not to be used, "" when it is. The cached verdict
// is the machine's; whether this user may open /dev/kvm is asked every time.
func kvmVerdict() string {
	kvm, why := openKVM()
	if why != "" {
		return why
	}
	defer kvm.Close()
	var r kvmRecord
	if b, err := os.ReadFile(kvmFile()); err == nil && json.Unmarshal(b, &r) == nil && r.BootID == bootID() && r.BootID != "" {
		return r.Why
	}
	why = probeKVM(kvm)
	rememberKVM(why)
	return why
}

// rememberKVM caches a verdict. It may fail: then the probe runs again.
func rememberKVM(why string) {
	b, _ := json.Marshal(kvmRecord{bootID(), why})
	if os.MkdirAll(cacheDir(), 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(cacheDir(), "kvm-*.part")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if f.Close() != nil || err != nil || os.Rename(f.Name(), kvmFile()) != nil {
		_ = os.Remove(f.Name())
	}
}

// kvmFile is where the verdict is kept.
func kvmFile() string { return filepath.Join(cacheDir(), "kvm.json") }

// bootID is different after each boot, see random(4).
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// openKVM opens /dev/kvm, or says why it cannot.
func openKVM() (*os.File, string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case err == nil:
		return f, ""
	case os.IsNotExist(err):
		return nil, "no /dev/kvm"
	case os.IsPermission(err):
		return nil, "no permission for /dev/kvm: sudo usermod -aG kvm $USER, then log in again"
	}
	return nil, err.Error()
}
