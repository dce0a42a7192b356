//go:build !linux && !darwin

package main

import "os"

// columnsOfTerminal is a width that most terminals have.
func columnsOfTerminal() int { return 80 }

// isTerminal is a guess here.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
