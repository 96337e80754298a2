package watch

import (
	"context"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/failpoint"
)

// fairShare is how many queued items a consumer takes between two turns of
// catching up, when both are due.
const fairShare = 16

// feed implements core.Feed.
//
// Its queue has two halves: the one that the dispatcher fills, and the one that
// the consumer empties without a lock. The bounds are on each half.
type feed struct {
	hub *Hub
	// ctx ends when the feed is closed.
	ctx  context.Context
	stop context.CancelFunc
	// closed is set under the queue's lock and read without.
	closed atomic.Bool

	// The dispatcher's lock guards the watches.
	watches map[core.WatchID]*watch

	queue    // the half that the dispatcher fills
	consumer // the half that the consumer empties
}

// consumer is the half of a feed that belongs to the goroutine that calls Next.
type consumer struct {
	// out is the chunk to take from, pos the next item in it.
	out *chunk
	pos int
	// epoch numbers the stretches of out within which events are told together.
	epoch uint64
	// behind are the watches to bring forward, in turn; taken counts the items
	// taken since the last turn. stalled says that none can be brought forward
	// before a compaction is heard of.
	behind  []*watch
	taken   int
	stalled bool
	// batch is scratch space, kept while a watch is behind.
	batch []entry
	// sent, if set, is to be called when the delivery before is no longer needed.
	sent func()
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
func (f *feed) RequestProgress(id core.WatchID) {
	failpoint.Hit(failpoint.BeforeProgressIfSync)
	f.hub.dispatcher.requestProgress(f, id)
}

// Close implements core.Feed. It may be called more than once.
func (f *feed) Close() { f.hub.dispatcher.close(f) }

// shut makes Next return. REQUIRES: the dispatcher's lock.
func (f *feed) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed.Store(true)
	f.stop() // after: whoever it interrupts must see why
	f.forgetLocked()
	f.drain()
	f.wakeLocked()
}

// Next implements core.Feed.
func (f *feed) Next(ctx context.Context) (core.Delivery, error) {
	for {
		d, ok, err := f.poll(ctx)
		if ok {
			failpoint.Hit(failpoint.BeforeSendWatchResponse)
		}
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
	f.release()
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
				d.More = f.ready() && f.out.items[f.pos].kind != itemRejoin // which may bring nothing
				return d, true, nil
			}
		case f.canCatchUp():
			f.taken = fairShare
		default:
			return d, false, nil
		}
	}
}

// release says that the delivery before is no longer needed.
func (f *feed) release() {
	if f.sent != nil {
		f.sent()
		f.sent = nil
	}
}

// take removes the next item from the queue.
func (f *feed) take() (it item, ok bool) {
	if f.out == nil {
		f.swap()
		if f.out == nil {
			return it, false
		}
	}
	it = f.out.items[f.pos]
	f.pass()
	return it, true
}

// pass goes on behind the item at pos.
func (f *feed) pass() {
	c := f.out
	c.items[f.pos] = item{}
	f.pos++
	if f.pos == c.n {
		f.out, f.pos = c.next, 0
		c.n, c.next = 0, nil
		chunks.Put(c)
	}
}

// ready reports whether there is an item in the consumer's half, and passes over those
// that have been told.
func (f *feed) ready() bool {
	for f.out != nil && f.out.items[f.pos].kind == itemTold {
		f.pass()
	}
	return f.out != nil
}

// swap takes over what the producers have queued; the consumer's half is empty.
func (f *feed) swap() {
	f.mu.Lock()
	late := f.revisions > 1
	f.out = f.drain()
	if f.told {
		f.told, f.stalled = false, false
	}
	f.mu.Unlock()
	if late {
		f.merge()
	}
}

// deliver turns an item into a delivery. A marker is none.
func (f *feed) deliver(it *item) (d core.Delivery, ok bool) {
	d.Watch, d.Rev = core.AllWatches, it.at
	if it.watch != nil {
		d.Watch = it.watch.id
	}
	switch it.kind {
	case itemEvents:
		d.Kind = core.DeliverEvents
		d.Changes, d.Rev = f.together(it)
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
	case itemTold:
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
	if f.closed.Load() || f.told || f.count > 0 {
		f.mu.Unlock()
		return nil
	}
	f.rouseAtEnd(ctx)
	f.waiting = true
	f.mu.Unlock()
	if ctx.Err() == nil { // else the token may be gone; if it ends now, it comes
		<-f.wake
	}
	if ctx.Err() == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = false
	return contextError(ctx)
}
