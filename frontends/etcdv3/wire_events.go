package etcdv3

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/mem"

	"github.com/triglot/triglot/core"
)

// The encoding of watch responses with events. An event that several streams send is
// encoded once, and they share the bytes (wire_kept.go); of a large value even these are
// the store's own: grpc-go writes a message from several buffers. A response with several
// events is one buffer, but for the large ones.

const (
	// sharedEvent is the size from which the bytes of an event are not copied into a
	// response of several.
	sharedEvent = 1 << 10
	// pooledEvents is up to which size the buffer of a response comes from a pool: what
	// a slow client keeps us from sending must not be larger than it is.
	pooledEvents = 32 << 10
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
func marshalEvents(m *eventsMessage) (out mem.BufferSlice, size int) {
	if len(m.changes) == 1 {
		c := &m.changes[0]
		if e := keptEventOf(c, withPrev(c, m.prevKV)); e != nil {
			return e.response(m)
		}
	}
	size, shared := sizeEventsMessage(m), 0
	for i := range m.changes {
		if n := sizeNested(sizeChange(&m.changes[i], m.prevKV)); n >= sharedEvent {
			shared += n
		}
	}
	if shared == 0 && size <= pooledEvents {
		pool := poolFor(size)
		buf := pool.Get(size)
		*buf = m.appendHead((*buf)[:0])
		for i := range m.changes {
			*buf = appendEventField(*buf, &m.changes[i], m.prevKV)
		}
		return mem.BufferSlice{mem.NewBuffer(buf, pool)}, size
	}
	a := assembly{own: m.appendHead(make([]byte, 0, size-shared))}
	for i := range m.changes {
		c := &m.changes[i]
		if n := sizeNested(sizeChange(c, m.prevKV)); n < sharedEvent {
			a.own = appendEventField(a.own, c, m.prevKV)
		} else {
			a.share(encodedEvent(c, withPrev(c, m.prevKV)))
		}
	}
	return a.finish(), size
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

// cut makes a buffer of the message's own bytes so far. What follows goes into the room
// behind them.
func (a *assembly) cut() {
	if n := len(a.own); n > 0 {
		a.buffers = append(a.buffers, mem.SliceBuffer(a.own[:n:n]))
		a.own = a.own[n:]
	}
}

func (a *assembly) finish() mem.BufferSlice {
	a.cut()
	return a.buffers
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
	a.share(mem.BufferSlice{mem.SliceBuffer(kv.Value)})
	a.own = appendVersionTail(a.own, kv)
}
