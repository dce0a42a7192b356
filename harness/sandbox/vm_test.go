//go:build linux || darwin

package sandbox

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// parseCpio reads a newc archive by its specification: "name mode content".
func parseCpio(t *testing.T, b []byte) (entries []string) {
	align := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; ; {
		require.Equal(t, "070701", string(b[at:at+6]))
		field := func(i int) int {
			n, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			require.NoError(t, err)
			return int(n)
		}
		nameEnd := at + 110 + field(11)
		name := string(b[at+110 : nameEnd-1])
		start := align(nameEnd)
		end := start + field(6)
		if name == "TRAILER!!!" {
			require.Equal(t, len(b), align(end))
			return entries
		}
		entries = append(entries, fmt.Sprintf("%s %o %d:%d %q", name, field(1), field(9), field(10), b[start:end]))
		at = align(end)
	}
}

func TestCpioReadsBack(t *testing.T) {
	var b bytes.Buffer
	c := &cpioWriter{w: &b}
	c.dir("dev", 0o755)
	c.char("dev/console", 0o600, 5, 1)
	c.symlink("bin", "usr/bin")
	for n := range 5 { // every padding
		c.file("f"+strings.Repeat("x", n), 0o755, []byte("12345"[:n]))
	}
	require.NoError(t, c.close())
	want := []string{
		`dev 40755 0:0 ""`, `dev/console 20600 5:1 ""`, `bin 120777 0:0 "usr/bin"`,
		`f 100755 0:0 ""`, `fx 100755 0:0 "1"`, `fxx 100755 0:0 "12"`, `fxxx 100755 0:0 "123"`, `fxxxx 100755 0:0 "1234"`,
	}
	if d := cmp.Diff(want, parseCpio(t, b.Bytes())); d != "" {
		t.Error(d)
	}
}

func TestModinfoNamesWhatMustBeLoadedBefore(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=llc,stp\x00name=bridge\x00":   {"llc", "stp"},
		"depends=\x00name=veth\x00":                           nil,
		"softdep=pre: crc32c zlib post: late\x00depends=\x00": {"crc32c", "zlib"},
		"softdep=post: late pre: early\x00depends=x-y":        {"early", "x-y"},
		"description=depends=nothing\x00softdep=post: late":   nil,
	} {
		if d := cmp.Diff(want, parseModinfo([]byte(info))); d != "" {
			t.Errorf("%q: %s", info, d)
		}
	}
}

func TestVersionsAreComparedAsNumbers(t *testing.T) {
	for _, older := range [][2]string{
		{"6.1.0-9-cloud", "6.1.0-56-cloud"}, {"6.1.0-56-cloud", "6.12.0-1-cloud"}, {"6.12.100+deb12", "6.12.117+deb12"},
	} {
		require.Negative(t, compareVersions(older[0], older[1]), older)
		require.Positive(t, compareVersions(older[1], older[0]), older)
	}
}

func TestBusyboxTellsItsApplets(t *testing.T) {
	got, err := busyboxApplets([]byte("\x7fELF…\x00[\x00[[\x00cat\x00ls\x00mount\x00sh\x00sleep\x00\x00more\x00"))
	require.NoError(t, err)
	if d := cmp.Diff([]string{"[", "[[", "cat", "ls", "mount", "sh", "sleep"}, got); d != "" {
		t.Error(d)
	}
	_, err = busyboxApplets([]byte("no busybox"))
	require.EqualError(t, err, "no table of applets")
}

func TestFramesCarryAnyBytesAndEnd(t *testing.T) {
	var wire bytes.Buffer
	streams := [][]byte{nil, []byte("one\x00two"), bytes.Repeat([]byte("0123456789"), 20_000)}
	for _, s := range streams {
		f := &frameWriter{w: &wire}
		n, err := f.Write(s)
		require.NoError(t, err)
		require.Equal(t, len(s), n)
		require.NoError(t, f.Close())
	}
	for _, want := range streams {
		var got bytes.Buffer
		require.NoError(t, copyFrames(&got, &wire))
		require.True(t, bytes.Equal(want, got.Bytes()))
	}
	require.Zero(t, wire.Len())
}

// A writer that fails must not leave the next job in the middle of a stream.
func TestFramesAreReadToTheirEndEvenIfNobodyWantsThem(t *testing.T) {
	var wire bytes.Buffer
	f := &frameWriter{w: &wire}
	_, _ = f.Write(make([]byte, 100_000))
	_ = f.Close()
	require.EqualError(t, copyFrames(failingWriter{}, &wire), "no room")
	require.Zero(t, wire.Len())

	require.Error(t, copyFrames(nil, strings.NewReader("\x00\x00\x00\x05abc")), "cut off")
	require.Error(t, copyFrames(nil, strings.NewReader("\xff\xff\xff\xffabc")), "too long")
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestTarKeepsModesAndEndsWhereItEnds(t *testing.T) {
	src := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(src, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "sub", "program"), []byte("#!/bin/sh\n"), 0o751))
	require.NoError(t, os.Symlink("program", filepath.Join(src, "sub", "link")))
	var wire bytes.Buffer
	require.NoError(t, packTar(&wire, map[string]string{"/box": src, "/one": filepath.Join(src, "sub", "program")}))
	wire.WriteString("next")

	dst := t.TempDir()
	require.NoError(t, unpackTar(&wire, dst, true))
	require.Equal(t, "next", wire.String(), "not a byte of what follows is read")
	info, err := os.Stat(filepath.Join(dst, "box", "sub", "link"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o751), info.Mode())
	info, err = os.Stat(filepath.Join(dst, "one"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o751), info.Mode())
}

func TestTarFromAMachineStaysWhereItBelongs(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"path upwards":     {{Name: "../evil", Typeflag: tar.TypeReg}},
		"absolute path":    {{Name: "/evil", Typeflag: tar.TypeReg}},
		"hidden path up":   {{Name: "a/../../evil", Typeflag: tar.TypeReg}},
		"through old link": {{Name: "link/evil", Typeflag: tar.TypeReg}},
		"too much":         {{Name: "evil", Typeflag: tar.TypeReg, Size: 1 << 40}},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dst := filepath.Join(top, "out")
			require.NoError(t, os.Mkdir(dst, 0o755))
			require.NoError(t, os.Symlink(top, filepath.Join(dst, "link")))
			require.Error(t, unpackTar(tarOf(t, entries), dst, false))
			require.NoFileExists(t, filepath.Join(top, "evil"))
		})
	}
}

// Links and devices from a machine are left out, and files replace links.
func TestTarFromAMachineHasOnlyFiles(t *testing.T) {
	top := t.TempDir()
	victim := filepath.Join(top, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	dst := filepath.Join(top, "out")
	require.NoError(t, os.Mkdir(dst, 0o755))
	require.NoError(t, os.Symlink(victim, filepath.Join(dst, "result")))
	require.NoError(t, unpackTar(tarOf(t, []tar.Header{
		{Name: "shadow", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "../victim"},
		{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8},
		{Name: "result", Typeflag: tar.TypeReg, Mode: 0o4755},
	}), dst, false))
	names, err := filepath.Glob(filepath.Join(dst, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dst, "result")}, names)
	info, err := os.Lstat(names[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode(), "no set-user-ID")
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
}

// tarOf makes an archive of headers, whatever they say; contents are missing.
func tarOf(t *testing.T, headers []tar.Header) *bytes.Buffer {
	var b bytes.Buffer
	for _, h := range headers {
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&h))
	}
	b.Write(make([]byte, 1024))
	return &b
}

func TestConsoleKeepsItsEndAndNoEscapes(t *testing.T) {
	var c consoleTail
	_, _ = c.Write(bytes.Repeat([]byte("x"), 5000))
	_, _ = c.Write([]byte("\x1b[2Jlast\r\nwords\xff\n"))
	got := c.String()
	require.Less(t, len(got), consoleKeep+1)
	require.True(t, strings.HasSuffix(got, "x[2Jlast\nwords\n"), got[len(got)-20:])
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	t.Setenv("CFS_CACHE", t.TempDir())
	tools := t.TempDir()
	t.Setenv("PATH", tools)
	f := vm{}.Check(Spec{Arch: "amd64", Accel: "tcg"})
	require.False(t, f.OK)
	require.Equal(t, "qemu-system-x86_64 not found", f.Reason)
	require.Equal(t, vmInstall("qemu-system-x86"), f.Fix)

	for _, name := range []string{"qemu-system-x86_64", "qemu-system-aarch64"} {
		require.NoError(t, os.WriteFile(filepath.Join(tools, name), nil, 0o755))
	}
	f = vm{}.Check(Spec{Arch: "amd64", Accel: "tcg"})
	require.False(t, f.OK)
	require.Contains(t, f.Reason, "busybox-static is not in "+os.Getenv("CFS_CACHE"))

	require.NoError(t, os.WriteFile(filepath.Join(tools, "apt-get"), nil, 0o755))
	require.Equal(t, Finding{OK: true, Reason: "QEMU with TCG (ACCEL=tcg)"}, vm{}.Check(Spec{Arch: "amd64", Accel: "tcg"}))
	require.Contains(t, vm{}.Check(Spec{Arch: "riscv64"}).Reason, "ARCH=riscv64")
	require.Contains(t, vm{}.Check(Spec{Cgroup: "v3", Arch: "amd64"}).Reason, "CGROUP=v3")
	require.Contains(t, vm{}.Check(Spec{Accel: "hvf", Arch: "amd64"}).Reason, "ACCEL=hvf")
	require.Contains(t, vm{}.Check(Spec{Kernel: tools, Arch: "amd64"}).Reason, "no boot/vmlinuz-*")
}

// A kernel without the v1 memory controller cannot make a v1 machine.
func TestKernelWithoutCgroupV1(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "usr/lib/modules/6.12"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "boot"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "boot/vmlinuz-6.12"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "boot/config-6.12"), []byte("# CONFIG_MEMCG_V1 is not set\n"), 0o644))
	k, err := findKernel(dir)
	require.NoError(t, err)
	require.NoError(t, k.checkCgroup("v2"))
	require.EqualError(t, k.checkCgroup("hybrid"), "kernel 6.12 has no memory controller for CGROUP=hybrid")
}

func TestProcessOneMustBeStaticAndForTheMachine(t *testing.T) {
	require.ErrorContains(t, checkSelf("/no/such/file", elf.EM_X86_64), "read process 1 of the VM")
	self, err := os.Executable()
	require.NoError(t, err)
	if f, err := elf.Open(self); err == nil {
		f.Close()
		require.ErrorContains(t, checkSelf(self, elf.EM_RISCV), "is for "+f.Machine.String())
	}
}

func TestMessagesAreShortAndComplete(t *testing.T) {
	zero := 0
	for _, m := range []fromGuest{{Ready: true}, {Status: &zero}, {Error: "no room"}} {
		b, err := json.Marshal(m)
		require.NoError(t, err)
		var got fromGuest
		require.NoError(t, json.Unmarshal(b, &got))
		if d := cmp.Diff(m, got); d != "" {
			t.Error(d)
		}
	}
}
