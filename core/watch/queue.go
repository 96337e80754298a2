package watch

import (
	"context"
	"sync"

	"github.com/triglot/triglot/core"
)

// item is an entry of a feed's queue.
type item struct {
	kind itemKind
	// gaps says that not all changes in [first, last] are wanted.
	gaps        bool
	first, last int32
	watch       *watch // nil for the progress of all watches
	// rev is set for itemEvents; at is a control item's revision.
	rev *core.Revision
	at  core.Rev
	// more is the next event of the watch that is told together with this one. It is
	// the consumer's.
	more *item
}

type itemKind uint8

const (
	itemEvents itemKind = iota
	itemCreated
	itemCanceled
	itemProgress
	// itemRejoin is the marker that hands a watch that is behind to the consumer.
	itemRejoin
	// itemTold stands for one that was told together with one before.
	itemTold
)

// chunkItems makes a chunk small: a thousand feeds with one item each are all in the
// processor's cache.
const chunkItems = 8

// chunk is a piece of a queue. Chunks are shared by all feeds through a pool, so
// that a burst leaves no memory behind on any of them.
type chunk struct {
	n     int
	next  *chunk
	items [chunkItems]item
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// queue is the half of a feed that producers fill.
type queue struct {
	maxItems, maxBytes int

	// mu guards all below. It is taken after the dispatcher's.
	mu sync.Mutex
	// The items are those of the chunks from first to last, count in all.
	first, last *chunk
	count       int
	// bytes is the size of the revisions that the items refer to, each counted
	// once; rev is the last of them, revisions their number.
	bytes     int
	rev       core.Rev
	revisions int
	// told says that there was a compaction since the consumer looked.
	told bool
	// waiting says that the consumer receives from wake, or is about to, and that
	// nobody has undertaken to wake it.
	waiting bool
	// done is that of the context with which the consumer waits, if it was told to
	// rouse it; forget takes that back.
	done   <-chan struct{}
	forget func() bool
	wake   chan struct{} // capacity 1; a token too many does no harm
}

// pushEvents appends an event item of a revision of the given size, unless there
// is no room. A queue without events takes any, whatever its size. REQUIRES:
// q.mu; the caller wakes the consumer.
func (q *queue) pushEvents(it item, size int) bool {
	if it.rev.Rev != q.rev {
		if q.bytes > 0 && q.bytes+size > q.maxBytes {
			return false
		}
	} else {
		size = 0
	}
	if q.count >= q.maxItems {
		return false
	}
	q.bytes += size
	if it.rev.Rev != q.rev {
		q.rev = it.rev.Rev
		q.revisions++
	}
	q.push(it)
	return true
}

// push appends an item. REQUIRES: q.mu; the caller wakes the consumer.
func (q *queue) push(it item) {
	if q.last == nil || q.last.n == len(q.last.items) {
		c := chunks.Get().(*chunk)
		if q.last == nil {
			q.first = c
		} else {
			q.last.next = c
		}
		q.last = c
	}
	q.last.items[q.last.n] = it
	q.last.n++
	q.count++
}

// put appends a control item, for which there is always room, and wakes the
// consumer.
func (q *queue) put(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(it)
	q.wakeLocked()
}

// drain empties the queue and returns its chunks. REQUIRES: q.mu.
func (q *queue) drain() *chunk {
	c := q.first
	q.first, q.last, q.count = nil, nil, 0
	q.bytes, q.rev, q.revisions = 0, 0, 0
	return c
}

// compacted tells the consumer of a compaction.
func (q *queue) compacted() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told = true
	q.wakeLocked()
}

// wakeLocked wakes the consumer if it waits. REQUIRES: q.mu.
func (q *queue) wakeLocked() {
	if q.claimLocked() {
		q.rouse()
	}
}

// claimLocked reports whether the consumer waits and it is now the caller's to rouse it,
// with or without the lock. REQUIRES: q.mu.
func (q *queue) claimLocked() bool {
	claimed := q.waiting
	q.waiting = false
	return claimed
}

// rouse has the consumer look again. It never blocks.
func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// rouseAtEnd has ctx rouse the consumer when it ends, so that the consumer need not wait
// for two things: that is half the cost of waiting. The context is nearly always that of
// the last time. REQUIRES: q.mu.
func (q *queue) rouseAtEnd(ctx context.Context) {
	if q.done == ctx.Done() {
		return
	}
	q.forgetLocked()
	q.done, q.forget = ctx.Done(), context.AfterFunc(ctx, q.rouse)
}

// forgetLocked undoes rouseAtEnd. REQUIRES: q.mu.
func (q *queue) forgetLocked() {
	if q.forget != nil {
		q.forget()
		q.done, q.forget = nil, nil
	}
}
