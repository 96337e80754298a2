package ensemble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// Of linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	tcpListen        = 10
	requestSize      = 56 // struct inet_diag_req_v2
	portAt           = 4  // in struct inet_diag_msg, big-endian
	addressAt        = 8
)

// listening is which IPv4 addresses somebody listens at. It is asked often, and
// /proc/net/tcp costs the kernel a walk over all connections.
func listening() (open map[netip.AddrPort]bool, err error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Close(fd)) }()
	request := make([]byte, syscall.NLMSG_HDRLEN+requestSize)
	native := binary.NativeEndian
	native.PutUint32(request, uint32(len(request)))
	native.PutUint16(request[4:], sockDiagByFamily)
	native.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	body := request[syscall.NLMSG_HDRLEN:]
	body[0], body[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	native.PutUint32(body[4:], 1<<tcpListen)
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	open = map[netip.AddrPort]bool{}
	buffer := make([]byte, 32<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return open, nil
			case m.Header.Type != sockDiagByFamily || len(m.Data) < addressAt+4:
				return nil, fmt.Errorf("sock_diag answers with a message of type %d", m.Header.Type)
			}
			ip := netip.AddrFrom4([4]byte(m.Data[addressAt:]))
			open[netip.AddrPortFrom(ip, binary.BigEndian.Uint16(m.Data[portAt:]))] = true
		}
	}
}
