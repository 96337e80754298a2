//go:build !linux

package peer

import "net"

// rawWriter is for Linux alone: elsewhere the pump writes everything.
func rawWriter(net.Conn) func(b []byte) int { return nil }
