package raftlog

import "encoding/binary"

// scanner finds the batches of a segment, whose bytes it is given. It never
// panics and never allocates more than the batches take, whatever the bytes are.
type scanner struct {
	data    []byte
	seed    uint32
	segment uint32
	// oldest says that no segment precedes this one: its start record may have
	// any sequence and epoch.
	oldest bool

	epoch uint32 // of the last batch found, here or in the segment before
	seq   uint64
	off   int64    // where the last batch ends and the next one would begin
	batch []record // the last batch found; valid until next is called
	bad   int64    // the first record that next could not accept
}

// next finds the next batch.
func (s *scanner) next() bool {
	s.batch = s.batch[:0]
	for off := s.off; ; {
		s.bad = off
		if off > int64(len(s.data)) {
			return false
		}
		r, ok := decodeRecord(s.data[off:], s.seed, s.segment)
		r.off = off
		if !ok || !s.follows(&r) {
			return false
		}
		s.batch = append(s.batch, r)
		off += r.size()
		if r.flags&flagLast != 0 {
			s.off, s.seq, s.epoch = off, r.seq, r.epoch
			return true
		}
	}
}

// follows says whether r is the record that comes next (see the package doc).
func (s *scanner) follows(r *record) bool {
	if (r.kind == kindStart) != (r.off == firstRecord) {
		return false
	}
	if len(s.batch) > 0 {
		first := &s.batch[0]
		return r.seq == first.seq && r.epoch == first.epoch && r.behind == first.behind
	}
	if s.oldest && r.kind == kindStart {
		return true
	}
	return r.seq == s.seq+1 &&
		(r.epoch == s.epoch || r.epoch == s.epoch+1 && (r.kind == kindStart || r.kind == kindMark))
}

// trace is what lies behind the last batch of a segment.
type trace uint8

const (
	traceNone  trace = iota // nothing of a later batch
	traceTorn               // parts of batches that need not have been durable
	traceProof              // a record that proves that a lost batch was durable
)

// behind looks for records of batches after the last one found.
func (s *scanner) behind() trace {
	found := traceNone
	for off := s.off; off+recordHeaderBytes <= int64(len(s.data)); off += recordAlign {
		// The number is looked at here too: this loop passes over whole segments.
		if binary.LittleEndian.Uint32(s.data[off+12:]) != s.segment {
			continue
		}
		r, _, ok := decodeHeader(s.data[off:], s.seed, s.segment)
		if !ok || r.epoch < s.epoch || r.seq <= s.seq {
			continue
		}
		if r.durableSeq() > s.seq {
			return traceProof
		}
		found = traceTorn
	}
	return found
}
