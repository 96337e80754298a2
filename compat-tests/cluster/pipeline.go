package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ZooKeeper's numbers of the requests that are sent here.
const (
	opCreate  = 1
	opPing    = 11
	pingXid   = -2
	ephemeral = 1
)

// rawSession is a session without a library: it sends without waiting, and its
// connection can be dropped without a word. It is for one goroutine that sends and one
// that reads.
type rawSession struct {
	nc      net.Conn
	in      *bufio.Reader
	xid     int32
	Timeout time.Duration // as the server has it
}

// dialRaw opens a session.
func dialRaw(ctx context.Context, endpoint string, timeout time.Duration) (*rawSession, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	nc, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	s := &rawSession{nc: nc, in: bufio.NewReader(nc)}
	b := make([]byte, 4+12, 64) // length; version and zxid are 0
	b = binary.BigEndian.AppendUint32(b, uint32(timeout.Milliseconds()))
	b = binary.BigEndian.AppendUint64(b, 0) // a new session
	b = appendField(b, string(make([]byte, 16)))
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	answer := make([]byte, 4+37)
	if err = nc.SetDeadline(time.Now().Add(10 * time.Second)); err == nil {
		if _, err = nc.Write(b); err == nil {
			_, err = io.ReadFull(s.in, answer)
		}
	}
	if err == nil && binary.BigEndian.Uint64(answer[12:]) == 0 {
		err = errors.New("no session")
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	s.Timeout = time.Duration(binary.BigEndian.Uint32(answer[8:])) * time.Millisecond
	return s, nc.SetDeadline(time.Time{})
}

func appendField(b []byte, text string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// send sends a create.
func (s *rawSession) send(path, value string, flags uint32) error {
	s.xid++
	b := make([]byte, 4, 128)
	b = binary.BigEndian.AppendUint32(b, uint32(s.xid))
	b = binary.BigEndian.AppendUint32(b, opCreate)
	b = appendField(b, path)
	b = appendField(b, value)
	b = binary.BigEndian.AppendUint32(b, 1) // one ACL: all, for anyone
	b = binary.BigEndian.AppendUint32(b, 31)
	b = appendField(appendField(b, "world"), "anyone")
	b = binary.BigEndian.AppendUint32(b, flags)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := s.nc.Write(b)
	return err
}

// receive reads an answer: to which request, and ZooKeeper's code.
func (s *rawSession) receive() (xid, code int32, err error) {
	header := make([]byte, 4+16)
	if _, err := io.ReadFull(s.in, header); err != nil {
		return 0, 0, err
	}
	_, err = s.in.Discard(int(binary.BigEndian.Uint32(header)) - 16)
	return int32(binary.BigEndian.Uint32(header[4:])), int32(binary.BigEndian.Uint32(header[16:])), err
}

func (s *rawSession) close() { _ = s.nc.Close() }

// pipelined is the root of what pipelines write, pipeWindow how many requests are under
// way on a connection, pipeLength how many it makes at most.
const (
	pipelined  = "/p"
	pipeWindow = 32
	pipeLength = 2000
	pipeSilent = 5 * time.Second // without an answer, after which a connection is given up
)

// pipeline is one connection that creates numbered znodes below one of its own.
type pipeline struct {
	parent string
	// acked is how many were answered; they are 0 to acked-1.
	acked int
}

// pipeliner makes one pipeline after the other.
type pipeliner struct {
	*worker
	endpoints []string
	create    func(path string) error
	pipes     []*pipeline
}

func (p *pipeliner) run(ctx context.Context) {
	for ctx.Err() == nil {
		parent := fmt.Sprintf("%s/%s-%d-%d", pipelined, p.chapter, p.id, len(p.pipes))
		if err := p.create(parent); err != nil {
			p.think(ctx)
			continue
		}
		session, err := dialRaw(ctx, p.endpoints[p.random.IntN(len(p.endpoints))], 4*time.Second)
		if err != nil {
			p.think(ctx)
			continue
		}
		pipe := &pipeline{parent: parent}
		p.pipes = append(p.pipes, pipe)
		if err := p.fill(ctx, session, pipe); err != nil {
			p.rec.find("pipeline %s: %v", parent, err)
		}
		session.close()
	}
}

// fill writes until the connection breaks, the context ends or it is long enough.
func (p *pipeliner) fill(ctx context.Context, s *rawSession, pipe *pipeline) error {
	window := make(chan struct{}, pipeWindow)
	sent := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range pipeLength {
			select {
			case window <- struct{}{}:
			case <-stop:
				return
			}
			if ctx.Err() != nil || s.send(fmt.Sprintf("%s/%06d", pipe.parent, i), "x", 0) != nil {
				s.close() // what is under way is under way
				return
			}
			p.think(ctx)
		}
	}()
	defer func() { close(stop); s.close(); <-sent }()
	for pipe.acked < pipeLength {
		if err := s.nc.SetReadDeadline(time.Now().Add(pipeSilent)); err != nil {
			return nil //nolint:nilerr // closed
		}
		xid, code, err := s.receive()
		if err != nil {
			return nil //nolint:nilerr // the connection is gone
		}
		if int(xid) != pipe.acked+1 {
			return fmt.Errorf("an answer to %d, %d were answered before", xid, pipe.acked)
		}
		if code != 0 {
			return nil // an error at the end: the session is moved or gone, say
		}
		pipe.acked++
		p.lastOK.Store(p.rec.now())
		<-window
	}
	return nil
}

// check compares what is there with what was answered: all of it, and without a gap.
func (p *pipeline) check(children []string) string {
	there := map[string]bool{}
	for _, child := range children {
		there[child] = true
	}
	for i := range max(len(children), p.acked) {
		if !there[fmt.Sprintf("%06d", i)] {
			return fmt.Sprintf("%s: number %d is missing; %d are there, %d were acknowledged", p.parent, i, len(children), p.acked)
		}
	}
	return ""
}
