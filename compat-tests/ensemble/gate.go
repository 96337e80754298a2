package ensemble

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// gate is the address of a proxy. It listens while the port behind it does, and only
// then: who dials a member that is not there is refused, as without a proxy. A proxy that
// takes a connection and drops it again tells the dialler something else: a ZooKeeper that
// is refused by a leader that begins tries again at once, and one whose connection is lost
// begins another election.
type gate struct {
	at       string
	behind   netip.AddrPort
	to       int
	greet    func(io.Reader) ([]byte, error)
	listener net.Listener // nil while it is shut; of the network's mutex
}

// gateInterval is how much later than the port behind it a gate opens or shuts.
const gateInterval = 5 * time.Millisecond

// Listen puts a proxy at an address in front of a port of a member. greet, if it is not
// nil, reads what a dialler says first and returns what is passed on of it.
func (n *Network) Listen(to int, at, behind string, greet func(io.Reader) ([]byte, error)) error {
	hidden, err := netip.ParseAddrPort(behind)
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", at) // a port that is taken is to be told now
	if err == nil {
		err = free.Close()
	}
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.gates = append(n.gates, &gate{at: at, behind: hidden, to: to, greet: greet})
	first := len(n.gates) == 1
	n.mu.Unlock()
	if err := n.turnGates(); err != nil {
		return err
	}
	if first {
		n.wg.Go(n.keepGates)
	}
	return nil
}

// keepGates opens and shuts the gates until the network is closed.
func (n *Network) keepGates() {
	tick := time.NewTicker(gateInterval)
	defer tick.Stop()
	for {
		select {
		case <-n.done:
			return
		case <-tick.C:
			_ = n.turnGates() // a port that is taken for now is tried again
		}
	}
}

func (n *Network) turnGates() error {
	open, err := listening()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	var errs []error
	for _, g := range n.gates {
		switch {
		case open[g.behind] && g.listener == nil:
			errs = append(errs, n.open(g))
		case !open[g.behind] && g.listener != nil:
			_ = g.listener.Close() // nothing depends on it
			g.listener = nil
		}
	}
	return errors.Join(errs...)
}

// open is called with the mutex.
func (n *Network) open(g *gate) error {
	l, err := net.Listen("tcp", g.at)
	if err != nil {
		return err
	}
	g.listener = l
	n.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // shut
			}
			n.wg.Go(func() { n.carry(conn, g) })
		}
	})
	return nil
}
