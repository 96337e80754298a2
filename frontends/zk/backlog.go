package zk

import (
	"errors"
	"sync"
)

var errNotReading = errors.New("too much waits for clients to read, longest for this one")

// backlog is what waits to be written to clients, as far as it is much for one of them: a
// request of a few bytes can ask for megabytes, and be followed by pings instead of reads.
// Beyond its limit it closes the connection that has made no progress for the longest
// time. One that is alone with what it asked for may have as much as it is. The zero value
// has no limit. It is safe for concurrent use.
type backlog struct {
	limit int64 // in bytes; zero is none

	mu    sync.Mutex
	total int64
	// boxes are the outboxes that hold more than flushSize.
	boxes map[*outbox]waiting
	// clock numbers the moments at which clients were seen to read.
	clock uint64
}

// waiting is what an outbox holds, and since when none of it was read.
type waiting struct {
	bytes int64
	since uint64
}

// holds takes note of how many bytes an outbox holds, if that is much, or was.
func (b *backlog) holds(o *outbox, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.boxes[o]
	switch {
	case n > flushSize && !known:
		if b.boxes == nil {
			b.boxes = map[*outbox]waiting{}
		}
		b.clock++
		was.since = b.clock
		fallthrough
	case n > flushSize:
		b.boxes[o] = waiting{int64(n), was.since}
	case known:
		delete(b.boxes, o)
	default:
		return
	}
	b.total += b.boxes[o].bytes - was.bytes
	for b.limit > 0 && b.total > b.limit && len(b.boxes) > 1 {
		b.closeStalled()
	}
}

// progress takes note that the client of an outbox has read.
func (b *backlog) progress(o *outbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w, ok := b.boxes[o]; ok {
		b.clock++
		b.boxes[o] = waiting{w.bytes, b.clock}
	}
}

// closeStalled closes the connection that has read nothing for the longest time. It
// counts no more, although it takes a moment until it lets go.
func (b *backlog) closeStalled() {
	var stalled *outbox
	for o, w := range b.boxes {
		if stalled == nil || w.since < b.boxes[stalled].since {
			stalled = o
		}
	}
	b.total -= b.boxes[stalled].bytes
	delete(b.boxes, stalled)
	stalled.abandoned.Store(true)
	_ = stalled.w.Close() // its lock may be held; what it holds goes when its write fails
}
