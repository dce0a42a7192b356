//go:build !linux

package bench

import "errors"

// A Plan is what Guest is told.
type Plan struct {
	Peers  []Peer
	Rounds int
}

// Guest is for Linux.
func Guest([]string) error { return errors.New("it measures in a sandbox only: make bench") }
