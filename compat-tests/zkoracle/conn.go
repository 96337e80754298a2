package zkoracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// patience is how long an answer that is due may take. It is generous: it passes
// only when an answer is missing.
const patience = 10 * time.Second

// session is what a client keeps of its session.
type session struct {
	id     int64
	passwd []byte
}

// conn is one connection. It is closed once net is nil.
type conn struct {
	name string
	net  net.Conn
	xid  int32
	// ready is set by a handshake that succeeded: the connection answers pings.
	ready bool
	// shown is the latest zxid in the header of a reply.
	shown int64
}

// frameIn is a frame that has come in after the handshake.
type frameIn struct {
	xid, code int32
	zxid      int64
	body      []byte
}

var errSilent = errors.New("NO ANSWER")

// open dials.
func open(name, endpoint string) (*conn, error) {
	nc, err := net.DialTimeout("tcp", endpoint, patience)
	if err != nil {
		return nil, err
	}
	return &conn{name: name, net: nc, xid: 1}, nil
}

func (c *conn) close() {
	if c.net != nil {
		_ = c.net.Close() // nobody is left to be told
		c.net = nil
	}
	c.ready = false
}

// hangUp closes, and waits until the server has seen it: of a connection whose end
// comes after a new one's beginning, ZooKeeper forgets which of the two has the session.
func (c *conn) hangUp() {
	if half, ok := c.net.(*net.TCPConn); ok && half.CloseWrite() == nil {
		_ = half.SetReadDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, half) // nobody is left to be told
	}
	c.close()
}

// send writes bytes. That the other side has closed shows when reading.
func (c *conn) send(b []byte) {
	if c.net == nil {
		return
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.net.Write(b)
}

// next reads a frame's body. io.EOF means that the connection is closed, and then
// it is closed here too.
func (c *conn) next() ([]byte, error) {
	if c.net == nil {
		return nil, io.EOF
	}
	if err := c.net.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(c.net, length[:]); err != nil {
		return nil, c.broken(err)
	}
	n := int32(binary.BigEndian.Uint32(length[:]))
	if n < 0 || n > maxFrame {
		c.close()
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.net, body); err != nil {
		return nil, c.broken(err)
	}
	return body, nil
}

// broken tells a closed connection from one that says nothing.
func (c *conn) broken(err error) error {
	c.close()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errSilent
	}
	return io.EOF // a reset is an end too
}

// reply reads the next frame as a reply or an event.
func (c *conn) reply() (frameIn, error) {
	body, err := c.next()
	if err != nil {
		return frameIn{}, err
	}
	r := &reader{rest: body}
	f := frameIn{xid: r.int(), zxid: r.long(), code: r.int(), body: r.rest}
	if r.err != nil {
		return frameIn{}, fmt.Errorf("a reply of %d bytes: %x", len(body), body)
	}
	return f, nil
}

// until reads frames up to and with the one of the given xid.
func (c *conn) until(xid int32) (got []frameIn, err error) {
	for {
		f, err := c.reply()
		if err != nil {
			return got, err
		}
		got = append(got, f)
		if f.xid == xid {
			return got, nil
		}
	}
}

// encode returns the request's bytes and the xid that it goes under.
func (c *conn) encode(q request) (xid int32, framed []byte) {
	switch q.op {
	case opPing:
		xid = xidPing
	case opSetWatches, opSetWatches2:
		xid = xidSetWatches
	case opAuth:
		xid = xidAuth
	default:
		xid = c.xid
		c.xid++
	}
	return xid, frame(append(putInt(putInt(nil, xid), q.op), q.body...))
}

// handshake is a ConnectRequest.
type handshake struct {
	version, timeout int32
	lastZxid         int64
	session          session
	readOnly         bool
	short            bool // without the readOnly at the end
}

func (h handshake) encode() []byte {
	b := putInt(putLong(putInt(nil, h.version), h.lastZxid), h.timeout)
	b = putBuffer(putLong(b, h.session.id), h.session.passwd)
	if !h.short {
		b = putBool(b, h.readOnly)
	}
	return frame(b)
}

// shake makes the handshake and says how it went.
func (c *conn) shake(h handshake) (session, string) {
	c.send(h.encode())
	return c.welcome()
}

// welcome reads the answer to a handshake. The session is the one that the server
// gave; its id is zero if there is none.
func (c *conn) welcome() (session, string) {
	body, err := c.next()
	if err != nil {
		return session{}, closing(err)
	}
	r := &reader{rest: body}
	version, timeout, given := r.int(), r.int(), session{id: r.long(), passwd: r.buffer()}
	text := fmt.Sprintf("timeout %d, %d bytes", timeout, len(body))
	if version != protocolVersion {
		text += fmt.Sprintf(", VERSION %d", version)
	}
	if len(r.rest) > 0 && r.bool() {
		text += ", read-only"
	}
	if len(given.passwd) != passwordLen {
		text += fmt.Sprintf(", PASSWORD OF %d BYTES", len(given.passwd))
	}
	text += rest(r)
	if given.id == 0 {
		if !bytes.Equal(given.passwd, make([]byte, passwordLen)) {
			text += ", PASSWORD NOT ZERO"
		}
		return session{}, "refused: " + text
	}
	if given.id < 0 {
		text += ", NEGATIVE SESSION"
	}
	c.ready = timeout > 0
	return given, "connected: " + text
}

// closing says how reading ended.
func closing(err error) string {
	if errors.Is(err, io.EOF) {
		return "closed"
	}
	return "FAILED: " + err.Error()
}
