package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// nullZK answers ZooKeeper's create, setData and getData from a map, all that has
// come in one read by one write: the least that a server in Go can do. It checks
// nothing and keeps nothing on disk.
type nullZK struct {
	zxid atomic.Int64

	mu   sync.RWMutex // guards data
	data map[string][]byte
}

// serveNullZK serves until the process ends.
func serveNullZK(listener net.Listener) error {
	s := &nullZK{data: map[string][]byte{}}
	for {
		nc, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with its client
			_ = errors.Join(s.serve(nc), nc.Close())
		}()
	}
}

// serve answers one connection. Its first frame is the handshake.
func (s *nullZK) serve(nc net.Conn) error {
	in := bufio.NewReaderSize(nc, 256<<10)
	var out []byte
	for greeted := false; ; {
		head, err := in.Peek(4)
		if err != nil {
			return err
		}
		length := 4 + int(binary.BigEndian.Uint32(head))
		frame, err := in.Peek(length)
		if err != nil {
			return err
		}
		start := len(out)
		out = append(out, 0, 0, 0, 0)
		if greeted {
			out = s.answer(out, frame[4:])
		} else {
			out = append(out, 0, 0, 0, 0)      // version
			out = append(out, frame[16:20]...) // the timeout as asked for
			out = append(out, 0, 0, 0, 0, 0, 0, 0, 1)
			out = append(appendField(out, make([]byte, 16)), 0)
			greeted = true
		}
		binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4))
		if _, err := in.Discard(length); err != nil {
			return err
		}
		if s.more(in) {
			continue
		}
		if _, err := nc.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// more says whether another whole frame has come already.
func (s *nullZK) more(in *bufio.Reader) bool {
	if in.Buffered() < 4 {
		return false
	}
	head, err := in.Peek(4)
	return err == nil && in.Buffered() >= 4+int(binary.BigEndian.Uint32(head))
}

// answer appends the reply to a request.
func (s *nullZK) answer(out, frame []byte) []byte {
	xid, op, body := frame[:4], binary.BigEndian.Uint32(frame[4:]), frame[8:]
	header := func(zxid int64, code int32) {
		out = append(out, xid...)
		out = binary.BigEndian.AppendUint64(out, uint64(zxid))
		out = binary.BigEndian.AppendUint32(out, uint32(code))
	}
	switch op {
	case zkCreate, zkSetData:
		path, rest := cutField(body)
		value, _ := cutField(rest)
		value = append([]byte(nil), value...)
		s.mu.Lock()
		s.data[string(path)] = value
		s.mu.Unlock()
		zxid := s.zxid.Add(1)
		header(zxid, 0)
		if op == zkCreate {
			return appendField(out, path)
		}
		return appendNullStat(out, zxid, len(value))
	case zkGetData:
		path, _ := cutField(body)
		s.mu.RLock()
		value, found := s.data[string(path)]
		s.mu.RUnlock()
		if !found {
			header(s.zxid.Load(), -101)
			return out
		}
		header(s.zxid.Load(), 0)
		return appendNullStat(appendField(out, value), 1, len(value))
	}
	header(s.zxid.Load(), 0) // a ping
	return out
}

// cutField splits off a string or a buffer, which may be null. The client is to be
// trusted.
func cutField(b []byte) (field, rest []byte) {
	n := 4 + max(0, int32(binary.BigEndian.Uint32(b)))
	return b[4:n], b[n:]
}

// appendNullStat appends a Stat: czxid, mzxid, times, versions and owner, length,
// children, pzxid.
func appendNullStat(out []byte, zxid int64, length int) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(zxid))
	out = binary.BigEndian.AppendUint64(out, uint64(zxid))
	out = append(out, make([]byte, 16+12+8)...)
	out = binary.BigEndian.AppendUint32(out, uint32(length))
	out = binary.BigEndian.AppendUint32(out, 0)
	return binary.BigEndian.AppendUint64(out, uint64(zxid))
}
