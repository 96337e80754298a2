package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The numbers of ZooKeeper's requests that the null server knows.
const (
	zkCreate       = 1
	zkDelete       = 2
	zkExists       = 3
	zkGetData      = 4
	zkSetData      = 5
	zkGetChildren  = 8
	zkGetChildren2 = 12
	zkCheck        = 13
	zkMulti        = 14
	zkCreate2      = 15

	zkNoNode = -101
)

// nullZKServer answers ZooKeeper's requests for znodes from a map, all that have come in one
// read by one write: the least that a server in Go can do. It checks nothing, but that what
// is read is there, and keeps nothing on disk.
type nullZKServer struct {
	zxid atomic.Int64

	mu       sync.RWMutex // guards all below
	data     map[string][]byte
	children map[string][]string // names, in the order of their making
}

// serveNullZK serves until the process ends.
func serveNullZK(listener net.Listener) error {
	s := &nullZKServer{data: map[string][]byte{"/": nil}, children: map[string][]string{}}
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
func (s *nullZKServer) serve(nc net.Conn) error {
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
func (s *nullZKServer) more(in *bufio.Reader) bool {
	if in.Buffered() < 4 {
		return false
	}
	head, err := in.Peek(4)
	return err == nil && in.Buffered() >= 4+int(binary.BigEndian.Uint32(head))
}

// answer appends the reply to a request.
func (s *nullZKServer) answer(out, frame []byte) []byte {
	xid, op, body := frame[:4], binary.BigEndian.Uint32(frame[4:]), frame[8:]
	out = append(out, xid...)
	head := len(out)
	out = append(out, make([]byte, 8+4)...)
	var code int32
	switch op {
	case zkMulti:
		out = s.multi(out, body)
	case zkGetData, zkExists, zkGetChildren, zkGetChildren2:
		out, code = s.read(out, op, body)
	default:
		out, _ = s.write(out, op, body)
	}
	binary.BigEndian.PutUint64(out[head:], uint64(s.zxid.Load()))
	binary.BigEndian.PutUint32(out[head+8:], uint32(code))
	return out
}

// read appends the body of the reply to a request that changes nothing, and returns the
// reply's code.
func (s *nullZKServer) read(out []byte, op uint32, body []byte) ([]byte, int32) {
	path, _ := cutField(body)
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found := s.data[string(path)]
	if !found {
		return out, zkNoNode
	}
	switch op {
	case zkGetData:
		out = appendField(out, value)
	case zkGetChildren, zkGetChildren2:
		names := s.children[string(path)]
		out = binary.BigEndian.AppendUint32(out, uint32(len(names)))
		for _, name := range names {
			out = appendField(out, name)
		}
		if op == zkGetChildren {
			return out, 0
		}
	}
	return appendNullStat(out, 1, len(value)), 0
}

// write makes a change and appends the body of its reply. It returns what of the request is
// left, which in a multi is the next one. Anything else, such as a ping, is answered without a
// body.
func (s *nullZKServer) write(out []byte, op uint32, body []byte) (reply, rest []byte) {
	switch op {
	case zkCreate, zkCreate2:
		path, rest := cutField(body)
		value, rest := cutField(rest)
		zxid := s.put(path, value)
		out = appendField(out, path)
		if op == zkCreate2 {
			out = appendNullStat(out, zxid, len(value))
		}
		return out, cutACL(rest)[4:] // the flags
	case zkSetData:
		path, rest := cutField(body)
		value, rest := cutField(rest)
		return appendNullStat(out, s.put(path, value), len(value)), rest[4:]
	case zkDelete:
		path, rest := cutField(body)
		s.remove(path)
		return out, rest[4:]
	case zkCheck:
		_, rest := cutField(body)
		return out, rest[4:]
	}
	return out, nil
}

// multi makes the changes of a multi, and appends what each of them answers.
func (s *nullZKServer) multi(out, body []byte) []byte {
	const header = 4 + 1 + 4 // type, done, code
	for {
		op := body[:header]
		if op[4] != 0 {
			return append(out, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff)
		}
		out = append(append(out, op[:4]...), 0, 0, 0, 0, 0)
		out, body = s.write(out, binary.BigEndian.Uint32(op), body[header:])
	}
}

func (s *nullZKServer) put(path, value []byte) int64 {
	value = append([]byte(nil), value...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.data[string(path)]; !found {
		parent, name := splitPath(string(path))
		s.children[parent] = append(s.children[parent], name)
	}
	s.data[string(path)] = value
	return s.zxid.Add(1)
}

func (s *nullZKServer) remove(path []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, string(path))
	parent, name := splitPath(string(path))
	s.children[parent] = slices.DeleteFunc(s.children[parent], func(child string) bool { return child == name })
	s.zxid.Add(1)
}

func splitPath(path string) (parent, name string) {
	slash := strings.LastIndexByte(path, '/')
	return path[:max(1, slash)], path[slash+1:]
}

// appendField appends a string or a buffer as jute does.
func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

// cutACL splits off a list of permissions, each with a scheme and an id.
func cutACL(b []byte) (rest []byte) {
	n := max(0, int32(binary.BigEndian.Uint32(b)))
	b = b[4:]
	for range n {
		_, b = cutField(b[4:])
		_, b = cutField(b)
	}
	return b
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
