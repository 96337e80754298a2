//go:build !linux

package ensemble

import (
	"errors"
	"net"
	"net/netip"
)

func owner(_, _ *net.TCPAddr, _ []int) (int, error) {
	return 0, errors.New("who dials is known on Linux only")
}

func listening() (map[netip.AddrPort]bool, error) {
	return nil, errors.New("who listens is known on Linux only")
}
