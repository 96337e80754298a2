package ensemble

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// stranger is who dials if it is none of the members. It is not let through: what a member
// says on a connection that is not known to be its own would not be cut.
const stranger = -1

// Network is the way between the members: one proxy for each peer port. It is safe for
// concurrent use.
type Network struct {
	pids func() []int // of the members, by index; 0 is not running

	mu      sync.Mutex
	changed sync.Cond // of cut and closed
	cut     map[[2]int]bool
	delay   time.Duration
	closed  bool
	gates   []*gate
	conns   map[*link]struct{}
	done    chan struct{} // closed by Close
	wg      sync.WaitGroup
}

// link is one connection through a proxy: dialled by from, to a port of to.
type link struct {
	from, to     int
	dialer, peer net.Conn
}

// NewNetwork begins with everything open. pids tells the members' process ids.
func NewNetwork(pids func() []int) *Network {
	n := &Network{pids: pids, cut: map[[2]int]bool{}, conns: map[*link]struct{}{}, done: make(chan struct{})}
	n.changed.L = &n.mu
	return n
}

// carry serves one connection.
func (n *Network) carry(dialer net.Conn, g *gate) {
	to := g.to
	c := &link{from: n.who(dialer), to: to, dialer: dialer}
	if c.from == stranger {
		c.close()
		return
	}
	n.mu.Lock()
	for (n.cut[[2]int{c.from, to}] || n.cut[[2]int{to, c.from}]) && !n.closed {
		n.changed.Wait() // half open is not open: neither side's SYN gets an answer
	}
	n.mu.Unlock()
	peer, err := net.DialTimeout("tcp", g.behind.String(), 5*time.Second)
	if err != nil {
		_ = dialer.Close() // the member is not there: the dialler is to see that
		return
	}
	c.peer = peer
	n.mu.Lock()
	if n.closed {
		c.close()
	}
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	if g.greet != nil {
		words, err := g.greet(dialer)
		if err == nil {
			_, err = peer.Write(words)
		}
		if err != nil {
			c.close() // the pumps see it
		}
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { n.pump(dialer, peer, c.from, to); c.close() })
	pumps.Go(func() { n.pump(peer, dialer, to, c.from); c.close() })
	pumps.Wait()
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

// close is for a link whose connections may be closed already.
func (c *link) close() {
	_ = c.dialer.Close()
	if c.peer != nil {
		_ = c.peer.Close()
	}
}

// who is the member that dials, or stranger.
func (n *Network) who(conn net.Conn) int {
	const attempts, apart = 20, 10 * time.Millisecond // a process that has just begun is not yet among the members
	for range attempts {
		pids := n.pids()
		pid, err := owner(conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr), pids)
		if i := slices.Index(pids, pid); err == nil && pid != 0 && i >= 0 {
			return i
		}
		n.wait(apart)
	}
	return stranger
}

// wait ends early if the network is closed.
func (n *Network) wait(d time.Duration) {
	select {
	case <-n.done:
	case <-time.After(d):
	}
}

// pump carries bytes one way, when and as long as that way is open.
func (n *Network) pump(from, to net.Conn, source, target int) {
	buffer := make([]byte, 32<<10)
	for {
		read, err := from.Read(buffer)
		n.mu.Lock()
		for n.cut[[2]int{source, target}] && !n.closed {
			n.changed.Wait()
		}
		delay := n.delay
		n.mu.Unlock()
		if delay > 0 {
			n.wait(delay)
		}
		if _, err := to.Write(buffer[:read]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// Cut holds back what goes from one member to another. Connections stay.
func (n *Network) Cut(from, to int) { n.set(from, to, true) }

func (n *Network) set(from, to int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]int{from, to}] = cut
	n.changed.Broadcast()
}

// Delay has every read of a proxy wait before it is written on, each way.
func (n *Network) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Heal opens every way. What was held back arrives late, or, with reset, is lost with
// its connections.
func (n *Network) Heal(reset bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if reset {
		for c := range n.conns {
			if n.cut[[2]int{c.from, c.to}] || n.cut[[2]int{c.to, c.from}] {
				c.close()
			}
		}
	}
	clear(n.cut)
	n.delay = 0
	n.changed.Broadcast()
}

// Close ends all connections and waits for the goroutines.
func (n *Network) Close() error {
	n.mu.Lock()
	if !n.closed {
		close(n.done)
	}
	n.closed = true
	for _, g := range n.gates {
		if g.listener != nil {
			_ = g.listener.Close() // nothing depends on it
		}
	}
	for c := range n.conns {
		c.close()
	}
	n.changed.Broadcast()
	n.mu.Unlock()
	n.wg.Wait()
	return nil
}

// String says what is cut, for a log.
func (n *Network) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := ""
	for pair, cut := range n.cut {
		if cut {
			text += fmt.Sprintf("%d-/->%d ", pair[0], pair[1])
		}
	}
	return text
}

var _ io.Closer = (*Network)(nil)
