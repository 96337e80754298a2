package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// recovery reads a log from its segments: what Open finds.
type recovery struct {
	dir *directory

	segments []*segment // started, in order; the last is where writing goes on
	ready    []*segment // prepared only
	index    index
	state    hardState
	seq      uint64
	epoch    uint32
	end      int64 // of the last segment's batches
	bad      int64 // the first record behind them that cannot be read
	// unproven is where the first batch begins that no later one proves durable,
	// in the last segment; pages holds what is there, from the page's start on.
	unproven int64
	pages    []byte
	torn     bool // something of a lost batch was left

	data []byte // of one segment, used again for the next
	scan scanner
}

// recoverLog reads the segments with the given numbers, which are consecutive.
// It opens their files; the caller closes them, also after an error.
func recoverLog(dir *directory, numbers []uint32) (*recovery, error) {
	r := &recovery{dir: dir}
	r.index.reset(position{})
	for _, number := range numbers {
		s, err := dir.open(number)
		if err != nil {
			return r, err
		}
		r.ready = append(r.ready, s)
	}
	for len(r.ready) > 0 {
		started, err := r.replay(r.ready[0])
		if err != nil {
			return r, err
		}
		if !started {
			break
		}
		r.segments = append(r.segments, r.ready[0])
		r.ready = r.ready[1:]
	}
	for i := range r.ready {
		if err := r.checkUnstarted(i); err != nil {
			return r, err
		}
	}
	if len(r.segments) == 0 && len(numbers) > 0 && numbers[0] != 1 {
		return r, &CorruptError{r.ready[0].path, firstRecord, "the start of the log cannot be read"}
	}
	return r, nil
}

// replay applies the batches of s. It reports false if s was never started.
func (r *recovery) replay(s *segment) (started bool, err error) {
	if err := r.load(s); err != nil {
		return false, err
	}
	sc := &r.scan
	unproven := int64(firstRecord)
	for sc.next() {
		if sc.batch[0].behind == 0 {
			unproven = sc.batch[0].off
		}
		for i := range sc.batch {
			if err := r.apply(s, &sc.batch[i]); err != nil {
				return false, err
			}
		}
	}
	if sc.off == firstRecord {
		return false, nil
	}
	found := sc.behind()
	if found == traceProof {
		return false, &CorruptError{s.path, sc.bad, "checksum mismatch"}
	}
	r.seq, r.epoch, r.end, r.bad = sc.seq, sc.epoch, sc.off, sc.bad
	r.torn = found == traceTorn
	r.unproven = unproven
	r.pages = append(r.pages[:0], r.data[pageDown(unproven):sc.off]...)
	return true, nil
}

// load reads all of s and points the scanner at it.
func (r *recovery) load(s *segment) error {
	// Whole pages, so that the padding of the last record is always there.
	size := pageUp(s.size)
	if int64(cap(r.data)) < size {
		r.data = make([]byte, size)
	}
	r.data = r.data[:size]
	n, err := s.file.ReadAt(r.data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("raft log %s: reading at offset %d: %w", s.path, n, err)
	}
	clear(r.data[n:])
	r.scan = scanner{
		data: r.data, seed: seedOf(r.dir.logID), segment: s.number,
		oldest: len(r.segments) == 0, epoch: r.epoch, seq: r.seq, off: firstRecord, batch: r.scan.batch,
	}
	return nil
}

// checkUnstarted makes sure that the i-th segment behind the last one that was
// started has not lost a batch, and does not follow one that has.
func (r *recovery) checkUnstarted(i int) error {
	s := r.ready[i]
	if err := r.load(s); err != nil {
		return err
	}
	switch r.scan.behind() {
	case traceNone:
		return nil
	case traceTorn:
		r.torn = true
		return nil
	case traceProof:
	}
	r.scan.next()
	first, ok := decodeRecord(r.data[firstRecord:], r.scan.seed, s.number)
	whole := ok && first.kind == kindStart && first.seq > r.seq+1
	switch {
	case whole && i > 0:
		return &CorruptError{r.ready[i-1].path, firstRecord, "checksum mismatch"}
	case whole && len(r.segments) > 0:
		return &CorruptError{r.segments[len(r.segments)-1].path, r.bad, "checksum mismatch"}
	}
	return &CorruptError{s.path, r.scan.bad, "checksum mismatch"}
}

// apply applies one record of s.
func (r *recovery) apply(s *segment, rec *record) error {
	corrupt := func(format string, args ...any) error {
		return &CorruptError{s.path, rec.off, fmt.Sprintf(format, args...)}
	}
	switch rec.kind {
	case kindStart:
		return r.applyStart(s, rec, corrupt)
	case kindEntry:
		if rec.index == 0 || rec.index > r.index.last+1 {
			return corrupt("entry %d follows entry %d", rec.index, r.index.last)
		}
		r.index.add(position{rec.index, rec.term}, s, rec.off, rec.size())
	case kindState:
		if len(rec.data) != stateBytes {
			return corrupt("a HardState of %d bytes", len(rec.data))
		}
		r.state = decodeState(rec.data)
	case kindReset:
		r.index.reset(position{rec.index, rec.term})
	case kindMark:
	default:
		return corrupt("unknown kind of record: %d", rec.kind)
	}
	return nil
}

func (r *recovery) applyStart(s *segment, rec *record, corrupt func(string, ...any) error) error {
	if len(rec.data) != startBytes {
		return corrupt("a start record of %d bytes", len(rec.data))
	}
	p := position{rec.index, rec.term}
	s.start = p.index
	if len(r.segments) == 0 {
		r.index.reset(p)
		r.state = decodeState(rec.data)
		return nil
	}
	if end := int64(binary.LittleEndian.Uint64(rec.data[stateBytes:])); end != r.end {
		previous := r.segments[len(r.segments)-1]
		return &CorruptError{previous.path, min(end, r.end), "checksum mismatch"}
	}
	if last := (position{r.index.last, r.index.term(r.index.last)}); p != last {
		return corrupt("the segment starts after entry %d of term %d, the one before it ends with entry %d of term %d",
			p.index, p.term, last.index, last.term)
	}
	r.state = decodeState(rec.data)
	return nil
}

// tailPath is the file in which the log ends.
func (r *recovery) tailPath() string {
	if n := len(r.segments); n > 0 {
		return r.segments[n-1].path
	}
	return r.dir.path
}

// close closes the files of all segments.
func (r *recovery) close() error {
	var err error
	for _, s := range append(r.segments, r.ready...) {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
