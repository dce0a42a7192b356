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

// save writes the machine to a file; while it does, and not longer, the machine
// stands still. Without the file the next one boots, so that nothing is lost
// when it cannot be written.
func (m *vmMachine) save(file string) error {
	part, err := os.CreateTemp(filepath.Dir(file), "booted-*.part")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	q := qmp{json.NewEncoder(m.ports["monitor"]), json.NewDecoder(m.ports["monitor"])}
	_ = m.ports["monitor"].SetDeadline(time.Now().Add(20 * time.Second))
	err = errors.Join(
		q.do("qmp_capabilities", nil, nil),
		q.do("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 40, "downtime-limit": 10_000}, nil),
		q.do("migrate", map[string]any{"uri": "exec:cat >'" + strings.ReplaceAll(part.Name(), "'", `'\''`) + "'"}, nil))
	for status := ""; err == nil && status != "completed"; time.Sleep(5 * time.Millisecond) {
		var answer struct{ Status string }
		err = q.do("query-migrate", nil, &answer)
		if status = answer.Status; status == "failed" || status == "cancelled" {
			err = errors.New("migration " + status)
		}
	}
	if resumed := q.do("cont", nil, nil); resumed != nil {
		m.kill("the VM does not go on after it was saved")
		return resumed
	}
	if err == nil {
		err = os.Rename(part.Name(), file)
	}
	forgetOld(filepath.Join(filepath.Dir(file), "booted-*.vm"), 4)
	return err
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
