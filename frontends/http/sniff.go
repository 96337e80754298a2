package httpfront

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// protocol is what a connection turns out to speak.
type protocol int

const (
	plainHTTP protocol = iota // HTTP/1, or HTTP/2 without gRPC
	grpcCalls
)

// preface is how an HTTP/2 connection begins (RFC 9113, 3.4).
const preface = http2.ClientPreface

// firstCallTimeout is how long an HTTP/2 client that has been greeted may take to
// make its first request. Then it is taken for gRPC, whose clients connect ahead of
// need; others connect because they have something to ask.
const firstCallTimeout = time.Second

// What is read ahead is bounded: in all, and by the frame size that holds before a
// server has allowed more (RFC 9113, 6.5.2).
const (
	maxHead      = 64 << 10
	maxFrameSize = 16 << 10
	firstRead    = 1 << 10 // a gRPC client's first words, or a usual request
)

// greeting is an empty SETTINGS frame, of greetingSize bytes like its answer.
const (
	greeting     = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	greetingSize = len(greeting)
)

var errLongHead = errors.New("the first request does not fit what is read ahead")

// sniffer reads the beginning of a connection and keeps all of it.
//
// gRPC clients wait for the server's SETTINGS before their first request, and the
// request is what tells them from others. So a client that has sent its SETTINGS
// and then waits is greeted with an empty one, which leaves the server proper free
// to send its own. The client acknowledges both, and a strict server must see one
// acknowledgement only.
type sniffer struct {
	conn    net.Conn
	head    []byte
	next    int  // head[:next] has been looked at
	settled bool // the client's SETTINGS have come
	greeted bool
	ackAt   int // where in head the greeting is acknowledged; 0 is nowhere
}

// sniff reads from conn until it is known what it speaks. What it returns reads as
// if nothing had been read.
func sniff(conn net.Conn, timeout time.Duration) (net.Conn, protocol, error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, 0, err
	}
	s := &sniffer{conn: conn}
	isHTTP2, err := s.skipPreface()
	if err != nil {
		return nil, 0, err
	}
	spoken := plainHTTP
	if isHTTP2 {
		if spoken, err = s.firstRequest(); err != nil {
			return nil, 0, err
		}
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, 0, err
	}
	return s.rest(isHTTP2 && spoken == plainHTTP), spoken, nil
}

// skipPreface reports whether the connection begins with the preface. If not, the
// first byte that differs is the last that it waits for.
func (s *sniffer) skipPreface() (bool, error) {
	for s.next < len(preface) {
		if s.next == len(s.head) {
			if err := s.fill(); err != nil {
				return false, err
			}
		}
		if s.head[s.next] != preface[s.next] {
			return false, nil
		}
		s.next++
	}
	return true, nil
}

// firstRequest reads frames up to the headers of the first request and judges by
// them. What is no proper HTTP/2 is left to the gRPC server to refuse.
func (s *sniffer) firstRequest() (protocol, error) {
	framer := http2.NewFramer(nil, s)
	framer.SetMaxReadFrameSize(maxFrameSize)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // the table's size before SETTINGS
	framer.MaxHeaderListSize = maxHead
	for {
		start := s.next
		frame, err := framer.ReadFrame()
		if err != nil {
			return grpcCalls, s.fatal(err)
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return spokenIn(f), nil
		case *http2.SettingsFrame:
			switch {
			case !f.IsAck():
				s.settled = true
			case s.greeted && s.ackAt == 0:
				s.ackAt = start
			}
		case *http2.WindowUpdateFrame, *http2.PriorityFrame: // settle nothing
		default:
			return grpcCalls, nil
		}
	}
}

// fatal says whether an error of the framer ends the connection: all do but the
// silence of a client that has been greeted, and what is wrong with a frame.
func (s *sniffer) fatal(err error) error {
	var connection http2.ConnectionError
	var stream http2.StreamError
	switch {
	case s.greeted && errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &connection), errors.As(err, &stream),
		errors.Is(err, http2.ErrFrameTooLarge), errors.Is(err, errLongHead):
		return nil
	default:
		return err
	}
}

// spokenIn judges by the content type, as gRPC defines it.
func spokenIn(headers *http2.MetaHeadersFrame) protocol {
	for _, field := range headers.RegularFields() {
		if field.Name != "content-type" {
			continue
		}
		rest, ok := strings.CutPrefix(field.Value, "application/grpc")
		if ok && (rest == "" || rest[0] == '+' || rest[0] == ';') {
			return grpcCalls
		}
	}
	return plainHTTP
}

// Read is how the framer reads.
func (s *sniffer) Read(p []byte) (int, error) {
	if s.next == len(s.head) {
		if err := s.greet(); err != nil {
			return 0, err
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.head[s.next:])
	s.next += n
	return n, nil
}

// greet sends the greeting if the client may be waiting for it.
func (s *sniffer) greet() error {
	if !s.settled || s.greeted {
		return nil
	}
	if err := s.conn.SetDeadline(time.Now().Add(firstCallTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.conn, greeting); err != nil {
		return err
	}
	s.greeted = true
	return s.conn.SetWriteDeadline(time.Time{})
}

// fill reads more of the connection.
func (s *sniffer) fill() error {
	if len(s.head) >= maxHead {
		return errLongHead
	}
	s.head = slices.Grow(s.head, firstRead)
	for {
		n, err := s.conn.Read(s.head[len(s.head):cap(s.head)])
		s.head = s.head[:len(s.head)+n]
		if n > 0 || err != nil {
			return errIfNone(n, err)
		}
	}
}

// errIfNone leaves an error that came with data to the next Read.
func errIfNone(n int, err error) error {
	if n > 0 {
		return nil
	}
	return err
}

// rest is the connection from its beginning. If strict, the acknowledgement of the
// greeting is not in it.
func (s *sniffer) rest(strict bool) net.Conn {
	if strict && s.ackAt > 0 {
		s.head = slices.Delete(s.head, s.ackAt, s.ackAt+greetingSize)
	}
	conn := &sniffedConn{Conn: s.conn, head: s.head}
	if strict && s.greeted && s.ackAt == 0 {
		return &unackedConn{sniffedConn: conn, left: len(preface)}
	}
	return conn
}

// sniffedConn is a connection whose first bytes have been read already.
type sniffedConn struct {
	net.Conn
	head []byte // has not been returned by Read
}

func (c *sniffedConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head)
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil
	}
	return n, nil
}

// tlsKey is under what a context holds the *tls.ConnectionState of the connection.
type tlsKey struct{}

// withTLSState tells requests of the TLS that their connection lies under:
// net/http knows only its own connections.
func withTLSState(ctx context.Context, conn net.Conn) context.Context {
	if state, ok := TLSState(conn); ok {
		return context.WithValue(ctx, tlsKey{}, state)
	}
	return ctx
}

// TLSState is the state of the TLS that a connection lies under, if it does: one
// that a Splitter has handed out, or a *tls.Conn itself.
func TLSState(conn net.Conn) (state *tls.ConnectionState, ok bool) {
	if sniffed, ok := conn.(interface{ origin() net.Conn }); ok {
		conn = sniffed.origin()
	}
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, false
	}
	found := secure.ConnectionState()
	return &found, true
}

func (c *sniffedConn) origin() net.Conn { return c.Conn }

// unackedConn is a connection whose first acknowledgement of SETTINGS is still to
// come, and is left out when it does: the server that reads from it has not sent
// those SETTINGS.
type unackedConn struct {
	*sniffedConn
	left    int // bytes of the preface, then of a frame, that are passed on as they are
	header  [9]byte
	have    int // header[:have] has been read
	passed  int // header[:passed] has been returned
	dropped bool
}

func (c *unackedConn) Read(p []byte) (int, error) {
	for !c.dropped {
		if c.passed < c.have && c.have == len(c.header) {
			n := copy(p, c.header[c.passed:])
			if c.passed += n; c.passed == len(c.header) {
				c.have, c.passed = 0, 0
			}
			return n, nil
		}
		if c.left > 0 {
			n, err := c.sniffedConn.Read(p[:min(len(p), c.left)])
			c.left -= n
			return n, err
		}
		for c.have < len(c.header) {
			n, err := c.sniffedConn.Read(c.header[c.have:])
			c.have += n
			if n == 0 {
				return 0, err
			}
		}
		c.beginFrame()
	}
	return c.sniffedConn.Read(p)
}

// beginFrame looks at the header of a frame.
func (c *unackedConn) beginFrame() {
	frameType, flags := http2.FrameType(c.header[3]), http2.Flags(c.header[4])
	if frameType == http2.FrameSettings && flags.Has(http2.FlagSettingsAck) {
		c.dropped = true
		return
	}
	c.left = int(c.header[0])<<16 | int(c.header[1])<<8 | int(c.header[2])
}
