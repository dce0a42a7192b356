//go:build !linux && !darwin

package main

// columnsOfTerminal is a width that most terminals have.
func columnsOfTerminal() int { return 80 }
