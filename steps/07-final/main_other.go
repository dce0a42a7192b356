//go:build !linux

package main

import (
	"fmt"
	"os"
)

// main stands in for the program where the kernel is not Linux, so that the
// module builds and editors work there.
func main() {
	fmt.Fprintln(os.Stderr, "container: namespaces are a part of Linux: "+
		"run the same command in a Linux machine (macOS: limactl shell default; Windows: wsl)")
	os.Exit(125)
}
