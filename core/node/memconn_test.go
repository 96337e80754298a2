package node

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// memBuffer is how much a direction of a connection in memory holds, about what a socket
// does.
const memBuffer = 256 << 10

// memConn is an end of a connection in memory. Unlike TCP's its waiting is seen by
// synctest, and unlike net.Pipe's who writes need not wait for who reads.
type memConn struct {
	in, out *memStream
	addr    memAddr
}

// memStream is one direction of a connection.
type memStream struct {
	mu       sync.Mutex
	changed  *sync.Cond
	buffered []byte
	// ended is why no more is written, broken why nothing is read either; nil while neither
	// is so.
	ended, broken error
	// closed is set once the reader's end is: what is written to it is reset.
	closed                bool
	readUntil, writeUntil memDeadline
}

// memDeadline is a deadline that wakes who waits; its stream's lock guards it.
type memDeadline struct {
	at    time.Time
	timer *time.Timer
}

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }

func newMemConns() (a, b *memConn) {
	there, back := newMemStream(), newMemStream()
	const addr = memAddr("127.0.0.1:1")
	return &memConn{in: back, out: there, addr: addr}, &memConn{in: there, out: back, addr: addr}
}

func newMemStream() *memStream {
	s := &memStream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (d *memDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *memStream) set(d *memDeadline, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.timer = at, nil
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
}

func (c *memConn) Read(p []byte) (int, error) {
	s := c.in
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.broken != nil:
			return 0, s.broken
		case s.readUntil.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.buffered) > 0:
			n := copy(p, s.buffered)
			s.buffered = s.buffered[n:]
			s.changed.Broadcast()
			return n, nil
		case s.ended != nil:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (c *memConn) Write(p []byte) (written int, err error) {
	s := c.out
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended != nil:
			return written, s.ended
		case s.closed:
			return written, syscall.ECONNRESET
		case s.writeUntil.passed():
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(p), memBuffer-len(s.buffered))
		s.buffered = append(s.buffered, p[:n]...)
		p, written = p[n:], written+n
		s.changed.Broadcast()
		if len(p) == 0 {
			return written, nil
		}
		s.changed.Wait()
	}
}

// Close ends both directions: the other reads what was written, and then the end.
func (c *memConn) Close() error {
	c.out.end(func(s *memStream) {
		if s.ended == nil {
			s.ended = net.ErrClosed
		}
	})
	c.in.end(func(s *memStream) { s.closed, s.buffered = true, nil })
	return nil
}

// reset ends both directions at once, for both ends.
func (c *memConn) reset() {
	for _, s := range []*memStream{c.in, c.out} {
		s.end(func(s *memStream) { s.ended, s.broken, s.buffered = syscall.ECONNRESET, syscall.ECONNRESET, nil })
	}
}

func (s *memStream) end(how func(*memStream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
	s.changed.Broadcast()
}

func (c *memConn) LocalAddr() net.Addr  { return c.addr }
func (c *memConn) RemoteAddr() net.Addr { return c.addr }

func (c *memConn) SetReadDeadline(at time.Time) error {
	c.in.set(&c.in.readUntil, at)
	return nil
}

func (c *memConn) SetWriteDeadline(at time.Time) error {
	c.out.set(&c.out.writeUntil, at)
	return nil
}

func (c *memConn) SetDeadline(at time.Time) error {
	_ = c.SetReadDeadline(at) // never fails
	return c.SetWriteDeadline(at)
}

// memListener takes connections in memory.
type memListener struct {
	addr    memAddr
	arrived chan *memConn
	once    sync.Once
	closed  chan struct{}
}

// errMemRefused is what the kernel says where nobody listens.
var errMemRefused = &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}

func newMemListener(addr string) *memListener {
	return &memListener{addr: memAddr(addr), arrived: make(chan *memConn, 128), closed: make(chan struct{})}
}

// connect returns the dialler's end of a new connection.
func (l *memListener) connect() (*memConn, error) {
	select {
	case <-l.closed:
		return nil, errMemRefused
	default:
	}
	dialled, accepted := newMemConns()
	select {
	case l.arrived <- accepted:
		return dialled, nil
	default:
		return nil, errMemRefused
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.arrived:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close turns away those that nobody has accepted, too.
func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case c := <-l.arrived:
			c.reset()
		default:
			return nil
		}
	}
}

func (l *memListener) Addr() net.Addr { return l.addr }

// TestMemConn: a connection in memory does what one of TCP does.
func TestMemConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemListener("here")
		a, err := l.connect()
		require.NoError(t, err)
		b, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = l.connect()
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		sent := make([]byte, 3*memBuffer)
		go func() {
			if _, err := a.Write(sent); err == nil {
				_ = a.Close()
			}
		}()
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, sent, got)
		_, err = b.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)

		a, c := newMemConns()
		require.NoError(t, a.SetDeadline(time.Now().Add(time.Second)))
		began := time.Now()
		_, err = a.Read(sent)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = a.Write(sent)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		c.reset()
		for _, end := range []*memConn{a, c} {
			_, err = end.Read(sent)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, err = end.Write(sent)
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
	})
}
