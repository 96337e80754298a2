package zkload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

const (
	// sessionTimeout is ZooKeeper's longest with its usual tick.
	sessionTimeout = 40 * time.Second
	// handshakeTimeout is how long a server may take to open or to close a session.
	handshakeTimeout = 30 * time.Second
	// replyHeader is the length of a frame's length and a ReplyHeader.
	replyHeader = jute.FrameHeader + 16
)

// errClosed is the error of calls on a connection that was closed.
var errClosed = errors.New("connection is closed")

// call is a request and the place where its answer is waited for. It belongs to
// one goroutine and is used again.
type call struct {
	request []byte
	op      wire.OpCode
	// first is the number that begins the answer's body: the length of a getData's data,
	// how many children there are.
	first int32
	done  chan error
}

// begin begins a request; the caller appends its body.
func (c *call) begin(op wire.OpCode) {
	if c.done == nil {
		c.done = make(chan error, 1)
	}
	c.op = op
	c.request = (&wire.RequestHeader{Op: op}).Append(jute.OpenFrame(c.request[:0]))
}

// conn is one session: as many calls at once as there are callers, answered in
// the order in which they were sent. What gathers while a write is on its way is
// the next write.
type conn struct {
	nc   net.Conn
	wake chan struct{}
	wg   sync.WaitGroup // reader and writer
	// event is told of watches that fire, by the reader.
	event func(*wire.WatcherEvent)

	mu      sync.Mutex
	xid     int32
	out     []byte  // not yet written
	waiting []*call // not yet answered, from waiting[first] on
	first   int
	err     error // why no call can be made any more
}

// dial opens a session.
func dial(ctx context.Context, endpoint string, event func(*wire.WatcherEvent)) (*conn, error) {
	dialer := net.Dialer{Timeout: handshakeTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(nc, 64<<10)
	if err := handshake(nc, in); err != nil {
		_ = nc.Close() // the error to tell is err
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	c := &conn{nc: nc, wake: make(chan struct{}, 1), event: event}
	c.wg.Go(func() { c.fail(c.read(in)) })
	c.wg.Go(func() { c.fail(c.write()) })
	return c, nil
}

func handshake(nc net.Conn, in *bufio.Reader) error {
	hello := wire.ConnectRequest{
		TimeOut: int32(sessionTimeout.Milliseconds()), Password: make([]byte, wire.PasswordSize), HasReadOnly: true,
	}
	b := hello.Append(jute.OpenFrame(nil))
	jute.CloseFrame(b, 0)
	if err := nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if _, err := nc.Write(b); err != nil {
		return err
	}
	var length [jute.FrameHeader]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return fmt.Errorf("no session: %w", err)
	}
	body := make([]byte, min(binary.BigEndian.Uint32(length[:]), 1<<10))
	if _, err := io.ReadFull(in, body); err != nil {
		return fmt.Errorf("no session: %w", err)
	}
	var welcome wire.ConnectResponse
	r := jute.NewReader(body)
	welcome.Decode(&r)
	if r.Err() != nil || welcome.SessionID == 0 {
		return errors.New("no session")
	}
	return nc.SetDeadline(time.Time{})
}

// do makes a call and waits for its answer.
func (c *conn) do(call *call) error {
	jute.CloseFrame(call.request, 0)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.xid = (c.xid + 1) & 0x7fffffff
	xid := c.xid
	if call.op == wire.OpPing {
		xid = wire.XidPing
	}
	binary.BigEndian.PutUint32(call.request[jute.FrameHeader:], uint32(xid))
	c.out = append(c.out, call.request...)
	c.waiting = append(c.waiting, call)
	select { // before fail may close it
	case c.wake <- struct{}{}:
	default:
	}
	c.mu.Unlock()
	return <-call.done
}

// write sends what has gathered, until the connection ends.
func (c *conn) write() error {
	var sending []byte
	for range c.wake {
		runtime.Gosched() // the callers that are ready have their requests sent along
		c.mu.Lock()
		sending, c.out = c.out, sending[:0]
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if len(sending) == 0 {
			continue
		}
		if _, err := c.nc.Write(sending); err != nil {
			return err
		}
	}
	return nil
}

// read gives answers to the calls that wait for them, until the connection ends.
func (c *conn) read(in *bufio.Reader) error {
	for {
		b, err := in.Peek(replyHeader)
		if err != nil {
			return err
		}
		length := int(binary.BigEndian.Uint32(b)) + jute.FrameHeader
		var reply wire.ReplyHeader
		header := jute.NewReader(b[jute.FrameHeader:])
		reply.Decode(&header)
		if reply.Xid == wire.XidEvent {
			if err := c.fire(in, length); err != nil {
				return err
			}
			continue
		}
		call, err := c.answered(reply.Xid)
		if err != nil {
			return err
		}
		call.first = -1
		if length >= replyHeader+4 {
			if b, err = in.Peek(replyHeader + 4); err == nil {
				call.first = int32(binary.BigEndian.Uint32(b[replyHeader:]))
			}
		}
		if err == nil {
			_, err = in.Discard(length)
		}
		if err == nil && reply.Err != wire.OK {
			err = reply.Err
		}
		call.done <- err
	}
}

// fire tells of a watch.
func (c *conn) fire(in *bufio.Reader, length int) error {
	frame := make([]byte, length)
	if _, err := io.ReadFull(in, frame); err != nil {
		return err
	}
	r := jute.NewReader(frame[replyHeader:])
	var event wire.WatcherEvent
	event.Decode(&r)
	if r.Err() == nil && c.event != nil {
		c.event(&event)
	}
	return r.Err()
}

// answered takes the call that has waited longest, whose answer must be xid's.
func (c *conn) answered(xid int32) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == len(c.waiting) {
		return nil, fmt.Errorf("an answer to %d, which was not asked", xid)
	}
	call := c.waiting[c.first]
	if asked := int32(binary.BigEndian.Uint32(call.request[jute.FrameHeader:])); asked != xid {
		return nil, fmt.Errorf("an answer to %d before that to %d", xid, asked)
	}
	if c.first++; c.first == len(c.waiting) || c.first > 1024 {
		c.waiting = append(c.waiting[:0], c.waiting[c.first:]...)
		c.first = 0
	}
	return call, nil
}

// fail ends the connection and every call that waits.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		_ = c.nc.Close() // the error to tell is err
		close(c.wake)
	}
	for _, call := range c.waiting[c.first:] {
		call.done <- c.err
	}
	c.waiting, c.first = nil, 0
}

// close ends the session, so that it is not left to the server, and the connection.
func (c *conn) close() error {
	var last call
	last.begin(wire.OpCloseSession)
	_ = c.nc.SetDeadline(time.Now().Add(handshakeTimeout)) // do says so
	err := c.do(&last)
	c.fail(errClosed)
	c.wg.Wait()
	return err
}
