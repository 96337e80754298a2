package httpfront

import (
	"net"
	"sync"
)

// Slots is a number of connections that may be open at a time, shared by any
// number of listeners. Nil is no limit.
type Slots chan struct{}

// NewSlots makes n slots.
func NewSlots(n int) Slots { return make(Slots, n) }

// Limit makes a listener that takes a slot for each connection until it is
// closed, and leaves new ones in the kernel's queue while there is none. So
// clients cannot use up the file descriptors that the store needs.
func (s Slots) Limit(l net.Listener) net.Listener {
	if s == nil {
		return l
	}
	return &limitedListener{Listener: l, slots: s, done: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	slots     Slots
	done      chan struct{}
	closeOnce sync.Once
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, slots: l.slots}, nil
}

func (l *limitedListener) Close() error {
	l.closeOnce.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	slots     Slots
	closeOnce sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.closeOnce.Do(func() { <-c.slots })
	return err
}
