package zksnap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/adler32"
	"io"

	"github.com/triglot/triglot/core"
)

// Writer writes a snapshot. It belongs to one goroutine.
type Writer struct {
	w    *bufio.Writer
	sum  hash.Hash32
	zxid core.Rev
	acls map[core.ACL]int64
	buf  []byte
	size int64
	err  error
}

// NewWriter writes all that precedes the znodes. Every ACL that a node has must be
// among acls.
func NewWriter(w io.Writer, h Header, acls []core.ACL) (*Writer, error) {
	sw := &Writer{w: bufio.NewWriterSize(w, 64<<10), sum: adler32.New(), zxid: h.Zxid, acls: map[core.ACL]int64{}}
	b := binary.BigEndian.AppendUint32(nil, magic)
	b = binary.BigEndian.AppendUint32(b, version)
	b = appendLong(b, -1)
	b = appendInt(b, len(h.Sessions))
	for _, s := range h.Sessions {
		b = appendLong(b, int64(s.ID))
		b = binary.BigEndian.AppendUint32(b, uint32(s.Timeout.Milliseconds()))
	}
	b = appendInt(b, len(acls))
	for i, acl := range acls {
		entries, err := acl.Entries()
		if err != nil {
			return nil, err
		}
		id := int64(i + 1)
		sw.acls[acl] = id
		b = appendInt(appendLong(b, id), len(entries))
		for _, e := range entries {
			b = binary.BigEndian.AppendUint32(b, uint32(e.Perms))
			b = appendString(appendString(b, e.Scheme), e.ID)
		}
	}
	sw.write(b)
	return sw, sw.err
}

// Write writes a znode. Its parent must precede it.
func (w *Writer) Write(n *Node) error {
	acl := int64(openACLID)
	if n.ACL != "" {
		var ok bool
		if acl, ok = w.acls[n.ACL]; !ok {
			return fmt.Errorf("znode %q has an ACL that was not announced", n.Path)
		}
	}
	path := n.Path
	if path == "/" {
		path = ""
	}
	b := appendString(w.buf[:0], path)
	if n.Null {
		b = appendInt(b, -1)
	} else {
		b = append(appendInt(b, len(n.Data)), n.Data...)
	}
	b = appendLong(b, acl)
	for _, v := range [...]int64{int64(n.Czxid), int64(n.Mzxid), n.Ctime, n.Mtime} {
		b = appendLong(b, v)
	}
	for _, v := range [...]int32{n.Version, n.Creates, n.Aversion} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	b = appendLong(appendLong(b, n.owner()), int64(n.Pzxid))
	w.write(b)
	w.buf = b[:0]
	return w.err
}

// Close writes what follows the znodes and returns the size of it all. It does not
// close what it writes to.
func (w *Writer) Close() (size int64, err error) {
	w.write(appendString(nil, endOfZnodes))
	w.seal()
	digest := appendLong(appendInt(appendLong(nil, 0), 2), 0) // none
	w.write(digest)
	w.seal()
	w.write(appendLong(nil, int64(w.zxid)))
	w.seal()
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.size, w.err
}

func (w *Writer) seal() { w.write(appendString(appendLong(nil, int64(w.sum.Sum32())), endOfZnodes)) }

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	_, _ = w.sum.Write(b) // a hash never fails
	_, w.err = w.w.Write(b)
	w.size += int64(len(b))
}

func appendInt(b []byte, v int) []byte    { return binary.BigEndian.AppendUint32(b, uint32(int32(v))) }
func appendLong(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendString(b []byte, s string) []byte { return append(appendInt(b, len(s)), s...) }
