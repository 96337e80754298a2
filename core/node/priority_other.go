//go:build !linux

package node

// lowerPriority does nothing: elsewhere a thread has no priority that it could give up.
func lowerPriority() {}
