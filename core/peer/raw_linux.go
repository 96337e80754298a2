package peer

import (
	"net"
	"syscall"
)

// rawWriter returns what writes to a connection as much as there is room for, without
// ever waiting, and returns how much that was; nil if there is no way to a socket as with
// TLS.
func rawWriter(conn net.Conn) func(b []byte) int {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return func(b []byte) (n int) {
		// What fails here fails again for the pump, which says so.
		_ = raw.Write(func(fd uintptr) bool {
			n, _ = syscall.Write(int(fd), b)
			return true
		})
		return max(n, 0)
	}
}
