package main

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
)

// zkError is what a reply says.
type zkError int32

func (e zkError) Error() string { return fmt.Sprintf("ZooKeeper answers %d", int32(e)) }

// errZKClosed is the error of calls on a connection that was closed.
var errZKClosed = errors.New("connection is closed")

// zkCall is a request and the place where its answer is waited for. It belongs to
// one goroutine and is used again.
type zkCall struct {
	request []byte
	path    []byte // room for a path
	op      uint32
	done    chan error
}

// reset begins a request; the caller appends its body.
func (c *zkCall) reset(op uint32) []byte {
	if c.done == nil {
		c.done = make(chan error, 1)
	}
	c.op = op
	c.request = append(c.request[:0], 0, 0, 0, 0, 0, 0, 0, 0) // length, xid
	return binary.BigEndian.AppendUint32(c.request, op)
}

// zkConn is one session: as many calls at once as there are callers, answered in
// the order in which they were sent. What gathers while a write is on its way is
// the next write.
type zkConn struct {
	nc   net.Conn
	wake chan struct{}
	wg   sync.WaitGroup // reader and writer

	mu      sync.Mutex
	xid     uint32
	out     []byte    // not yet written
	waiting []*zkCall // not yet answered, from waiting[first] on
	first   int
	err     error // why no call can be made any more
}

// dialZK opens a session.
func dialZK(ctx context.Context, endpoint string) (*zkConn, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(nc, 64<<10)
	if err := handshake(nc, in); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	c := &zkConn{nc: nc, wake: make(chan struct{}, 1)}
	c.wg.Go(func() { c.fail(c.read(in)) })
	c.wg.Go(func() { c.fail(c.write()) })
	return c, nil
}

func handshake(nc net.Conn, in *bufio.Reader) error {
	b := make([]byte, 4+12, 64) // length; version and zxid are 0
	b = binary.BigEndian.AppendUint32(b, uint32(zkTimeout.Milliseconds()))
	b = binary.BigEndian.AppendUint64(b, 0) // a new session
	b = appendField(b, make([]byte, 16))
	b = append(b, 0) // not a read-only server
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := nc.Write(b); err != nil {
		return err
	}
	answer := make([]byte, 4+37)
	if _, err := io.ReadFull(in, answer); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if binary.BigEndian.Uint64(answer[12:]) == 0 {
		return errors.New("handshake: no session")
	}
	return nc.SetDeadline(time.Time{})
}

// do makes a call and waits for its answer.
func (c *zkConn) do(call *zkCall) error {
	b := call.request
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.xid++
	xid := c.xid & 0x7fffffff
	if call.op == zkPing {
		xid = zkPingXid
	}
	binary.BigEndian.PutUint32(b[4:], xid)
	c.out = append(c.out, b...)
	c.waiting = append(c.waiting, call)
	select { // before fail may close it
	case c.wake <- struct{}{}:
	default:
	}
	c.mu.Unlock()
	return <-call.done
}

// write sends what has gathered, until the connection ends.
func (c *zkConn) write() error {
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
func (c *zkConn) read(in *bufio.Reader) error {
	const header = 4 + 16
	for {
		b, err := in.Peek(header)
		if err != nil {
			return err
		}
		length := int(binary.BigEndian.Uint32(b)) + 4
		xid, code := binary.BigEndian.Uint32(b[4:]), int32(binary.BigEndian.Uint32(b[16:]))
		call, err := c.answered(xid)
		if err != nil {
			return err
		}
		switch {
		case code != 0:
			err = zkError(code)
		case call.op == zkGetData && length < header+4+68+1:
			err = errors.New("got no data")
		}
		if _, discardErr := in.Discard(length); discardErr != nil {
			err = discardErr
		}
		call.done <- err
	}
}

// answered takes the call that has waited longest, whose answer must be xid's.
func (c *zkConn) answered(xid uint32) (*zkCall, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == len(c.waiting) {
		return nil, fmt.Errorf("an answer to %d, which was not asked", xid)
	}
	call := c.waiting[c.first]
	if asked := binary.BigEndian.Uint32(call.request[4:]); asked != xid {
		return nil, fmt.Errorf("an answer to %d before that to %d", xid, asked)
	}
	if c.first++; c.first == len(c.waiting) || c.first > 1024 {
		c.waiting = append(c.waiting[:0], c.waiting[c.first:]...)
		c.first = 0
	}
	return call, nil
}

// fail ends the connection and every call that waits.
func (c *zkConn) fail(err error) {
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

// close ends the session's connection, and with it, in time, the session.
func (c *zkConn) close() {
	c.fail(errZKClosed)
	c.wg.Wait()
}
