package raftlog

import (
	"math/bits"

	"go.etcd.io/raft/v3/raftpb"
)

// entryOverhead is what an entry in memory takes beside its data, in bytes.
const entryOverhead = 128

// ring holds the newest entries in memory, bounded in bytes: consecutive
// indexes that end at the log's last one, or nothing.
type ring struct {
	limit int64
	bytes int64
	slots []*raftpb.Entry // a power of two
	head  int             // slot of the oldest
	count int
}

func entryBytes(e *raftpb.Entry) int64 { return int64(len(e.GetData())) + entryOverhead }

func (r *ring) at(i int) **raftpb.Entry { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

// push adds the entry that follows the newest, or replaces all from its index
// on. The newest entry is kept even if it alone exceeds the limit.
func (r *ring) push(e *raftpb.Entry) {
	r.cut(e.GetIndex())
	if r.count == len(r.slots) {
		r.grow()
	}
	*r.at(r.count) = e
	r.count++
	r.bytes += entryBytes(e)
	for r.bytes > r.limit && r.count > 1 {
		r.dropOldest()
	}
}

func (r *ring) grow() {
	slots := make([]*raftpb.Entry, max(64, 2*len(r.slots)))
	n := copy(slots, r.slots[r.head:])
	copy(slots[n:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}

func (r *ring) dropOldest() {
	slot := r.at(0)
	r.bytes -= entryBytes(*slot)
	*slot = nil
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.count--
}

// cut removes the entries from index on.
func (r *ring) cut(index uint64) {
	for r.count > 0 {
		slot := r.at(r.count - 1)
		if (*slot).GetIndex() < index {
			return
		}
		r.bytes -= entryBytes(*slot)
		*slot = nil
		r.count--
	}
}

// truncate removes the entries up to and including index.
func (r *ring) truncate(index uint64) {
	for r.count > 0 && (*r.at(0)).GetIndex() <= index {
		r.dropOldest()
	}
}

// first is the oldest index held, or beyond if there is none.
func (r *ring) first(beyond uint64) uint64 {
	if r.count == 0 {
		return beyond
	}
	return (*r.at(0)).GetIndex()
}

// slice is the entries [lo, hi), which are held, in a slice of the caller's: the
// first one, and as many more as raft counts maxSize bytes for in all.
func (r *ring) slice(lo, hi, maxSize uint64) []*raftpb.Entry {
	from := int(lo - r.first(lo))
	count, size := 1, raftSize(*r.at(from))
	for ; count < int(hi-lo); count++ {
		if size += raftSize(*r.at(from + count)); size > maxSize {
			break
		}
	}
	entries := make([]*raftpb.Entry, count)
	for i := range entries {
		entries[i] = *r.at(from + i)
	}
	return entries
}

// raftSize is what raft counts for an entry: the length of its protobuf
// encoding. proto.Size says the same, but this runs under a lock.
func raftSize(e *raftpb.Entry) uint64 {
	size := 0
	if e.Type != nil {
		size += 1 + varintBytes(uint64(*e.Type))
	}
	if e.Term != nil {
		size += 1 + varintBytes(*e.Term)
	}
	if e.Index != nil {
		size += 1 + varintBytes(*e.Index)
	}
	if e.Data != nil {
		size += 1 + varintBytes(uint64(len(e.Data))) + len(e.Data)
	}
	return uint64(size)
}

func varintBytes(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
