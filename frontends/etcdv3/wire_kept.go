package etcdv3

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"

	"github.com/triglot/triglot/core"
)

// What streams share of the change that they all send: the event's bytes, and if they
// have given the watch the same number, as clients do that have one watch a stream, the
// whole response. It is kept with the change.

// keptEvents are the two encodings of one change, each made when it is needed for the
// second time: most changes have one reader.
type keptEvents struct {
	plain, withPrev atomic.Pointer[keptEvent]
}

// keptEvent is an event's field of a response, tag and all.
type keptEvent struct {
	field mem.BufferSlice
	size  int
	first atomic.Pointer[keptResponse]
}

// keptResponse is a response with that event alone, to whoever has all else in common
// with the first.
type keptResponse struct {
	clusterID, memberID, term uint64
	rev                       core.Rev
	watchID                   int64
	fragment                  bool

	out  mem.BufferSlice
	size int
}

// keptEventOf returns what is kept of a change, nil if nobody else is known to need it.
func keptEventOf(c *core.Change, prev bool) *keptEvent {
	if c.Memo == nil {
		return nil
	}
	kept, ok := c.Memo.Kept().(*keptEvents)
	if !ok {
		c.Memo.Keep(new(keptEvents))
		return nil
	}
	form := &kept.plain
	if prev {
		form = &kept.withPrev
	}
	if e := form.Load(); e != nil {
		return e
	}
	e := &keptEvent{field: encodeEvent(c, prev)}
	e.size = e.field.Len()
	form.Store(e) // if another stream was faster, the same once more
	return e
}

// encodedEvent is an event's field of a response, made once for all who have the change
// from the same place.
func encodedEvent(c *core.Change, prev bool) mem.BufferSlice {
	if e := keptEventOf(c, prev); e != nil {
		return e.field
	}
	return encodeEvent(c, prev)
}

// response encodes m, whose only event e is.
func (e *keptEvent) response(m *eventsMessage) (out mem.BufferSlice, size int) {
	first := e.first.Load()
	if first != nil && first.is(m) {
		return first.out, first.size
	}
	out, size = e.frame(m)
	if first == nil {
		e.first.Store(&keptResponse{
			clusterID: m.clusterID, memberID: m.memberID, term: m.term, rev: m.rev,
			watchID: m.watchID, fragment: m.fragment, out: out, size: size,
		})
	}
	return out, size
}

// is reports whether r is what m stands for, the event aside.
func (r *keptResponse) is(m *eventsMessage) bool {
	return r.watchID == m.watchID && r.rev == m.rev && r.term == m.term &&
		r.memberID == m.memberID && r.clusterID == m.clusterID && r.fragment == m.fragment
}

// maxHead is the greatest size of what precedes the events: a header of four numbers
// with its tag and length, a number, and a bool.
const maxHead = 2 + 4*(tagSize+10) + tagSize + 10 + 2

// framed is a response of two buffers in one piece of memory.
type framed struct {
	buffers [2]mem.Buffer
	head    mem.SliceBuffer
	bytes   [maxHead]byte
}

// frame puts what is m's own in front of the event.
func (e *keptEvent) frame(m *eventsMessage) (out mem.BufferSlice, size int) {
	f := new(framed)
	f.head = m.appendHead(f.bytes[:0])
	out = append(f.buffers[:0], &f.head)
	return append(out, e.field...), len(f.head) + e.size
}
