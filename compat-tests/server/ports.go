package server

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Ports are drawn below the range from which the kernel takes the ports of
// outgoing connections, so that a client's own connection cannot take a port
// between FreePort and the server's listen, or while a server is restarted.
const (
	firstPort = 15000
	lastPort  = 32000
)

// drawn are the ports that this process has drawn before: of those of one server, none is
// to be drawn twice.
var drawn struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a loopback port on which nothing listens right now, and which this
// process has not had before. Another process may still take it first: Start then draws
// again.
func FreePort() (int, error) {
	drawn.Lock()
	defer drawn.Unlock()
	if drawn.ports == nil || len(drawn.ports) > (lastPort-firstPort)/2 { // the first are long forgotten
		drawn.ports = map[int]bool{}
	}
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if drawn.ports[port] {
			continue
		}
		drawn.ports[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// PortTaken reports whether a log says that a server could not have its port, in the
// words of etcd, of ZooKeeper or of Triglot.
func PortTaken(log string) bool {
	return strings.Contains(log, "ddress already in use") || strings.Contains(log, "is in use by another process")
}
