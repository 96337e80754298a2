package watch

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// fairShare is how many queued items a consumer takes between two turns of
// catching up, when both are due.
const fairShare = 16

// keptItems is the capacity up to which a feed keeps an empty slice for reuse: a
// burst must not leave its memory behind on each of ten thousand feeds.
const keptItems = 256

// feed implements core.Feed.
//
// Its queue has two halves: the one that the dispatcher fills, and the one that
// the consumer empties without a lock. The bounds are on each half.
type feed struct {
	hub *Hub
	// ctx ends when the feed is closed.
	ctx  context.Context //nolint:containedctx // it is the feed's life time, not a call's
	stop context.CancelFunc

	// The dispatcher's lock guards these. staged is what a step has for the feed.
	watches map[core.WatchID]*watch
	staged  []item

	queue    // the half that the dispatcher fills
	consumer // the half that the consumer empties
}

// queue is the half of a feed that producers fill.
type queue struct {
	maxItems, maxBytes int

	// mu guards all below. It is taken after the dispatcher's.
	mu    sync.Mutex
	items []item
	// bytes is the size of the revisions in items, each counted once, rev the
	// last of them.
	bytes int
	rev   core.Rev
	// told says that there was a compaction since the consumer looked.
	told bool
	// waiting says that the consumer is about to receive from wake.
	waiting bool
	wake    chan struct{} // capacity 1
}

// consumer is the half of a feed that belongs to the goroutine that calls Next.
type consumer struct {
	out []item
	pos int
	// behind are the watches to bring forward, in turn; taken counts the items
	// taken since the last turn. stalled says that none can be brought forward
	// before a compaction is heard of.
	behind  []*watch
	taken   int
	stalled bool
	// batch is scratch space, kept while a watch is behind.
	batch []entry
	// closed is the one field that others write.
	closed atomic.Bool
}

var _ core.Feed = (*feed)(nil)

func newFeed(h *Hub) *feed {
	f := &feed{hub: h, watches: make(map[core.WatchID]*watch)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.maxItems, f.maxBytes = h.options.QueueItems, h.options.QueueBytes
	f.wake = make(chan struct{}, 1)
	return f
}

// Add implements core.Feed. A Start of less than zero counts as zero.
func (f *feed) Add(id core.WatchID, spec core.WatchSpec) { f.hub.dispatcher.add(f, id, spec) }

// Remove implements core.Feed.
func (f *feed) Remove(id core.WatchID) bool { return f.hub.dispatcher.remove(f, id) }

// RequestProgress implements core.Feed.
func (f *feed) RequestProgress(id core.WatchID) { f.hub.dispatcher.requestProgress(f, id) }

// Close implements core.Feed. It may be called more than once.
func (f *feed) Close() { f.hub.dispatcher.close(f) }

// shut makes Next return. REQUIRES: the dispatcher's lock.
func (f *feed) shut() {
	f.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed.Store(true)
	f.items = nil
	f.wakeLocked()
}

// Next implements core.Feed.
func (f *feed) Next(ctx context.Context) (core.Delivery, error) {
	for {
		d, ok, err := f.poll(ctx)
		if ok || err != nil {
			return d, err
		}
		if err := f.wait(ctx); err != nil {
			return core.Delivery{}, err
		}
	}
}

// poll returns the next delivery if there is one.
func (f *feed) poll(ctx context.Context) (d core.Delivery, ok bool, err error) {
	for {
		if f.closed.Load() {
			return d, false, core.Stopped
		}
		if f.taken >= fairShare && f.canCatchUp() {
			f.taken = 0
			if d, ok, err = f.catchUp(ctx); ok || err != nil {
				return d, ok, err
			}
			continue
		}
		it, ok := f.take()
		switch {
		case ok:
			f.taken++
			if d, ok = f.deliver(&it); ok {
				return d, true, nil
			}
		case f.canCatchUp():
			f.taken = fairShare
		default:
			return d, false, nil
		}
	}
}

// take removes the next item from the queue.
func (f *feed) take() (item, bool) {
	if f.pos == len(f.out) {
		f.swap()
	}
	if f.pos == len(f.out) {
		return item{}, false
	}
	it := f.out[f.pos]
	f.out[f.pos] = item{}
	f.pos++
	return it, true
}

// swap exchanges the halves; the consumer's is empty.
func (f *feed) swap() {
	empty := recycle(f.out)
	f.mu.Lock()
	f.out, f.items = f.items, empty
	f.bytes, f.rev = 0, 0
	if f.told {
		f.told, f.stalled = false, false
	}
	f.mu.Unlock()
	f.pos = 0
}

// deliver turns an item into a delivery. A marker is none.
func (f *feed) deliver(it *item) (d core.Delivery, ok bool) {
	d.Watch, d.Rev = core.AllWatches, it.at
	if it.watch != nil {
		d.Watch = it.watch.id
	}
	switch it.kind {
	case itemEvents:
		d.Kind, d.Rev = core.DeliverEvents, it.rev.Rev
		d.Changes = f.changes(it)
	case itemCreated:
		d.Kind = core.DeliverCreated
	case itemCanceled:
		d.Kind = core.DeliverCanceled
	case itemProgress:
		d.Kind = core.DeliverProgress
		if it.watch != nil {
			it.watch.progressQueued.Store(false)
		}
	case itemRejoin:
		f.behind = append(f.behind, it.watch)
		return d, false
	}
	return d, true
}

// changes returns what the item's watch wants of its revision: a part of the
// revision's own slice where possible.
func (f *feed) changes(it *item) []core.Change {
	span := it.rev.Changes[it.first : it.last+1 : it.last+1]
	if it.gaps {
		kept := make([]core.Change, 0, len(span))
		for i := range span {
			if it.watch.wants(&span[i]) {
				kept = append(kept, span[i])
			}
		}
		span = kept
	}
	if it.watch.spec.PrevKV && it.rev.Rev <= f.hub.ring.compactRev() {
		return withoutPrev(span)
	}
	return span
}

// wait blocks until there may be something to take.
func (f *feed) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.closed.Load() || f.told || len(f.items) > 0 {
		f.mu.Unlock()
		return nil
	}
	f.waiting = true
	f.mu.Unlock()

	select {
	case <-f.wake:
		return nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.waiting { // woken at the same time
		<-f.wake
	}
	f.waiting = false
	return contextError(ctx)
}

// hasRoom reports whether the queue takes an event. A queue without events
// takes any, whatever its size. REQUIRES: q.mu.
func (q *queue) hasRoom(it *item) bool {
	if len(q.items) >= q.maxItems {
		return false
	}
	return q.bytes == 0 || it.rev.Rev == q.rev || q.bytes+it.size <= q.maxBytes
}

// push appends an item. REQUIRES: q.mu; the caller wakes the consumer.
func (q *queue) push(it item) {
	if it.kind == itemEvents && it.rev.Rev != q.rev {
		q.rev = it.rev.Rev
		q.bytes += it.size
	}
	q.items = append(q.items, it)
}

// put appends a control item, for which there is always room, and wakes the
// consumer.
func (q *queue) put(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(it)
	q.wakeLocked()
}

// compacted tells the consumer of a compaction.
func (q *queue) compacted() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.told = true
	q.wakeLocked()
}

// wakeLocked never blocks: a consumer that waits has emptied the channel.
func (q *queue) wakeLocked() {
	if q.waiting {
		q.waiting = false
		q.wake <- struct{}{}
	}
}

// recycle empties s for reuse, or drops it if it has grown large.
func recycle(s []item) []item {
	if cap(s) > keptItems {
		return nil
	}
	clear(s)
	return s[:0]
}
