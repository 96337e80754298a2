package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/triglot/triglot/core"
)

// A d row's value:
//
//	flags      one byte
//	age        uvarint: mod revision - create revision
//	version    uvarint
//	lease      eight bytes, if flagLease is set
//	time       uvarint, if flagTime is set
//	acl        uvarint, if flagACL is set
//	value      the rest
//
// A tombstone is its flags, and its ACL if flagACL is set. The key and the mod revision
// are in the key.
const (
	flagTombstone = 1 << iota
	flagLease
	flagTime
	flagACL

	knownFlags = flagTombstone | flagLease | flagTime | flagACL
)

// bareTombstone is the length of the row of a tombstone without an ACL.
const bareTombstone = 1

// errRow is the cause of every row that does not decode. The engine checks what
// it reads, so such a row was written wrong or by a later version.
var errRow = errors.New("row does not decode")

// row is a decoded d row without its key and revision. value aliases the row.
type row struct {
	createRev core.Rev
	version   int64
	lease     core.LeaseID
	time      int64
	acl       core.ZnodeACL
	value     []byte
}

func (r *row) deleted() bool { return r.version == 0 }

// rowLen is the length of kv's d row.
func rowLen(kv *core.KV) int {
	n := 1
	if kv.ACL != 0 {
		n += uvarintLen(uint64(kv.ACL))
	}
	if kv.Deleted() {
		return n
	}
	n += uvarintLen(uint64(kv.ModRev-kv.CreateRev)) + uvarintLen(uint64(kv.Version)) + len(kv.Value)
	if kv.Lease != 0 {
		n += 8
	}
	if kv.Time > 0 {
		n += uvarintLen(uint64(kv.Time))
	}
	return n
}

// appendRow appends kv's d row.
func appendRow(dst []byte, kv *core.KV) []byte {
	var flags byte
	if kv.ACL != 0 {
		flags |= flagACL
	}
	if kv.Deleted() {
		return appendACL(append(dst, flags|flagTombstone), kv.ACL)
	}
	if kv.Lease != 0 {
		flags |= flagLease
	}
	if kv.Time > 0 {
		flags |= flagTime
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(kv.ModRev-kv.CreateRev))
	dst = binary.AppendUvarint(dst, uint64(kv.Version))
	if kv.Lease != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(kv.Lease))
	}
	if kv.Time > 0 {
		dst = binary.AppendUvarint(dst, uint64(kv.Time))
	}
	return append(appendACL(dst, kv.ACL), kv.Value...)
}

func appendACL(dst []byte, acl core.ZnodeACL) []byte {
	if acl == 0 {
		return dst
	}
	return binary.AppendUvarint(dst, uint64(acl))
}

// decodeRow decodes the d row b of revision rev, which is positive.
func decodeRow(b []byte, rev core.Rev) (row, error) {
	if len(b) == 0 || b[0]&^knownFlags != 0 {
		return row{}, errRow
	}
	flags, rest := b[0], b[1:]
	if flags&flagTombstone != 0 {
		var r row
		rest, ok := r.cutACL(flags, rest)
		if !ok || flags&^flagACL != flagTombstone || len(rest) != 0 {
			return row{}, errRow
		}
		return r, nil
	}
	age, n := uvarint(rest)
	if n <= 0 || age >= uint64(rev) {
		return row{}, errRow
	}
	rest = rest[n:]
	version, n := uvarint(rest)
	if n <= 0 || version == 0 || int64(version) < 0 {
		return row{}, errRow
	}
	rest = rest[n:]
	r := row{createRev: rev - core.Rev(age), version: int64(version)}
	if flags&flagLease != 0 {
		if len(rest) < 8 {
			return row{}, errRow
		}
		r.lease = core.LeaseID(binary.BigEndian.Uint64(rest))
		if r.lease == 0 {
			return row{}, errRow
		}
		rest = rest[8:]
	}
	if flags&flagTime != 0 {
		time, n := uvarint(rest)
		if r.time = int64(time); n <= 0 || r.time <= 0 {
			return row{}, errRow
		}
		rest = rest[n:]
	}
	var ok bool
	if r.value, ok = r.cutACL(flags, rest); !ok {
		return row{}, errRow
	}
	return r, nil
}

// decodeBare tells of a row only whether it is a version or a tombstone.
func decodeBare(b []byte, _ core.Rev) (row, error) {
	switch {
	case len(b) == 0 || b[0]&^knownFlags != 0:
		return row{}, errRow
	case b[0]&flagTombstone != 0:
		return row{}, nil
	}
	return row{version: 1}, nil
}

// cutACL reads the ACL if there is one, and returns what follows.
func (r *row) cutACL(flags byte, b []byte) (rest []byte, ok bool) {
	if flags&flagACL == 0 {
		return b, true
	}
	acl, n := uvarint(b)
	if n <= 0 || acl == 0 || acl > math.MaxUint32 {
		return nil, false
	}
	r.acl = core.ZnodeACL(acl)
	return b[n:], true
}

// kv makes a KV of its own memory from a row.
func (r *row) kv(key []byte, rev core.Rev) *core.KV {
	kv := core.NewKV(key, r.value)
	r.show(kv, kv.Key, kv.Value, rev)
	return kv
}

// fill writes the row into kv, whose key and value will be bytes.
func (r *row) fill(kv *core.KV, bytes, key []byte, rev core.Rev) *core.KV {
	n := copy(bytes, key)
	m := copy(bytes[n:], r.value)
	r.show(kv, bytes[:n:n], bytes[n:n+m:n+m], rev)
	return kv
}

// show has kv be the row, with that key and value, which it shares.
func (r *row) show(kv *core.KV, key, value []byte, rev core.Rev) {
	kv.Key, kv.Value = key, nil
	if len(value) > 0 {
		kv.Value = value
	}
	kv.CreateRev, kv.ModRev = r.createRev, rev
	kv.Version, kv.Lease, kv.Time, kv.ACL = r.version, r.lease, r.time, r.acl
}

// change is an r row without its revision. key aliases the row.
type change struct {
	deleted bool
	// prevRev is the revision of the version that the change superseded, zero if
	// the key did not exist; prevLen is the length of that version's d row.
	prevRev core.Rev
	prevLen int
	// len is the length of the change's own d row.
	len int
	key []byte
}

// An r row's value: kind, prevRev, prevLen unless prevRev is zero, len, key. The
// numbers are uvarints. The lengths save the collector and the catch-up of
// watches from reading rows just to know how big they are.
const (
	changePut    = 0
	changeDelete = 1
)

func (c *change) encodedLen() int {
	n := 1 + uvarintLen(uint64(c.prevRev)) + uvarintLen(uint64(c.len)) + len(c.key)
	if c.prevRev != 0 {
		n += uvarintLen(uint64(c.prevLen))
	}
	return n
}

func (c *change) append(dst []byte) []byte {
	kind := byte(changePut)
	if c.deleted {
		kind = changeDelete
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(c.prevRev))
	if c.prevRev != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.prevLen))
	}
	dst = binary.AppendUvarint(dst, uint64(c.len))
	return append(dst, c.key...)
}

// decodeChange decodes the r row b of revision rev, which is positive.
func decodeChange(b []byte, rev core.Rev) (change, error) {
	if len(b) == 0 || b[0] > changeDelete {
		return change{}, errRow
	}
	c := change{deleted: b[0] == changeDelete}
	d := decoder{b: b[1:]}
	c.prevRev = core.Rev(d.uvarint())
	if c.prevRev != 0 {
		c.prevLen = int(d.uvarint())
	}
	c.len = int(d.uvarint())
	if d.bad || c.prevRev < 0 || c.prevRev >= rev || c.prevLen < 0 || c.len <= 0 {
		return change{}, errRow
	}
	c.key = d.b
	return c, nil
}

// decoder reads uvarints until one fails; then it is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// uvarint is binary.Uvarint with a shorter way for one byte, as most are.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// rowOverhead is what a version costs besides its key and its row, for the
// logical size: the ends of its keys and its r row's numbers.
const rowOverhead = 64

// logicalSize is what a version of a key of keyLen bytes, with a d row of rowLen,
// adds to the size of the store.
func logicalSize(keyLen, rowLen int) int64 { return int64(rowOverhead + keyLen + rowLen) }

// rowError says where a row is that does not decode.
func rowError(table string, key []byte, err error) error {
	return fmt.Errorf("mvcc: %s row %q: %w", table, key, err)
}
