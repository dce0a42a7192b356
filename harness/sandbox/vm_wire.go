//go:build linux || darwin

package sandbox

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The VM talks through five virtio-serial ports, which the host holds as
// sockets. "ctl" takes JSON values both ways, "files" takes one tar per job
// each way, and "in", "out" and "err" take the job's streams.
var vmPorts = []string{"ctl", "files", "in", "out", "err"}

// A toGuest is what the host says on ctl.
type toGuest struct {
	Job  *vmJob  `json:",omitempty"` // followed by a tar on files
	Size *vmSize `json:",omitempty"` // the terminal's new size
	Wake *vmWake `json:",omitempty"` // it was saved and goes on now
}

// A vmJob is the part of a Job that the guest has to know.
type vmJob struct {
	Args, Env []string
	Dir       string
	Paths     []string // what the tar on files will hold, removed after the job
	Stdin     bool     // frames will come on "in"
	Out       bool     // the host wants /out
	TTY       *vmSize  `json:",omitempty"`
}

// A vmSize is a terminal's size in characters.
type vmSize struct{ Rows, Cols uint16 }

// A fromGuest is what process 1 says on ctl.
type fromGuest struct {
	Ready  bool   `json:",omitempty"` // jobs are welcome, after a boot and when awake
	Status *int   `json:",omitempty"` // the job ended; a tar on files follows if the host wanted Out
	Error  string `json:",omitempty"` // the machine failed; it takes no more jobs
}

// maxFrame keeps a frame within one write of the virtio-console driver.
const maxFrame = 32<<10 - 4

// A frameWriter cuts a stream into frames: four bytes of length, big endian,
// then as many bytes. Length 0 ends the stream.
//
// The ports outlive a job and have no end-of-file, so something has to say
// where one job's output ends. A frame says it in the stream itself: whoever
// copies needs to know nothing else, and the rule is the same for stdin. The
// other way, byte counts on ctl, would tie five readers to one another.
type frameWriter struct {
	w   io.Writer
	buf []byte
}

// Write sends p as frames. Header and content leave in one write, which is one
// interrupt of the guest less.
func (f *frameWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), maxFrame)]
		f.buf = binary.BigEndian.AppendUint32(f.buf[:0], uint32(len(part)))
		f.buf = append(f.buf, part...)
		if _, err := f.w.Write(f.buf); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// Close ends the stream; the port stays open.
func (f *frameWriter) Close() error {
	_, err := f.w.Write(make([]byte, 4))
	return err
}

// copyFrames writes the content of frames to dst until the stream ends. When
// dst fails it reads on, or the next job would begin in the middle of this
// one's output, and reports the failure at the end.
func copyFrames(dst io.Writer, src io.Reader) error {
	var header [4]byte
	var failed error
	buf := make([]byte, maxFrame)
	for {
		if _, err := io.ReadFull(src, header[:]); err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		n := binary.BigEndian.Uint32(header[:])
		if n == 0 {
			return failed
		}
		if n > maxFrame {
			return fmt.Errorf("read frame: length %d exceeds %d", n, maxFrame)
		}
		if _, err := io.ReadFull(src, buf[:n]); err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		if failed == nil && dst != nil {
			_, failed = dst.Write(buf[:n])
		}
	}
}
