package etcdv3

import (
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/mem"

	"github.com/triglot/triglot/core"
)

// The encoding of watch responses with events. Small events are written into the
// response. The bytes of a large one are made once and shared by all streams that
// send it, and of a large value even these are the store's own: grpc-go writes a
// message from several buffers.

const (
	// sharedEvent is the size from which the encoding of an event is kept: below it,
	// writing it again costs less than to write it out of two places.
	sharedEvent = 1 << 10
	// sharedValue is the size from which a value is not copied.
	sharedValue = 4 << 10

	// eventsField is that of WatchResponse.events.
	eventsField = 11
)

func sizeVersion(kv *core.KV) int {
	if kv.Deleted() {
		return sizeBytes(kv.Key) + sizeVarint(uint64(kv.ModRev))
	}
	return sizeBytes(kv.Key) + sizeVarint(uint64(kv.CreateRev)) + sizeVarint(uint64(kv.ModRev)) +
		sizeVarint(uint64(kv.Version)) + sizeBytes(kv.Value) + sizeVarint(uint64(kv.Lease))
}

// appendVersionHead encodes kv but for its value and what follows that.
func appendVersionHead(b []byte, kv *core.KV) []byte {
	b = appendBytes(b, 1, kv.Key)
	if kv.Deleted() {
		return appendVarint(b, 3, uint64(kv.ModRev))
	}
	b = appendVarint(b, 2, uint64(kv.CreateRev))
	b = appendVarint(b, 3, uint64(kv.ModRev))
	b = appendVarint(b, 4, uint64(kv.Version))
	if len(kv.Value) > 0 {
		b = appendLength(b, 5, len(kv.Value))
	}
	return b
}

// appendVersionTail encodes what follows the value.
func appendVersionTail(b []byte, kv *core.KV) []byte {
	if kv.Deleted() {
		return b
	}
	return appendVarint(b, 6, uint64(kv.Lease))
}

func appendVersion(b []byte, kv *core.KV) []byte {
	b = appendVersionHead(b, kv)
	if !kv.Deleted() {
		b = append(b, kv.Value...)
	}
	return appendVersionTail(b, kv)
}

func sizeChange(c *core.Change, prevKV bool) int {
	n := sizeNested(sizeVersion(c.KV))
	if c.KV.Deleted() {
		n += sizeVarint(uint64(mvccpb.Event_DELETE))
	}
	if withPrev(c, prevKV) {
		n += sizeNested(sizeVersion(c.Prev))
	}
	return n
}

// appendChangeHead encodes what precedes the event's key.
func appendChangeHead(b []byte, c *core.Change) []byte {
	if c.KV.Deleted() {
		b = appendVarint(b, 1, uint64(mvccpb.Event_DELETE))
	}
	return appendLength(b, 2, sizeVersion(c.KV))
}

func appendChange(b []byte, c *core.Change, prevKV bool) []byte {
	b = appendVersion(appendChangeHead(b, c), c.KV)
	if withPrev(c, prevKV) {
		b = appendVersion(appendLength(b, 3, sizeVersion(c.Prev)), c.Prev)
	}
	return b
}

func (m *eventsMessage) sizeHeader() int {
	return sizeVarint(m.clusterID) + sizeVarint(m.memberID) + sizeVarint(uint64(m.rev)) + sizeVarint(m.term)
}

func sizeEventsMessage(m *eventsMessage) int {
	n := m.sizeHead()
	for i := range m.changes {
		n += sizeNested(sizeChange(&m.changes[i], m.prevKV))
	}
	return n
}

// sizeHead is the size of all but the events.
func (m *eventsMessage) sizeHead() int {
	return sizeNested(m.sizeHeader()) + sizeVarint(uint64(m.watchID)) + sizeBool(m.fragment)
}

func (m *eventsMessage) appendHead(b []byte) []byte {
	b = appendLength(b, 1, m.sizeHeader())
	b = appendVarint(b, 1, m.clusterID)
	b = appendVarint(b, 2, m.memberID)
	b = appendVarint(b, 3, uint64(m.rev))
	b = appendVarint(b, 4, m.term)
	b = appendVarint(b, 2, uint64(m.watchID))
	return appendBool(b, 7, m.fragment)
}

// marshalEvents encodes m. Nothing of it is freed: the buffers that are shared live as
// long as somebody has them, and the rest is small.
func marshalEvents(m *eventsMessage, size int) mem.BufferSlice {
	if size <= smallBuffer {
		buf := small.Get(size)
		*buf = m.appendHead((*buf)[:0])
		for i := range m.changes {
			*buf = appendEventField(*buf, &m.changes[i], m.prevKV)
		}
		return mem.BufferSlice{mem.NewBuffer(buf, small)}
	}
	out := assembly{buffers: make(mem.BufferSlice, 0, 4)}
	out.own = m.appendHead(make([]byte, 0, m.sizeHead()))
	for i := range m.changes {
		c := &m.changes[i]
		if n := sizeChange(c, m.prevKV); n < sharedEvent {
			out.own = appendEventField(out.own, c, m.prevKV)
		} else {
			out.share(encodedEvent(c, withPrev(c, m.prevKV)))
		}
	}
	return out.finish()
}

func appendEventField(b []byte, c *core.Change, prevKV bool) []byte {
	return appendChange(appendLength(b, eventsField, sizeChange(c, prevKV)), c, prevKV)
}

// assembly is a message in the making: buffers, and bytes of its own that follow them.
type assembly struct {
	buffers mem.BufferSlice
	own     []byte
}

// share adds buffers that are immutable.
func (a *assembly) share(buffers mem.BufferSlice) {
	a.cut()
	a.buffers = append(a.buffers, buffers...)
}

// cut makes a buffer of the message's own bytes so far.
func (a *assembly) cut() {
	if len(a.own) > 0 {
		a.buffers = append(a.buffers, mem.SliceBuffer(a.own))
		a.own = nil
	}
}

func (a *assembly) finish() mem.BufferSlice {
	a.cut()
	return a.buffers
}

// encodedEvents are the two encodings of one change, each made when it is first
// needed.
type encodedEvents struct {
	plain, withPrev atomic.Pointer[mem.BufferSlice]
}

// encodedEvent is an event's field of a response, tag and all. It is made once for
// all who have the change from the same place.
func encodedEvent(c *core.Change, prev bool) mem.BufferSlice {
	if c.Memo == nil {
		return encodeEvent(c, prev)
	}
	kept, ok := c.Memo.Kept().(*encodedEvents)
	if !ok {
		kept = c.Memo.Keep(new(encodedEvents)).(*encodedEvents)
	}
	form := &kept.plain
	if prev {
		form = &kept.withPrev
	}
	if made := form.Load(); made != nil {
		return *made
	}
	made := encodeEvent(c, prev)
	form.Store(&made) // if another stream was faster, the same once more
	return made
}

// encodeEvent encodes an event's field of a response. Large values are the store's.
func encodeEvent(c *core.Change, prev bool) mem.BufferSlice {
	size := sizeNested(sizeChange(c, prev)) - notCopied(c.KV)
	if prev {
		size -= notCopied(c.Prev)
	}
	out := assembly{own: make([]byte, 0, size)}
	out.own = appendChangeHead(appendLength(out.own, eventsField, sizeChange(c, prev)), c)
	out.version(c.KV)
	if prev {
		out.own = appendLength(out.own, 3, sizeVersion(c.Prev))
		out.version(c.Prev)
	}
	return out.finish()
}

// notCopied is how many bytes of kv a message refers to.
func notCopied(kv *core.KV) int {
	if len(kv.Value) < sharedValue || kv.Deleted() {
		return 0
	}
	return len(kv.Value)
}

func (a *assembly) version(kv *core.KV) {
	if notCopied(kv) == 0 {
		a.own = appendVersion(a.own, kv)
		return
	}
	a.own = appendVersionHead(a.own, kv)
	rest := a.own[len(a.own):] // the room that is left
	a.share(mem.BufferSlice{mem.SliceBuffer(kv.Value)})
	a.own = appendVersionTail(rest, kv)
}
