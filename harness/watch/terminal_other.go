//go:build !linux && !darwin

package watch

import "os"

// Elsewhere the loop runs once, without keys: the program needs Linux anyway.

var terminalSignals []os.Signal

func isContinue(os.Signal) bool { return false }
func isResize(os.Signal) bool   { return false }

type terminal struct{}

func openTerminal(_, _ *os.File) (*terminal, error) { return nil, nil }

func (*terminal) cbreak() error     { return nil }
func (*terminal) restore()          {}
func (*terminal) keys() <-chan byte { return nil }
func (*terminal) width() int        { return 80 }
