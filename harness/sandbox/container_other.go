//go:build !linux

package sandbox

import "errors"

// container needs this machine's own programs for its image, and elsewhere
// they are no Linux programs.
type container struct{}

// Name is what SANDBOX= calls this place.
func (container) Name() string { return "container" }

// Check says where to go instead.
func (container) Check(Spec) Finding {
	return Finding{Reason: "needs Linux", Fix: "make test SANDBOX=vm"}
}

// Start is for completeness: nobody starts what Check refused.
func (container) Start(Spec) (Machine, error) { return nil, errors.New("needs Linux") }

// GuestContainer is process 1 of a container, which is always Linux.
func GuestContainer([]string) int { return 125 }
