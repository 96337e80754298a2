package ensemble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Of linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h. The kernel is asked over
// netlink: /proc/net/tcp is a walk over all connections, which costs too much to be made
// often, and passes over some of them while others come and go.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	tcpListen        = 10

	requestSize = 56 // struct inet_diag_req_v2
	statesAt    = 4
	idAt        = 8  // struct inet_diag_sockid, ports and addresses of which are big-endian
	answerSize  = 72 // struct inet_diag_msg
	answerIDAt  = 4
	inodeAt     = 68

	ownPortAt, otherPortAt, ownAddressAt, otherAddressAt, cookieAt = 0, 2, 4, 20, 40 // in the id
)

// owner returns which of the processes has the socket that is connected from one IPv4
// address to another, 0 if none of them has.
func owner(from, to *net.TCPAddr, pids []int) (int, error) {
	a, b := from.AddrPort(), to.AddrPort()
	request := newRequest(0)
	id := request[idAt:]
	binary.BigEndian.PutUint16(id[ownPortAt:], a.Port())
	binary.BigEndian.PutUint16(id[otherPortAt:], b.Port())
	copy(id[ownAddressAt:], a.Addr().Unmap().AsSlice())
	copy(id[otherAddressAt:], b.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint64(id[cookieAt:], ^uint64(0)) // any
	var inode uint32
	err := askKernel(request, false, func(answer []byte) { inode = binary.NativeEndian.Uint32(answer[inodeAt:]) })
	if errors.Is(err, syscall.ENOENT) || err == nil && inode == 0 {
		return 0, nil // it is closed
	}
	if err != nil {
		return 0, err
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, f := range files {
			if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && to == want {
				return pid, nil
			}
		}
	}
	return 0, nil
}

// listening is which IPv4 addresses somebody listens at.
func listening() (map[netip.AddrPort]bool, error) {
	open := map[netip.AddrPort]bool{}
	err := askKernel(newRequest(1<<tcpListen), true, func(answer []byte) {
		id := answer[answerIDAt:]
		ip := netip.AddrFrom4([4]byte(id[ownAddressAt:]))
		open[netip.AddrPortFrom(ip, binary.BigEndian.Uint16(id[ownPortAt:]))] = true
	})
	return open, err
}

func newRequest(states uint32) []byte {
	request := make([]byte, requestSize)
	request[0], request[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[statesAt:], states)
	return request
}

// askKernel asks for one socket, or for all that a request describes.
func askKernel(request []byte, all bool, each func(answer []byte)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sock_diag: %w", err)
		}
	}()
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Close(fd)) }()
	flags := uint16(syscall.NLM_F_REQUEST)
	if all {
		flags |= syscall.NLM_F_DUMP
	}
	message := make([]byte, syscall.NLMSG_HDRLEN, syscall.NLMSG_HDRLEN+requestSize)
	binary.NativeEndian.PutUint32(message, uint32(cap(message)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(message[6:], flags)
	if err := syscall.Sendto(fd, append(message, request...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 32<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err != nil {
			return err
		}
		answers, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, a := range answers {
			switch {
			case a.Header.Type == syscall.NLMSG_DONE:
				return nil
			case a.Header.Type == syscall.NLMSG_ERROR && len(a.Data) >= 4:
				return syscall.Errno(-int32(binary.NativeEndian.Uint32(a.Data)))
			case a.Header.Type != sockDiagByFamily || len(a.Data) < answerSize:
				return fmt.Errorf("a message of type %d and %d bytes", a.Header.Type, len(a.Data))
			}
			each(a.Data)
		}
		if !all {
			return nil
		}
	}
}
