//go:build linux || darwin

package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A machine that has booted, and done nothing yet, is each time the same: TCG
// takes seconds to come there. QEMU's migration writes it to a file once, and the
// next machine continues where that one was.

// savedFile is where this machine is kept. Whatever it is made of is part of the
// name, so that another one is never taken for it. "" is no such place: under KVM
// a boot is quick, and the CPU this host's own.
func (b *vmBoot) savedFile() string {
	if b.accel != "tcg" {
		return ""
	}
	key := sha256.New()
	qemu, err := exec.LookPath(b.qemu)
	if err != nil {
		return ""
	}
	for _, file := range []string{qemu, b.kernel, b.initrd} { // the last is named by its content
		info, err := os.Stat(file)
		if err != nil {
			return ""
		}
		fmt.Fprintln(key, file, info.Size(), map[bool]int64{true: info.ModTime().UnixNano()}[file != b.initrd])
	}
	fmt.Fprintln(key, b.qemuArgs())
	return filepath.Join(filepath.Dir(b.initrd), fmt.Sprintf("booted-%x.vm", key.Sum(nil)[:10]))
}

// A vmWake is what a machine cannot know that continues: the time, and that
// others began as it does.
type vmWake struct {
	Now  time.Time
	Seed []byte
}

// wake tells it, and waits until it is ready for jobs.
func (m *vmMachine) wake() error {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails, says its documentation
	if err := m.say(toGuest{Wake: &vmWake{time.Now(), seed}}); err != nil {
		return m.failure("")
	}
	return m.awaitReady()
}

// save writes the machine to a file and lets it go on: only that may not fail.
// Without the file the next one boots.
func (m *vmMachine) save(file string) error {
	part, err := os.CreateTemp(filepath.Dir(file), "booted-*.part")
	if err != nil {
		return nil
	}
	defer os.Remove(part.Name())
	part.Close()
	if m.migrate(part.Name(), time.Now().Add(time.Minute)) == nil {
		_ = os.Rename(part.Name(), file)
	}
	forgetOld(filepath.Join(filepath.Dir(file), "booted-*"), 4)
	if err := m.monitor(time.Now().Add(10*time.Second)).do("cont", nil, nil); err != nil {
		defer m.Close()
		m.kill("the VM does not go on after it was saved")
		return m.failure("")
	}
	return nil
}

// migrate writes the machine to a file. At the end of that it stands still.
func (m *vmMachine) migrate(file string, deadline time.Time) error {
	q := m.monitor(deadline)
	err := errors.Join(
		q.do("qmp_capabilities", nil, nil),
		q.do("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 40, "downtime-limit": 10_000}, nil),
		q.do("migrate", map[string]any{"uri": "exec:cat >'" + strings.ReplaceAll(file, "'", `'\''`) + "'"}, nil))
	for err == nil {
		var answer struct{ Status string }
		err = q.do("query-migrate", nil, &answer)
		switch answer.Status {
		case "completed":
			return err
		case "failed", "cancelled":
			return errors.New("migration " + answer.Status)
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = m.monitor(time.Now().Add(10*time.Second)).do("migrate_cancel", nil, nil)
	return err
}

// monitor speaks to QEMU until a deadline.
func (m *vmMachine) monitor(deadline time.Time) qmp {
	_ = m.ports["monitor"].SetDeadline(deadline)
	return qmp{json.NewEncoder(m.ports["monitor"]), json.NewDecoder(m.ports["monitor"])}
}

// A qmp is QEMU's monitor, see qemu-qmp-ref(7).
type qmp struct {
	to   *json.Encoder
	from *json.Decoder
}

// do runs one command and reads what it returns.
func (q qmp) do(command string, arguments, returns any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := q.to.Encode(request); err != nil {
		return fmt.Errorf("ask QEMU to %s: %w", command, err)
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := q.from.Decode(&answer); err != nil {
			return fmt.Errorf("ask QEMU to %s: %w", command, err)
		}
		switch { // the greeting and events are neither
		case answer.Error != nil:
			return fmt.Errorf("ask QEMU to %s: %s", command, answer.Error.Desc)
		case answer.Return != nil && returns == nil:
			return nil
		case answer.Return != nil:
			return json.Unmarshal(answer.Return, returns)
		}
	}
}
