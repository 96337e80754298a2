package certs

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// handshakeTimeout is how long a handshake may take; etcd's is the same.
	handshakeTimeout = 10 * time.Second
	// maxHandshakes bounds the handshakes under way. The next one ends the oldest:
	// proper ones take milliseconds.
	maxHandshakes = 1024
)

// ListenOptions say what a Listener does beside TLS.
type ListenOptions struct {
	// Plain lets through connections that do not begin with a handshake, as they
	// are: one address for http:// and https://.
	Plain bool
	// CheckAddress applies the function of that name to clients with a certificate.
	CheckAddress bool
	// Rejected is what is logged of a connection that is refused.
	Rejected string
	// Logger gets it; nil discards.
	Logger *slog.Logger
}

// Listener hands out connections whose handshake has been made, as *tls.Conn, and
// with Plain others. It is safe for concurrent use.
type Listener struct {
	inner   net.Listener
	config  *tls.Config
	options ListenOptions
	log     *slog.Logger
	sparing sparing

	ready  chan net.Conn // unbuffered: a connection is either here or there
	failed chan error
	done   chan struct{}
	work   sync.WaitGroup // the goroutine that accepts, and each handshake's

	// mu guards what follows.
	mu      sync.Mutex
	started bool
	closed  bool
	pending list.List // of net.Conn, the oldest first
}

// NewListener makes a Listener of inner, which it owns from now on. It accepts
// nothing before Accept is called for the first time.
func NewListener(inner net.Listener, config *tls.Config, options ListenOptions) *Listener {
	l := &Listener{
		inner: inner, config: config, options: options, log: options.Logger,
		ready: make(chan net.Conn), failed: make(chan error), done: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Accept implements net.Listener. What the inner listener fails with is passed on.
func (l *Listener) Accept() (net.Conn, error) {
	if !l.start() {
		return nil, net.ErrClosed
	}
	select {
	case conn := <-l.ready:
		return conn, nil
	case err := <-l.failed:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// start starts to accept, if that has not been done; false means closed.
func (l *Listener) start() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started && !l.closed {
		l.started = true
		l.work.Go(l.accept)
	}
	return !l.closed
}

// Secure says whether all of its connections are TLS ones.
func (l *Listener) Secure() bool { return !l.options.Plain }

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close ends Accept, and the handshakes under way, and waits for them. The
// connections that were handed out are their owners'.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.done)
	for e := l.pending.Front(); e != nil; e = e.Next() {
		_ = e.Value.(net.Conn).Close() // nobody has it yet
	}
	l.mu.Unlock()
	err := l.inner.Close()
	l.work.Wait()
	return err
}

func (l *Listener) accept() {
	for {
		conn, err := l.inner.Accept()
		if err != nil {
			select {
			case l.failed <- err:
				continue // whoever accepts decides whether it is worth another try
			case <-l.done:
				return
			}
		}
		entry, ok := l.track(conn)
		if !ok {
			_ = conn.Close() // it came too late
			return
		}
		l.work.Go(func() { l.admit(conn, entry) })
	}
}

// track notes a handshake under way. It reports false after Close.
func (l *Listener) track(conn net.Conn) (*list.Element, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false
	}
	if l.pending.Len() >= maxHandshakes {
		oldest := l.pending.Front()
		_ = oldest.Value.(net.Conn).Close() // it has had its time
		l.pending.Remove(oldest)
	}
	return l.pending.PushBack(conn), true
}

func (l *Listener) forget(entry *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending.Remove(entry) // nothing if it has gone
}

// admit makes the handshake with a client, and hands over its connection or
// closes it.
func (l *Listener) admit(raw net.Conn, entry *list.Element) {
	conn, err := l.handshake(raw)
	l.forget(entry)
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		l.reject(raw, conn, err)
		return
	}
	select {
	case l.ready <- conn:
	case <-l.done:
		_ = raw.Close()
	}
}

// handshake returns the connection that came of it, or what there is of it.
func (l *Listener) handshake(raw net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := raw.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return raw, err
	}
	if l.options.Plain {
		peeked, isTLS, err := peek(raw)
		if err != nil || !isTLS {
			return peeked, err
		}
		raw = peeked
	}
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return conn, err
	}
	if certs := conn.ConnectionState().PeerCertificates; l.options.CheckAddress && len(certs) > 0 {
		return conn, CheckAddress(ctx, net.DefaultResolver, certs[0], conn.RemoteAddr().String())
	}
	return conn, nil
}

// reject closes a connection and says why, once a minute of a reason and an address; that
// the client went away says nothing, port scanners and probes do.
func (l *Listener) reject(raw, conn net.Conn, err error) {
	_ = raw.Close() // there is nobody to tell
	level := slog.LevelWarn
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		level = slog.LevelDebug
	}
	about := []any{"remote-addr", raw.RemoteAddr().String()}
	if level > slog.LevelDebug {
		left, ok := l.sparing.due(rejection{host(raw), reasonOf(err)}, time.Now())
		switch {
		case !ok:
			return
		case left > 0:
			about = append(about, "left-out", left)
		}
	}
	if secure, ok := conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		about = append(about, "server-name", state.ServerName)
		if len(state.PeerCertificates) > 0 {
			cert := state.PeerCertificates[0]
			about = append(about, "ip-addresses", cert.IPAddresses, "dns-names", cert.DNSNames)
		}
	}
	l.log.Log(context.Background(), level, l.options.Rejected, append(about, "error", err)...)
}

// host is where a connection comes from, without a port.
func host(conn net.Conn) string {
	address := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// reasonOf is an error without the addresses that it happened between.
func reasonOf(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// handshakeRecord is the first byte of a TLS connection (RFC 8446, 5.1); no
// request of HTTP begins with it.
const handshakeRecord = 0x16

// peek looks at the first byte of a connection. What it returns reads as if
// nothing had been read.
func peek(raw net.Conn) (conn net.Conn, isTLS bool, err error) {
	p := &peekedConn{Conn: raw}
	if _, err := io.ReadFull(raw, p.first[:]); err != nil {
		return raw, false, err
	}
	p.unread = true
	return p, p.first[0] == handshakeRecord, nil
}

// peekedConn is a connection whose first byte has been read.
type peekedConn struct {
	net.Conn
	first  [1]byte
	unread bool
}

func (c *peekedConn) Read(b []byte) (int, error) {
	if c.unread && len(b) > 0 {
		c.unread = false
		b[0] = c.first[0]
		return 1, nil
	}
	return c.Conn.Read(b)
}
