package peer

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

const (
	// flushAt is how much is gathered for one write, writeStep how much of a large frame
	// is written at a time: each has the write timeout for itself.
	flushAt   = 128 << 10
	writeStep = 1 << 20
)

// timedConn is a connection each of whose reads and writes has its own deadline, and
// which counts them.
type timedConn struct {
	net.Conn
	readTimeout, writeTimeout time.Duration
	traffic                   *traffic
	// heard is when something was read last, in nanoseconds since 1970.
	heard atomic.Int64
}

func (c *timedConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.readTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
		c.traffic.receivedBytes.Add(uint64(n))
	}
	return n, err
}

// Write takes at most writeStep bytes at a time.
func (c *timedConn) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(b[:min(len(b), writeStep)])
		c.traffic.sentBytes.Add(uint64(n))
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// pump writes what is put into an outbox to a connection, and now and then a sign of
// life, until ctx ends or a write fails.
type pump struct {
	conn *timedConn
	out  *outbox
	// beat appends a sign of life, every so often.
	beat  func(b []byte) []byte
	every time.Duration

	buf []byte
	// size is that of the items whose frames are in buf.
	size int
}

func (p *pump) run(ctx context.Context) error {
	beats := time.NewTicker(p.every)
	defer beats.Stop()
	p.buf = p.beat(p.buf) // the first at once: the way back is measured
	var items []item
	var idle bool
	for {
		select {
		case <-beats.C:
			p.buf = p.beat(p.buf)
		default:
		}
		items, idle = p.out.take(items)
		if err := p.write(items); err != nil {
			return err
		}
		if !idle {
			clear(items)
			continue
		}
		select {
		case <-p.out.wake:
		case <-beats.C:
			p.buf = p.beat(p.buf)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// write writes items, and what is in buf, in as few writes as makes sense.
func (p *pump) write(items []item) error {
	p.out.writing.Lock()
	defer p.out.writing.Unlock()
	if rest := p.out.begun(); len(rest) > 0 {
		p.buf = append(rest, p.buf...)
	}
	for i := range items {
		err := p.append(&items[i])
		p.size += items[i].size + itemOverhead
		if err == nil && len(p.buf) >= flushAt {
			err = p.flush()
		}
		items[i].finish()
		if err != nil {
			for j := i + 1; j < len(items); j++ {
				items[j].finish()
			}
			return err
		}
	}
	return p.flush()
}

func (p *pump) append(it *item) error {
	if it.kind != frameMessage {
		p.buf = appendFrame(p.buf, it.kind, it.head, it.body)
		return nil
	}
	var err error
	p.buf, err = appendMessage(p.buf, it.message)
	p.conn.traffic.sentMessages.Add(1)
	return err
}

func (p *pump) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	_, err := p.conn.Write(p.buf)
	p.out.wrote(p.size)
	p.size = 0
	if p.buf = p.buf[:0]; cap(p.buf) > 2*writeStep {
		p.buf = nil // one large frame is no reason to keep it
	}
	return err
}
