package raftlog

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// maxInflation is how much larger a record can be than raft counts for its
// entry: 56 bytes for the 4 of one with no data, index 1 and term 1.
const maxInflation = 14

// reader gathers the entries [next, hi) of one Entries call.
type reader struct {
	runs    []run // on disk; their segments are held
	diskEnd uint64
	recent  []*raftpb.Entry // what follows them, from memory

	seed    uint32
	next    uint64
	entries []*raftpb.Entry
	size    uint64 // as raft counts, of entries
	maxSize uint64
	full    bool
}

// Entries implements raft.Storage. The newest entries come from memory, older
// ones from disk; those are read in pieces of 64 KiB. An index beyond the last
// is raft.ErrUnavailable, where raft's own MemoryStorage panics.
func (l *Log) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	r := reader{seed: seedOf(l.dir.logID), next: lo, maxSize: maxSize}
	if err := l.plan(&r, hi); err != nil {
		return nil, err
	}
	defer func() {
		for i := range r.runs {
			l.keeper.release(r.runs[i].segment)
		}
	}()
	for i := range r.runs {
		end := r.diskEnd
		if i+1 < len(r.runs) {
			end = min(end, r.runs[i+1].index)
		}
		if r.full {
			break
		}
		if err := r.read(&r.runs[i], end); err != nil {
			return nil, err
		}
	}
	if len(r.runs) == 0 {
		// The common case: nothing to join.
		return r.recent, nil
	}
	for _, e := range r.recent {
		if !r.add(e) {
			break
		}
	}
	return r.entries, nil
}

// plan notes where the entries up to hi are, as far as maxSize can reach.
func (l *Log) plan(r *reader, hi uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &l.index
	switch lo := r.next; {
	case errors.Is(l.err, ErrClosed):
		return l.err
	case lo <= x.base().index:
		return raft.ErrCompacted
	case hi > x.last+1:
		return raft.ErrUnavailable
	case lo >= hi:
		return nil
	}
	recent := min(hi, max(r.next, l.ring.first(x.last+1)))
	r.diskEnd = recent
	if r.next < recent {
		var bytes uint64
		for n := x.runOf(r.next); n < len(x.runs) && x.runs[n].index < recent; n++ {
			if bytes/maxInflation > r.maxSize {
				r.diskEnd = x.runs[n].index
				return nil
			}
			if len(r.runs) > 0 {
				// The first run does not count: next may be the last one in it.
				bytes += uint64(x.runs[n].live)
			}
			x.runs[n].segment.refs.Add(1)
			r.runs = append(r.runs, x.runs[n])
		}
	}
	if recent < hi {
		r.recent = l.ring.slice(recent, hi, r.maxSize)
	}
	return nil
}

// add takes the next entry, if maxSize has room for it or it is the first.
func (r *reader) add(e *raftpb.Entry) bool {
	r.size += raftSize(e)
	if r.size > r.maxSize && len(r.entries) > 0 {
		r.full = true
		return false
	}
	r.entries = append(r.entries, e)
	r.next++
	return true
}

// diskEntry is an entry with room for what its fields point to.
type diskEntry struct {
	entry       raftpb.Entry
	index, term uint64
	kind        raftpb.EntryType
}

// read takes the entries [next, end) from a run.
func (r *reader) read(from *run, end uint64) error {
	buf := make([]byte, from.size)
	if _, err := from.segment.file.ReadAt(buf, from.off); err != nil {
		return fmt.Errorf("raft log %s: reading at offset %d: %w", from.segment.path, from.off, err)
	}
	slab := make([]diskEntry, 0, end-r.next)
	for off := int64(0); r.next < end; {
		rec, ok := decodeRecord(buf[min(off, from.size):], r.seed, from.segment.number)
		if !ok || rec.kind == kindEntry && rec.index > r.next {
			return &CorruptError{from.segment.path, from.off + off, "checksum mismatch"}
		}
		off += rec.size()
		if rec.kind != kindEntry || rec.index < r.next {
			continue
		}
		slab = append(slab, diskEntry{index: rec.index, term: rec.term, kind: raftpb.EntryType(rec.entryType)})
		if !r.add(slab[len(slab)-1].fill(&rec)) {
			return nil
		}
	}
	return nil
}

func (d *diskEntry) fill(rec *record) *raftpb.Entry {
	d.entry.Index, d.entry.Term = &d.index, &d.term
	if rec.flags&flagHasType != 0 {
		d.entry.Type = &d.kind
	}
	if rec.flags&flagHasData != 0 {
		d.entry.Data = rec.data
	}
	return &d.entry
}
