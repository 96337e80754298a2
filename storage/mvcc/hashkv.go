package mvcc

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/triglot/triglot/core"
)

// HashAt sums up what a read of all keys at a revision shows, zero being the view's
// own: the same on every member, however far history is compacted or collected.
//
// It is a sum of a cryptographic hash of each version, so that the order of the rows
// does not matter.
func (r *Reader) HashAt(pace Pace, at core.Rev) (uint64, error) {
	var sum uint64
	var err error
	var scratch []byte
	rows := 0
	all := core.Interval{Key: []byte{0}, End: core.FromKey}
	walked := r.walk(all, at, wholeRows, func(c *cursor) bool {
		if rows++; rows%pacedRows == 0 {
			if err = pace(); err != nil {
				return false
			}
		}
		scratch = appendHashed(scratch[:0], c)
		digest := sha256.Sum256(scratch)
		sum += binary.BigEndian.Uint64(digest[:])
		return true
	})
	if err != nil {
		return 0, err
	}
	return sum, walked
}

// appendHashed appends all that a version says, in a form that no other has.
func appendHashed(dst []byte, c *cursor) []byte {
	if c.row.acl != 0 { // no key is of no length: nothing else begins so
		dst = binary.AppendUvarint(append(dst, 0), uint64(c.row.acl))
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.key)))
	dst = append(dst, c.key...)
	for _, n := range [...]int64{int64(c.rev), int64(c.row.createRev), c.row.version, int64(c.row.lease), c.row.time} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return append(dst, c.row.value...)
}

// HashRow is what a row of a table without versions adds to a sum.
func HashRow(key, value []byte) uint64 {
	b := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(key)+len(value)), uint64(len(key)))
	b = append(append(b, key...), value...)
	digest := sha256.Sum256(b)
	return binary.BigEndian.Uint64(digest[:])
}
