package zksnap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"
	"time"

	"github.com/triglot/triglot/core"
)

const (
	// maxField bounds a string or the data of a znode: ZooKeeper's is jute.maxbuffer,
	// which somebody may have raised.
	maxField = 256 << 20
	// piece is how much of a field is read at a time: memory follows what has come.
	piece = 64 << 10
)

// Reader reads a snapshot, plain or compressed by gzip. It belongs to one goroutine.
type Reader struct {
	Header
	r    *bufio.Reader
	sum  hash.Hash32
	acls map[int64]core.ACL
	// done says that all has been read, and err why it cannot be.
	done bool
	err  error
	word [8]byte
}

// NewReader reads all that precedes the znodes. It fails with ErrFormat, or with what
// r fails with.
func NewReader(r io.Reader) (*Reader, error) {
	sr := &Reader{r: bufio.NewReaderSize(r, piece), sum: adler32.New(), acls: map[int64]core.ACL{openACLID: ""}}
	head, err := sr.r.Peek(2)
	if err == nil && bytes.Equal(head, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(sr.r)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		sr.r = bufio.NewReaderSize(unzipped, piece)
	}
	if got := uint32(sr.int()); sr.err == nil && got != magic {
		sr.fail("it begins with %#x", got) // a snappy file, among others
	}
	if got := sr.int(); sr.err == nil && got != version {
		sr.fail("its version is %d", got)
	}
	sr.long() // the id of the database, which nobody uses
	for n := sr.count(); n > 0 && sr.err == nil; n-- {
		id, timeout := sr.long(), sr.int()
		sr.Sessions = append(sr.Sessions, Session{core.LeaseID(id), time.Duration(timeout) * time.Millisecond})
	}
	sr.readACLs()
	return sr, sr.err
}

func (r *Reader) readACLs() {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		id := r.long()
		var entries []core.ACLEntry
		for m := r.count(); m > 0 && r.err == nil; m-- {
			e := core.ACLEntry{Perms: core.Perms(r.int())}
			e.Scheme, e.ID = r.string(), r.string()
			entries = append(entries, e)
		}
		if r.acls[id] = core.PackACL(entries...); r.acls[id] == openACL {
			r.acls[id] = ""
		}
	}
}

// Next returns a znode, which the caller owns, and io.EOF behind the last one, when
// all seals were right. It fails with ErrFormat.
func (r *Reader) Next() (*Node, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.done:
		return nil, io.EOF
	}
	path := r.string()
	if r.err == nil && path == endOfZnodes {
		r.finish()
		if r.err != nil {
			return nil, r.err
		}
		r.done = true
		return nil, io.EOF
	}
	n := &Node{Path: path}
	if path == "" {
		n.Path = "/"
	} else if path[0] != '/' {
		r.fail("a path is %q", path)
	}
	n.Data, n.Null = r.buffer()
	id := r.long()
	acl, ok := r.acls[id]
	if r.err == nil && !ok {
		r.fail("znode %q has ACL %d, which there is not", path, id)
	}
	n.ACL = acl
	n.Czxid, n.Mzxid = core.Rev(r.long()), core.Rev(r.long())
	n.Ctime, n.Mtime = r.long(), r.long()
	n.Version, n.Creates, n.Aversion = r.int(), r.int(), r.int()
	n.setOwner(r.long())
	n.Pzxid = core.Rev(r.long())
	return n, r.err
}

// finish reads what follows the znodes. The parts that came with later versions may
// be missing.
func (r *Reader) finish() {
	r.seal()
	if r.err != nil || r.ended() {
		return
	}
	r.long()
	if digestVersion := r.int(); digestVersion < 2 {
		r.string()
	} else {
		r.long()
	}
	r.seal()
	if r.err != nil || r.ended() {
		return
	}
	r.Zxid = core.Rev(r.long())
	r.seal()
}

// ended says whether there is nothing more.
func (r *Reader) ended() bool {
	_, err := r.r.Peek(1)
	return errors.Is(err, io.EOF)
}

func (r *Reader) seal() {
	want := int64(r.sum.Sum32())
	got, end := r.long(), r.string()
	if r.err == nil && (got != want || end != endOfZnodes) {
		r.fail("its checksum is %#x instead of %#x", got, want)
	}
}

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
}

// read fills b, or with the failure of the reader nothing.
func (r *Reader) read(b []byte) bool {
	if r.err != nil {
		return false
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it is cut off", ErrFormat)
		}
		r.err = err
		return false
	}
	_, _ = r.sum.Write(b) // a hash never fails
	return true
}

func (r *Reader) int() int32 {
	if !r.read(r.word[:4]) {
		return 0
	}
	return int32(binary.BigEndian.Uint32(r.word[:4]))
}

func (r *Reader) long() int64 {
	if !r.read(r.word[:8]) {
		return 0
	}
	return int64(binary.BigEndian.Uint64(r.word[:8]))
}

// count reads a number of things; null is none.
func (r *Reader) count() int32 {
	n := r.int()
	if n < -1 {
		r.fail("it counts %d of something", n)
	}
	return max(n, 0)
}

func (r *Reader) string() string {
	b, _ := r.buffer()
	return string(b)
}

// buffer reads bytes; null says that there are none.
func (r *Reader) buffer() (b []byte, null bool) {
	n := int(r.int())
	switch {
	case r.err != nil || n == -1:
		return nil, true
	case n < 0 || n > maxField:
		r.fail("a field is %d bytes long", n)
		return nil, true
	}
	b = make([]byte, 0, min(n, piece))
	for len(b) < n {
		at := len(b)
		b = append(b, make([]byte, min(n-at, max(piece, at)))...)
		if !r.read(b[at:]) {
			return nil, true
		}
	}
	return b, false
}
