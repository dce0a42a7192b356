//go:build !linux

package doctor

// gatherKernel has nothing to read: all of it is about Linux.
func (m *Machine) gatherKernel() {}
