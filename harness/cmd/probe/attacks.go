//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func args(words []string) error {
	fmt.Printf("%q\n", words)
	return nil
}

// breakout leaves a root that was made with chroot(2): chroot moves the root
// but not a directory that is already open, and ".." stops only at the root.
func breakout(args []string) error {
	outside, err := os.Open("/")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/", "breakout")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := unix.Chroot(dir); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := outside.Chdir(); err != nil {
		return err
	}
	for range 64 {
		if err := os.Chdir(".."); err != nil {
			return err
		}
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return read(args)
}

// fill writes until the filesystem is full, at most so many MiB: more than a
// small filesystem holds and less than would harm the machine.
func fill(args []string) error {
	most, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	n, err := writeUntilFull(args[0], most)
	if err == nil && n < most {
		fmt.Println("full")
	} else if err == nil {
		fmt.Printf("%d MiB and no end\n", most)
	}
	return err
}

// writeUntilFull writes a file of at most so many MiB, and returns how many the
// filesystem takes.
func writeUntilFull(file string, most int) (n int, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for ; n < most; n++ {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			break
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// hoard takes so many MiB: a third of them in each file, or what its filesystem
// takes, the rest as memory.
func hoard(args []string) error {
	all, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	rest := all
	for _, file := range args[1:] {
		n, err := writeUntilFull(file, all/3)
		if err != nil {
			return err
		}
		rest -= n
	}
	return mem([]string{strconv.Itoa(rest)})
}

func list(dirs []string) error {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	}
	return nil
}

func mode(args []string) error {
	var st unix.Stat_t
	if err := unix.Stat(args[0], &st); err != nil {
		return fmt.Errorf("stat %s: %w", args[0], err)
	}
	fmt.Printf("%o\n", st.Mode&0o7777)
	return nil
}

func mountTmpfs(args []string) error {
	return unix.Mount("tmpfs", args[0], "tmpfs", 0, "size=64k")
}

func read(paths []string) error {
	var errs []error
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			fmt.Print(string(data))
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func remove(paths []string) error {
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		fmt.Println("removed", path)
	}
	return nil
}

// hostname prints the hostname, after it has set it to another. It needs no
// /proc, which a broken program may have lost.
func hostname(args []string) error {
	if len(args) > 0 {
		if err := unix.Sethostname([]byte(args[0])); err != nil {
			return fmt.Errorf("set hostname: %w", err)
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	fmt.Println(unix.ByteSliceToString(name.Nodename[:]))
	return nil
}

// write writes a file and prints what it reads back.
func write(args []string) error {
	if err := os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644); err != nil {
		return err
	}
	return read(args[:1])
}
