//go:build linux || darwin

package sandbox

import (
	"fmt"
	"io"
)

// Types of file in a cpio entry's mode, the same bits as in inode(7).
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioLink = 0o120000
	cpioChar = 0o020000
)

// A cpioWriter writes an archive in the "newc" format, the one that the kernel
// unpacks as its first root file system, see the kernel's
// driver-api/early-userspace/buffer-format.rst. All of it belongs to root.
type cpioWriter struct {
	w   io.Writer
	ino int
	err error // the first; nothing is written after it
}

// add writes one entry. For a symbolic link content is its target; major and
// minor are a device's numbers, else 0. A parent must come before its children.
func (c *cpioWriter) add(name string, mode int, content []byte, major, minor int) {
	c.ino++ // entries that share a number would be hard links
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(content), // ino mode uid gid nlink mtime size
		0, 0, major, minor, len(name)+1, 0, name) // device, rdev, length of name, checksum
	c.write([]byte(header))
	c.write(content)
}

// write appends b and pads to the next multiple of four, as the format asks.
func (c *cpioWriter) write(b []byte) {
	for _, part := range [][]byte{b, make([]byte, -len(b)&3)} {
		if c.err == nil {
			_, c.err = c.w.Write(part)
		}
	}
}

// dir adds a directory.
func (c *cpioWriter) dir(name string, perm int) { c.add(name, cpioDir|perm, nil, 0, 0) }

// symlink adds a symbolic link.
func (c *cpioWriter) symlink(name, target string) {
	c.add(name, cpioLink|0o777, []byte(target), 0, 0)
}

// file adds a regular file.
func (c *cpioWriter) file(name string, perm int, content []byte) {
	c.add(name, cpioFile|perm, content, 0, 0)
}

// char adds a character device.
func (c *cpioWriter) char(name string, perm, major, minor int) {
	c.add(name, cpioChar|perm, nil, major, minor)
}

// close ends the archive and returns the first error of all.
func (c *cpioWriter) close() error {
	c.add("TRAILER!!!", 0, nil, 0, 0)
	return c.err
}
