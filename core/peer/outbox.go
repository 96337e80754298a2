package peer

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"
)

// maxQueued bounds the bytes that wait to be sent to a peer: more than consensus has on
// its way to one (64 MiB, consensus.maxInflightBytes), so that only what is stuck
// overflows. One more item may exceed it, however large, or it could never be sent.
const maxQueued = 96 << 20

// itemOverhead is what an item costs beside its bytes, about.
const itemOverhead = 128

// errOverflow breaks a connection that takes too little.
var errOverflow = errors.New("it takes less than is sent to it: the queue was full")

// item is a frame that is to be sent: of a message, or else of head and body.
type item struct {
	kind       frameKind
	message    proto.Message
	head, body []byte
	size       int
	// done, unless nil, is called when the frame was written, or dropped.
	done func()
}

func (it *item) finish() {
	if it.done != nil {
		it.done()
	}
}

// outbox is the queue of what is to be sent on a connection, and then on the next one:
// nothing passes from one to the other. It is safe for concurrent use; the zero value
// is closed.
type outbox struct {
	mu    sync.Mutex
	items []item
	// bytes are those of items and of what was taken and not yet written.
	bytes  int
	isOpen bool
	asleep bool // the one who takes waits for wake, and has nothing to write
	wake   chan struct{}
	express
	// overflow ends the connection.
	overflow context.CancelCauseFunc
	// owed says that messages were taken in, or dropped, since the last time that
	// somebody was told that they may be lost.
	owed bool
}

// open begins a connection. It fails if there is somebody to be told first, see owes. raw
// is rawWriter's.
func (o *outbox) open(overflow context.CancelCauseFunc, raw func([]byte) int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owed {
		return false
	}
	if o.wake == nil {
		o.wake = make(chan struct{}, 1)
	}
	o.isOpen, o.asleep, o.overflow, o.bytes = true, false, overflow, 0
	o.raw, o.rest = raw, nil
	o.generation++
	return true
}

// owes reports, once, whether messages may have been lost.
func (o *outbox) owes() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	owed := o.owed
	o.owed = false
	return owed
}

// shut ends a connection and drops what is left.
func (o *outbox) shut() {
	o.mu.Lock()
	left := o.items
	o.items, o.isOpen, o.raw = nil, false, nil
	o.mu.Unlock()
	for i := range left {
		left[i].finish()
	}
}

// put queues items. If it reports false, one of them was dropped, and those after it.
func (o *outbox) put(items ...item) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range items {
		if !o.add(&items[i]) {
			return false
		}
	}
	o.rouse()
	return true
}

// add queues an item. mu is held.
func (o *outbox) add(it *item) bool {
	if it.kind == frameMessage {
		o.owed = true
	}
	switch {
	case !o.isOpen:
		return false
	case o.bytes >= maxQueued && it.kind == frameQuestion:
		return false // who asks can be told
	case o.bytes >= maxQueued:
		// Nothing may follow on this connection, as there would be a gap.
		o.isOpen = false
		o.overflow(errOverflow)
		return false
	}
	o.bytes += it.size + itemOverhead
	o.items = append(o.items, *it)
	return true
}

// rouse wakes the one who takes. mu is held.
func (o *outbox) rouse() {
	if !o.asleep {
		return
	}
	o.asleep = false
	select {
	case o.wake <- struct{}{}:
	default: // a token is there already
	}
}

// take swaps what is queued for empty. If there is nothing to write the caller is idle, and
// wake gets a token when there is. What was taken counts until it was written.
func (o *outbox) take(empty []item) (items []item, idle bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	items = o.items
	o.items = empty[:0]
	o.asleep = len(items) == 0 && len(o.rest) == 0
	return items, o.asleep
}

// wrote makes room for so many bytes.
func (o *outbox) wrote(bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= bytes
}
