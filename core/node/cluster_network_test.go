package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testNetwork is the way between the members of a testCluster: connections in memory
// (memconn_test.go), with a relay in each that knows who dialled whom. What is held back
// in one direction arrives later, in order, as with TCP's packets that are sent again;
// whoever dials then waits. It is safe for concurrent use.
type testNetwork struct {
	wait sync.WaitGroup

	mu        sync.Mutex
	changed   *sync.Cond              // of everything below
	listeners map[string]*memListener // of a peer URL's member, closed while it is down
	owners    map[string]int          // whose URL it is
	blocked   map[[2]int]bool         // from, to
	ended     map[int]bool            // whose processes seem to have ended
	delay     time.Duration
	relays    map[*testRelay]bool
	closed    bool
}

// testRelay is a connection that from has dialled.
type testRelay struct {
	from, to     int
	near, beyond *memConn
}

func newTestNetwork(t testing.TB) *testNetwork {
	n := &testNetwork{
		listeners: map[string]*memListener{}, owners: map[string]int{}, blocked: map[[2]int]bool{}, ended: map[int]bool{}, relays: map[*testRelay]bool{},
	}
	n.changed = sync.NewCond(&n.mu)
	t.Cleanup(func() {
		n.mu.Lock()
		n.closed = true
		n.changed.Broadcast()
		n.mu.Unlock()
		n.cut(func(int, int) bool { return true })
		n.wait.Wait()
	})
	return n
}

// listen opens a listener for a member behind a peer URL.
func (n *testNetwork) listen(member int, url string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := newMemListener(url)
	n.listeners[url], n.owners[url] = l, member
	return l
}

// dialer is PeerConfig.Dial of a member.
func (n *testNetwork) dialer(from int) func(ctx context.Context, url string) (net.Conn, error) {
	return func(ctx context.Context, url string) (net.Conn, error) {
		defer context.AfterFunc(ctx, n.notify)()
		n.mu.Lock()
		defer n.mu.Unlock()
		to, known := n.owners[url]
		if !known {
			return nil, fmt.Errorf("nobody is at %s", url)
		}
		for n.blocked[[2]int{from, to}] || n.blocked[[2]int{to, from}] {
			if ctx.Err() != nil || n.closed {
				return nil, fmt.Errorf("dial %s: %w", url, context.Cause(ctx))
			}
			n.changed.Wait()
		}
		if n.ended[from] || n.ended[to] {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		return n.connect(from, to, n.listeners[url])
	}
}

func (n *testNetwork) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed.Broadcast()
}

// connect makes a connection with a relay in it. The caller holds mu.
func (n *testNetwork) connect(from, to int, l *memListener) (net.Conn, error) {
	if n.closed {
		return nil, net.ErrClosed
	}
	beyond, err := l.connect()
	if err != nil {
		return nil, err
	}
	conn, near := newMemConns()
	r := &testRelay{from: from, to: to, near: near, beyond: beyond}
	n.relays[r] = true
	n.wait.Go(func() {
		var both sync.WaitGroup
		both.Go(func() { n.pass(near, beyond, from, to) })
		both.Go(func() { n.pass(beyond, near, to, from) })
		both.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.relays, r)
	})
	return conn, nil
}

// pass carries what one member sends another. The end of a connection is held back as
// its bytes are.
func (n *testNetwork) pass(src, dst net.Conn, from, to int) {
	defer src.Close()
	defer dst.Close()
	b := make([]byte, 64<<10)
	for {
		count, err := src.Read(b)
		if !n.clear(from, to) {
			return
		}
		if count > 0 {
			if _, err := dst.Write(b[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// clear waits until bytes may go from one member to another. It fails when the network
// is closed.
func (n *testNetwork) clear(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if delay := n.delay; delay > 0 {
		n.mu.Unlock()
		<-time.After(delay)
		n.mu.Lock()
	}
	for n.blocked[[2]int{from, to}] && !n.closed {
		n.changed.Wait()
	}
	return !n.closed
}

// block holds back what goes from one member to another, and only in that direction.
func (n *testNetwork) block(from, to int) { n.set(from, to, true) }

func (n *testNetwork) set(from, to int, blocked bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]int{from, to}] = blocked
	n.changed.Broadcast()
}

// heal lets everything through again.
func (n *testNetwork) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.blocked)
	clear(n.ended)
	n.delay = 0
	n.changed.Broadcast()
}

// slow delays everything, in each direction.
func (n *testNetwork) slow(delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

// end makes it look as if a member's process had ended, until heal.
func (n *testNetwork) end(member int) {
	n.mu.Lock()
	n.ended[member] = true
	n.mu.Unlock()
	n.cut(func(from, to int) bool { return from == member || to == member })
}

// cut resets the connections of which which says so.
func (n *testNetwork) cut(which func(from, to int) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for r := range n.relays {
		if which(r.from, r.to) {
			r.near.reset()
			r.beyond.reset()
		}
	}
}
