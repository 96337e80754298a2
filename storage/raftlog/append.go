package raftlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// maxIdleBuffer is how much of the writer's buffer is kept after a large batch.
const maxIdleBuffer = 4 << 20

// writer appends batches to the active segment.
type writer struct {
	seed    uint32
	segment *segment
	seq     uint64 // of the last batch
	epoch   uint32
	state   hardState // the last one written
	asked   bool      // the keeper was asked for the segment after this one

	// buf is what is written next: whole pages once padded, the first of which
	// begins at off. Between batches it holds the last page as far as it is used,
	// so that the write never makes the system read a page first.
	buf []byte
	off int64

	unsynced      uint32 // batches written since the last sync
	unsyncedBytes int
	scratch       [startBytes]byte
}

// end is where the next batch begins.
func (w *writer) end() int64 { return w.off + int64(len(w.buf)) }

// batch is what one write consists of. Its parts take effect in this order.
type batch struct {
	resets  bool
	reset   position
	state   hardState // written if it is not the last one written
	entries []*raftpb.Entry
	mark    bool
}

// Append writes hs, unless it is nil, empty or unchanged, and entries, in one
// write, and with sync one fdatasync; then all that was ever appended is
// durable. Without sync a crash may lose the batch, and nothing but a HardState
// is not even written before the next batch or Close.
//
// entries have consecutive indexes; the first may be at or below the last index,
// which replaces all from there on. The log keeps the entries, data included, as
// raft.Storage does: nobody may change them from now on.
//
// After an error of the disk nothing of the batch counts, though it may be there
// after a restart, and all later Appends fail too: the process must stop. An
// Append that does not fit the log (a gap, an entry already truncated) is refused
// without a consequence.
func (l *Log) Append(hs *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.check(entries); err != nil {
		return err
	}
	b := batch{state: l.state, entries: entries}
	if given := (hardState{hs.GetTerm(), hs.GetVote(), hs.GetCommit()}); given != (hardState{}) {
		b.state = given
	}
	switch {
	case len(entries) > 0, sync && b.state != l.w.state:
		return l.write(&b, sync)
	case sync && l.w.unsynced > 0:
		return l.sync()
	case b.state != l.state:
		l.mu.Lock()
		l.state = b.state
		l.mu.Unlock()
	}
	return nil
}

// check says whether entries can be appended.
func (l *Log) check(entries []*raftpb.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("nothing can be appended: %w", l.err)
	}
	if len(entries) == 0 {
		return nil
	}
	first, base, last := entries[0].GetIndex(), l.index.base().index, l.index.last
	if first <= base || first > last+1 {
		return fmt.Errorf("raft log %s: entry %d cannot be appended to entries %d to %d", l.dir.path, first, base+1, last)
	}
	for i, e := range entries {
		if e.GetIndex() != first+uint64(i) {
			return fmt.Errorf("raft log %s: entry %d appended behind entry %d", l.dir.path, e.GetIndex(), first+uint64(i)-1)
		}
		if len(e.GetData()) > maxDataBytes {
			return fmt.Errorf("raft log %s: entry %d has %d bytes, the limit is %d", l.dir.path, e.GetIndex(), len(e.GetData()), maxDataBytes)
		}
	}
	return nil
}

// Reset empties the log, durably: it goes on after index, whose entry had the
// given term. The HardState keeps its term and vote, and commit is raised to
// index. Should its term be below the given one, which a log without a HardState
// has, the term is raised and there is no vote in it.
func (l *Log) Reset(index, term uint64) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.check(nil); err != nil {
		return err
	}
	state := l.state
	if state.term < term {
		state.term, state.vote = term, 0
	}
	state.commit = max(state.commit, index)
	return l.write(&batch{resets: true, reset: position{index, term}, state: state}, true)
}

// write appends b, which is not empty, to the active segment, or to the next
// one, and publishes it.
func (l *Log) write(b *batch, sync bool) error {
	w := &l.w
	size, records := w.measure(b)
	rotate := w.segment == nil || w.end()+size > w.segment.size
	if rotate {
		if err := l.rotate(); err != nil {
			return l.fail(err)
		}
	}
	from := w.encode(b, records)
	// A segment's start must be durable before the segments that it makes
	// unnecessary may go.
	if err := l.flush(sync || rotate); err != nil {
		return err
	}
	w.seq++
	w.state = b.state
	l.publish(b, from, rotate)
	if !w.asked && w.end() > w.segment.size/4 {
		w.asked = true
		l.keeper.prepare()
	}
	return nil
}

// rotate makes the next segment the active one and puts its start record into
// the buffer.
func (l *Log) rotate() error {
	w := &l.w
	if w.unsynced > 0 {
		// Only the active segment may hold what is not durable.
		if err := l.sync(); err != nil {
			return err
		}
	}
	next, err := l.keeper.take()
	if err != nil {
		return fmt.Errorf("raft log %s: no next segment: %w", l.dir.path, err)
	}
	previousEnd := w.end()
	l.mu.Lock()
	last := position{l.index.last, l.index.term(l.index.last)}
	l.mu.Unlock()
	next.start = last.index
	w.segment, w.off, w.buf, w.asked = next, firstRecord, w.buf[:0], false
	r := w.record(kindStart)
	r.index, r.term = last.index, last.term
	r.data = binary.LittleEndian.AppendUint64(appendState(w.scratch[:0], w.state), uint64(previousEnd))
	w.buf = appendRecord(w.buf, w.seed, &r)
	return nil
}

// measure is the space that b takes, and the number of its records.
func (w *writer) measure(b *batch) (bytes int64, records int) {
	records = len(b.entries)
	for _, e := range b.entries {
		bytes += recordBytes(len(e.GetData()))
	}
	if b.resets {
		records, bytes = records+1, bytes+recordBytes(0)
	}
	if b.state != w.state {
		records, bytes = records+1, bytes+recordBytes(stateBytes)
	}
	if b.mark {
		records, bytes = records+1, bytes+recordBytes(0)
	}
	return bytes, records
}

// record is a record of the batch that is being built.
func (w *writer) record(k kind) record {
	return record{kind: k, segment: w.segment.number, epoch: w.epoch, behind: w.unsynced, seq: w.seq + 1}
}

// encode appends b, of so many records, to the buffer. It returns the offset of
// the first entry.
func (w *writer) encode(b *batch, records int) (from int64) {
	put := func(r *record) {
		if records--; records == 0 {
			r.flags |= flagLast
		}
		w.buf = appendRecord(w.buf, w.seed, r)
	}
	if b.resets {
		r := w.record(kindReset)
		r.index, r.term = b.reset.index, b.reset.term
		put(&r)
	}
	if b.state != w.state {
		r := w.record(kindState)
		r.data = appendState(w.scratch[:0], b.state)
		put(&r)
	}
	from = w.end()
	r := w.record(kindEntry)
	for _, e := range b.entries {
		r.index, r.term, r.data = e.GetIndex(), e.GetTerm(), e.GetData()
		r.entryType, r.flags = uint8(e.GetType()), 0
		if e.Type != nil {
			r.flags |= flagHasType
		}
		if e.Data != nil {
			r.flags |= flagHasData
		}
		put(&r)
	}
	if b.mark {
		r := w.record(kindMark)
		put(&r)
	}
	return from
}

// flush writes the buffer and keeps its last page.
func (l *Log) flush(sync bool) error {
	w := &l.w
	used := int64(len(w.buf))
	w.buf = append(w.buf, zeros[:pageUp(used)-used]...)
	start := time.Now()
	if _, err := w.segment.file.WriteAt(w.buf, w.off); err != nil {
		return l.fail(fmt.Errorf("raft log %s: writing at offset %d: %w", w.segment.path, w.off, err))
	}
	if l.onWrite != nil {
		l.onWrite(time.Since(start))
	}
	w.segment.size = max(w.segment.size, w.end())
	w.unsynced++
	w.unsyncedBytes += len(w.buf)
	last := pageDown(used)
	kept := copy(w.buf, w.buf[last:used])
	w.buf, w.off = w.buf[:kept], w.off+last
	if cap(w.buf) > maxIdleBuffer {
		w.buf = append([]byte(nil), w.buf...)
	}
	if !sync {
		return nil
	}
	return l.sync()
}

// sync makes durable what was written. It is never tried again after a failure.
func (l *Log) sync() error {
	w := &l.w
	start := time.Now()
	if !l.noSync {
		if err := w.segment.file.SyncData(); err != nil {
			return l.fail(&syncError{w.segment.path, err})
		}
	}
	if l.onSync != nil {
		l.onSync(time.Since(start), w.unsyncedBytes)
	}
	w.unsynced, w.unsyncedBytes = 0, 0
	return nil
}

// publish makes what was written visible to readers.
func (l *Log) publish(b *batch, from int64, rotated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.w.segment
	if rotated {
		l.segments = append(l.segments, s)
	}
	l.state = b.state
	if b.resets {
		l.index.reset(b.reset)
		l.ring.cut(0)
		l.retireLocked(len(l.segments) - 1)
	}
	for _, e := range b.entries {
		size := recordBytes(len(e.GetData()))
		l.index.add(position{e.GetIndex(), e.GetTerm()}, s, from, size)
		l.ring.push(e)
		from += size
	}
}
