package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// silence is after how long without a word the other end counts as gone, or with the
	// other end not taking any: a disk may be busy for some seconds.
	silence = 10 * time.Second
	// waitInterval is how often an end says Wait while it prepares what it has to say.
	waitInterval = silence / 5
	// farewell is how long an end that gives up tries to say why.
	farewell = time.Second
)

// A message is framed: the length of kind and body, and their CRC-32C.
const headerBytes = 4 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a message as it is sent.
func appendFrame(dst []byte, m Message) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headerBytes)...)
	dst = m.append(append(dst, byte(m.kind())))
	body := dst[start+headerBytes:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst
}

// readFrame reads a message. It is valid until buf, which it returns, is used again.
func readFrame(r io.Reader, buf []byte) (Message, []byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, buf, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxMessage {
		return nil, buf, fmt.Errorf("%w of %d bytes", errMalformed, n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, buf, err
	}
	if crc32.Checksum(buf, castagnoli) != binary.BigEndian.Uint32(header[4:]) {
		return nil, buf, fmt.Errorf("%w: its checksum is wrong", errMalformed)
	}
	m, err := decode(kind(buf[0]), buf[1:])
	return m, buf, err
}

// end drives one end of a conversation over a connection.
type end struct {
	conn net.Conn
	in   *bufio.Reader

	mu  sync.Mutex // held to write
	out []byte

	body []byte
}

// party is a Sender or a Receiver.
type party interface {
	Next() (Message, error)
	Take(m Message) error
	Done() bool
}

func (e *end) write(m Message) error { return e.writeWithin(silence, m) }

func (e *end) writeWithin(patience time.Duration, m Message) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out = appendFrame(e.out[:0], m)
	if err := e.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := e.conn.Write(e.out)
	return err
}

func (e *end) read() (m Message, err error) {
	if err := e.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	m, e.body, err = readFrame(e.in, e.body)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return m, err
}

// run has p speak until it is done. What p fails with the other end is told.
func (e *end) run(ctx context.Context, p party, before func(context.Context, Message) error) error {
	for {
		var m Message
		err := e.waiting(func() (err error) { // for a large file is read, or a disk is slow
			m, err = p.Next()
			return err
		})
		if err != nil {
			e.giveUp(err)
			return err
		}
		if m == nil {
			if p.Done() {
				return nil
			}
			if m, err = e.read(); err != nil {
				return err
			}
			if err := e.waiting(func() error { return p.Take(m) }); err != nil {
				if _, gone := m.(Failed); !gone {
					e.giveUp(err)
				}
				return err
			}
			continue
		}
		if err := before(ctx, m); err != nil {
			return err
		}
		if err := e.write(m); err != nil {
			return err
		}
	}
}

// giveUp tells the other end why. It is a courtesy: whether it arrives does not matter.
func (e *end) giveUp(err error) { _ = e.writeWithin(farewell, Failed{Reason: err.Error()}) }

// waiting calls prepare, while the other end is told to wait.
func (e *end) waiting(prepare func() error) error {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(waitInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if e.write(Wait{}) != nil {
					return // the next who writes will find it, too
				}
			case <-stop:
				return
			}
		}
	})
	err := prepare()
	close(stop)
	done.Wait()
	return err
}

// open binds a connection to ctx: when that ends, the connection breaks.
func open(ctx context.Context, conn net.Conn) (e *end, release func() bool) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &end{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, stop
}

// Send sends what prepare provides to a receiver at the other end of conn, which it
// leaves open; the receiver is told to wait meanwhile. limit bounds how fast. It returns
// how many bytes of files it has sent. When it fails, the connection is of no use any
// more.
func Send(ctx context.Context, conn net.Conn, limit *Limit, prepare func(context.Context) (*Sender, error)) (sent int64, err error) {
	e, release := open(ctx, conn)
	defer release()
	m, err := e.read()
	if err != nil {
		return 0, reason(ctx, err)
	}
	switch ask, ok := m.(Ask); {
	case !ok:
		return 0, fmt.Errorf("%w: kind %d out of turn", errMalformed, m.kind())
	case ask.Version != Version:
		err := fmt.Errorf("transfer: the receiver speaks version %d, this member version %d", ask.Version, Version)
		e.giveUp(err)
		return 0, err
	}
	var s *Sender
	err = e.waiting(func() error {
		s, err = prepare(ctx)
		return err
	})
	if err != nil {
		e.giveUp(err)
		return 0, reason(ctx, err)
	}
	err = e.run(ctx, s, func(ctx context.Context, m Message) error {
		if data, ok := m.(Data); ok {
			return limit.wait(ctx, len(data.Bytes))
		}
		return nil
	})
	return s.Sent, errors.Join(reason(ctx, err), s.Close())
}

// Receive has a sender at the other end of conn send what r wants. It leaves conn open.
func Receive(ctx context.Context, conn net.Conn, r *Receiver) error {
	e, release := open(ctx, conn)
	defer release()
	err := e.run(ctx, r, func(context.Context, Message) error { return nil })
	return errors.Join(reason(ctx, err), r.Close())
}

// reason is why a conversation broke off: ctx, if that has ended.
func reason(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
