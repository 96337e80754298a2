package znode

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/triglot/triglot/core"
)

// node is what the row of a znode holds.
type node struct {
	kind core.ZnodeKind
	// null says that there is no data, which differs from empty data.
	null bool
	// implicit says that there is no key; pinned that the znode stays even so when
	// its last child goes.
	implicit, pinned bool
	// own says that the znode is older than its key: czxid and base hold. They and
	// mzxid hold for an implicit one, too.
	own bool
	acl core.ZnodeACL
	// creates counts the children ever made, as int32 does; it is what ZooKeeper
	// numbers sequential znodes by (S2).
	creates  int32
	children int32
	aversion int32
	// ctime is in milliseconds since 1970, ttl the time to live of a ZnodeTTL in as many.
	ctime, ttl int64
	pzxid      core.Rev
	past
	// used is what a quota's znode of numbers shows.
	used usage
	// servers is what ZooKeeper's configuration says of the servers, which is no key; see
	// config.go.
	servers string
}

// past is what the key of a znode cannot tell, for want of one or because the znode is
// older than it.
type past struct {
	czxid core.Rev
	// mzxid and mtime hold for an implicit znode; otherwise the key tells.
	mzxid core.Rev
	mtime int64
	// base is the version of the data, of an implicit znode, or what it was when
	// the present key was made.
	base int32
}

// A row's value:
//
//	flags      one byte, the kind in its lowest two bits
//	ctime      uvarint
//	pzxid, creates, children, aversion, acl   uvarints
//	czxid, base                               uvarints, if flagOwn or flagImplicit is set
//	mzxid, mtime                              uvarints, if flagImplicit is set
//	ttl                                       uvarint, if the kind is ZnodeTTL
//	count, bytes                              uvarints, if flagCounted is set
//	length of at, at                          uvarint and bytes, if flagCounting is set
//	length of servers, servers                uvarint and bytes, if flagOwn and flagImplicit are set
const (
	kindBits = 1<<2 - 1

	flagNull     = 1 << 2
	flagImplicit = 1 << 3
	flagPinned   = 1 << 4
	flagOwn      = 1 << 5
	flagCounted  = 1 << 6
	flagCounting = 1 << 7 // all bits have a meaning
)

func (n *node) append(dst []byte) []byte {
	flags := byte(n.kind)
	for _, f := range [...]struct {
		is  bool
		bit byte
	}{{n.null, flagNull}, {n.implicit, flagImplicit}, {n.pinned, flagPinned}, {n.own || n.servers != "", flagOwn}, {n.used.counted, flagCounted}, {n.used.counting, flagCounting}} {
		if f.is {
			flags |= f.bit
		}
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(n.ctime))
	dst = binary.AppendUvarint(dst, uint64(n.pzxid))
	dst = binary.AppendUvarint(dst, uint64(uint32(n.creates)))
	dst = binary.AppendUvarint(dst, uint64(uint32(n.children)))
	dst = binary.AppendUvarint(dst, uint64(uint32(n.aversion)))
	dst = binary.AppendUvarint(dst, uint64(n.acl))
	if n.own || n.implicit {
		dst = binary.AppendUvarint(dst, uint64(n.czxid))
		dst = binary.AppendUvarint(dst, uint64(uint32(n.base)))
	}
	if n.implicit {
		dst = binary.AppendUvarint(dst, uint64(n.mzxid))
		dst = binary.AppendUvarint(dst, uint64(n.mtime))
	}
	if n.kind == core.ZnodeTTL {
		dst = binary.AppendUvarint(dst, uint64(n.ttl))
	}
	if n.used.counted {
		dst = binary.AppendUvarint(dst, uint64(n.used.count))
		dst = binary.AppendUvarint(dst, uint64(n.used.bytes))
	}
	if n.used.counting {
		dst = binary.AppendUvarint(dst, uint64(len(n.used.at)))
		dst = append(dst, n.used.at...)
	}
	if n.servers != "" {
		dst = binary.AppendUvarint(dst, uint64(len(n.servers)))
		dst = append(dst, n.servers...)
	}
	return dst
}

// decodeNode reads a row's value.
func decodeNode(b []byte) (node, error) {
	if len(b) == 0 {
		return node{}, errors.New("a znode row is empty")
	}
	flags, d := b[0], decoder{b: b[1:]}
	n := node{
		kind:     core.ZnodeKind(flags & kindBits),
		null:     flags&flagNull != 0,
		implicit: flags&flagImplicit != 0,
		pinned:   flags&flagPinned != 0,
		own:      flags&flagOwn != 0,
	}
	n.ctime = int64(d.uvarint())
	n.pzxid = core.Rev(d.uvarint())
	n.creates, n.children, n.aversion = d.int32(), d.int32(), d.int32()
	n.acl = core.ZnodeACL(d.int32())
	if n.own || n.implicit {
		n.czxid, n.base = core.Rev(d.uvarint()), d.int32()
	}
	if n.implicit {
		n.mzxid, n.mtime = core.Rev(d.uvarint()), int64(d.uvarint())
	}
	if n.kind == core.ZnodeTTL {
		n.ttl = int64(d.uvarint())
	}
	if n.used.counted = flags&flagCounted != 0; n.used.counted {
		n.used.count, n.used.bytes = int64(d.uvarint()), int64(d.uvarint())
	}
	if n.used.counting = flags&flagCounting != 0; n.used.counting {
		d.bad = d.bad || !n.used.counted
		n.used.at = d.string()
	}
	if n.own && n.implicit {
		n.servers = d.string()
		n.own, d.bad = false, d.bad || n.servers == ""
	}
	if d.bad || len(d.b) > 0 {
		return node{}, fmt.Errorf("malformed znode row: %x", b)
	}
	return n, nil
}

// decoder reads numbers until one fails; then it is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // as most are
		v := uint64(d.b[0])
		d.b = d.b[1:]
		return v
	}
	v, n := binary.Uvarint(d.b)
	return v * d.skip(n)
}

// int32 reads a number that was written as uint32.
func (d *decoder) int32() int32 {
	v := d.uvarint()
	d.bad = d.bad || v > 1<<32-1
	return int32(uint32(v))
}

// skip passes over n bytes and returns one; it returns zero if there was no number.
func (d *decoder) skip(n int) uint64 {
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return 1
}

// string reads what is behind its length.
func (d *decoder) string() string {
	size := d.uvarint()
	if size > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	s := string(d.b[:size])
	d.b = d.b[size:]
	return s
}

// version is that of the data. kv is the znode's key, nil if it is implicit.
func (n *node) version(kv *core.KV) int32 {
	if n.implicit {
		return n.base
	}
	return n.base + int32(kv.Version-1)
}

// created is the revision in which the znode came to life.
func (n *node) created(kv *core.KV) core.Rev {
	if n.implicit || n.own {
		return n.czxid
	}
	return kv.CreateRev
}

// nextVersion is the version after v: none is AnyVersion (ZOOKEEPER-4743).
func nextVersion(v int32) int32 {
	if v++; v == core.AnyVersion {
		v++
	}
	return v
}

// stat is what ZooKeeper tells of the znode. kv is its key, nil if it is implicit.
func (n *node) stat(kv *core.KV) core.Stat {
	s := core.Stat{
		Czxid: n.created(kv), Mzxid: n.mzxid, Pzxid: n.pzxid,
		Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version(kv), Cversion: 2*n.creates - n.children, Aversion: n.aversion,
		NumChildren: n.children,
	}
	if n.servers != "" {
		s.DataLength = int32(len(n.configuration()))
	}
	if !n.implicit {
		s.Mzxid, s.Mtime = kv.ModRev, kv.Time
		s.EphemeralOwner, s.DataLength = kv.Lease, int32(len(kv.Value))
		if n.used.counted {
			s.DataLength = int32(len(n.used.text()))
		}
	}
	return s
}

// become makes the znode, whose key is prev or nil, one with a key that is about
// to be written once more: its version goes on, and it is never younger.
func (n *node) become(prev *core.KV) {
	next := nextVersion(n.version(prev))
	switch {
	case n.implicit: // the key will be at its first version
		n.own, n.base = true, next
	case next != n.version(prev)+1:
		n.own, n.czxid, n.base = true, n.created(prev), n.base+1
	}
	n.implicit, n.pinned = false, false
}

// demote makes the znode, whose key prev goes, an implicit one.
func (n *node) demote(prev *core.KV, rev core.Rev, pinned bool) {
	n.czxid, n.mzxid, n.base = n.created(prev), rev, nextVersion(n.version(prev))
	n.kind, n.ttl, n.null, n.own = core.ZnodePersistent, 0, false, false
	n.implicit, n.pinned, n.used = true, pinned, usage{}
}
