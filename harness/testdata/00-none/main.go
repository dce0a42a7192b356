//go:build linux

// Step 00: what every step starts from. The program becomes the command, and
// nothing is isolated.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "run" {
		exit(0, execute(os.Args[2:]))
	}
	fmt.Fprintf(os.Stderr, "usage: %s run CMD [ARG...]\n", filepath.Base(os.Args[0]))
	os.Exit(125)
}
