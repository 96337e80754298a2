package peer

import (
	"sync"

	"google.golang.org/protobuf/proto"
)

// maxExpress bounds what a sender writes itself: what a lone write is sent in, and not what
// takes the kernel long to copy.
const maxExpress = 16 << 10

// express is the way around the pump: a sender writes messages itself if nothing is in
// front of them, and never waits. To wake the pump for them costs more than to write them,
// and takes longer.
//
// Who writes to the connection, be it the pump, holds writing: frames must not get into
// each other.
type express struct {
	// raw writes what there is room for; nil if there is no such way. It and generation,
	// which tells connections apart, are the outbox's, under its mu.
	raw        func(b []byte) int
	generation uint64

	writing sync.Mutex
	frames  []byte // scratch, under writing
	// rest is of frames that were begun, and comes before all others. Under mu, and only
	// who holds writing changes it.
	rest []byte
}

// send takes messages in, in order. If it reports false, they were dropped.
func (o *outbox) send(messages []proto.Message, counted *traffic) bool {
	items := make([]item, 0, 2)
	size := 0
	for _, m := range messages {
		it := item{kind: frameMessage, message: m, size: headerSize + proto.Size(m)}
		items, size = append(items, it), size+it.size
	}
	if raw, generation := o.enter(size); raw != nil {
		o.write(raw, generation, items, counted)
		return true
	}
	return o.put(items...)
}

// enter takes writing for a sender, if there is nothing in front of so many bytes, and the
// way there is.
func (o *outbox) enter(size int) (raw func([]byte) int, generation uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isOpen || !o.asleep || o.raw == nil || size > maxExpress || len(o.rest) > 0 || !o.writing.TryLock() {
		return nil, 0
	}
	o.owed = true
	return o.raw, o.generation
}

// write writes messages, and leaves to the pump what there was no room for. The caller has
// entered.
func (o *outbox) write(raw func([]byte) int, generation uint64, items []item, counted *traffic) {
	defer o.writing.Unlock()
	o.frames = o.frames[:0]
	for i := range items {
		var err error
		if o.frames, err = appendMessage(o.frames, items[i].message); err != nil {
			o.put(items[i:]...) // the pump ends the connection for it
			break
		}
		counted.sentMessages.Add(1)
	}
	n := raw(o.frames)
	counted.sentBytes.Add(uint64(n))
	if n == len(o.frames) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.generation == generation { // else it is lost, with the connection
		o.rest = append(o.rest[:0], o.frames[n:]...)
		o.rouse()
	}
}

// begun is what the pump writes before anything else. The pump holds writing.
func (o *outbox) begun() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := o.rest
	o.rest = nil
	return rest
}
