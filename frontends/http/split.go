package httpfront

import (
	"errors"
	"net"
	"sync"
	"time"
)

// sniffTimeout is how long a connection may take to show what it is. A client
// that connects ahead of need and stays silent longer has to connect again.
const sniffTimeout = 30 * time.Second

// Splitter shares one listener between a gRPC server and an HTTP server. Serve
// feeds the listeners that GRPC and HTTP return; each is served and closed by
// its own server.
type Splitter struct {
	listener   net.Listener
	grpc, http *branch
	timeout    time.Duration

	// mu guards what follows.
	mu       sync.Mutex
	closed   bool
	sniffing map[net.Conn]struct{}
}

// NewSplitter makes a Splitter of l, which it owns from now on.
func NewSplitter(l net.Listener) *Splitter {
	return &Splitter{
		listener: l,
		grpc:     newBranch(l.Addr()),
		http:     newBranch(l.Addr()),
		timeout:  sniffTimeout,
		sniffing: make(map[net.Conn]struct{}),
	}
}

// GRPC is the listener of the HTTP/2 connections whose first request is a gRPC
// call, or does not come for a second.
func (s *Splitter) GRPC() net.Listener { return s.grpc }

// HTTP is the listener of all other connections.
func (s *Splitter) HTTP() net.Listener { return s.http }

// Serve accepts connections until Close, and then returns nil, or until the
// listener fails for good. It returns after the last of its goroutines.
func (s *Splitter) Serve() error {
	var sniffers sync.WaitGroup
	defer sniffers.Wait()
	defer func() { _ = s.Close() }() // why Serve returns is known already
	var pause backoff
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			if pause.wait(err, s.grpc.done) {
				continue
			}
			return err
		}
		pause.reset()
		if !s.track(conn) {
			_ = conn.Close() // the splitter was closed
			return nil
		}
		sniffers.Go(func() { s.route(conn) })
	}
}

// Close ends Serve, both listeners and the connections that have not been handed
// over. Those that have belong to their server.
func (s *Splitter) Close() error {
	s.mu.Lock()
	s.closed = true
	for conn := range s.sniffing {
		_ = conn.Close() // nobody has seen it yet
	}
	clear(s.sniffing)
	s.mu.Unlock()
	_ = s.grpc.Close() // never fails
	_ = s.http.Close()
	return s.listener.Close()
}

func (s *Splitter) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// track lets Close find a connection while it is sniffed. It reports false if
// Close has been called.
func (s *Splitter) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sniffing[conn] = struct{}{}
	return true
}

func (s *Splitter) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sniffing, conn)
}

// route finds out what conn speaks and hands it over. A connection that does not
// show it in time is closed.
func (s *Splitter) route(conn net.Conn) {
	sniffed, spoken, err := sniff(conn, s.timeout)
	s.forget(conn)
	if err != nil {
		_ = conn.Close() // there is nobody to tell
		return
	}
	to := s.http
	if spoken == grpcCalls {
		to = s.grpc
	}
	to.deliver(sniffed)
}

// branch is the listener that one of the two servers sees.
type branch struct {
	addr      net.Addr
	conns     chan net.Conn // unbuffered: a connection is either here or there
	done      chan struct{}
	closeOnce sync.Once
}

func newBranch(addr net.Addr) *branch {
	return &branch{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (b *branch) deliver(conn net.Conn) {
	select {
	case b.conns <- conn:
	case <-b.done:
		_ = conn.Close() // its server has stopped
	}
}

func (b *branch) Accept() (net.Conn, error) {
	select {
	case conn := <-b.conns:
		return conn, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

func (b *branch) Addr() net.Addr { return b.addr }

func (b *branch) Close() error {
	b.closeOnce.Do(func() { close(b.done) })
	return nil
}

// backoff spaces out the attempts to accept after failures that pass, such as
// running out of file descriptors.
type backoff struct{ delay time.Duration }

const (
	firstDelay = 5 * time.Millisecond
	lastDelay  = time.Second
)

func (b *backoff) reset() { b.delay = 0 }

// wait sleeps a little longer than the last time. It returns false at once if
// err is no passing failure, and early if done is closed.
func (b *backoff) wait(err error, done <-chan struct{}) bool {
	var passing interface{ Temporary() bool }
	if !errors.As(err, &passing) || !passing.Temporary() {
		return false
	}
	b.delay = min(max(2*b.delay, firstDelay), lastDelay)
	timer := time.NewTimer(b.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
	return true
}
