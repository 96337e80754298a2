package watch

import (
	"math"
	"sync"

	"github.com/triglot/triglot/core"
)

// The defaults of Options.
const (
	DefaultRingBytes  = 32 << 20
	DefaultQueueBytes = 512 << 10
	DefaultQueueItems = 4096
)

const maxRev = core.Rev(math.MaxInt64 - 1)

// Options are the parameters of a Hub. Only History is required.
type Options struct {
	// RingBytes bounds the revisions kept for watches that fall behind, by the
	// memory of their keys, values and paths. Zero is DefaultRingBytes. The newest
	// revision is kept whatever its size.
	RingBytes int
	// QueueBytes and QueueItems bound each of the two halves of a feed's queue:
	// the first by the memory of the revisions that it refers to, the second by
	// the number of deliveries. Zero is the default. A watch for which there is
	// no room falls behind. QueueBytes does not stop a single revision.
	QueueBytes, QueueItems int
	// History serves the watches that the ring no longer can.
	History History
	// Current returns the revision of the latest view, which Publish follows in a
	// moment: a listener who may have seen that view waits for it. Nil is for a
	// store whose views nobody sees.
	Current func() core.Rev
	// Start is the revision that the store is at, CompactRev the one that it was
	// compacted to.
	Start, CompactRev core.Rev
}

// Hub carries the revisions that apply publishes to the watches. Its methods are
// safe for concurrent use, but Publish is for one goroutine.
type Hub struct {
	options    Options
	ring       ring
	dispatcher dispatcher
	// large is for what takes very much memory.
	large gate

	wake    chan struct{} // capacity 1
	closing chan struct{}
	once    sync.Once
	done    sync.WaitGroup
}

// New makes a hub and starts its goroutine, which ends with Close.
func New(o Options) *Hub {
	h := newHub(o)
	h.done.Go(h.run)
	return h
}

// newHub makes a hub whose dispatcher the caller must move.
func newHub(o Options) *Hub {
	if o.RingBytes <= 0 {
		o.RingBytes = DefaultRingBytes
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.QueueItems <= 0 {
		o.QueueItems = DefaultQueueItems
	}
	if o.Current == nil {
		o.Current = func() core.Rev { return 0 }
	}
	h := &Hub{options: o, large: newGate(defaultHold), wake: make(chan struct{}, 1), closing: make(chan struct{})}
	h.ring.init(o.RingBytes, o.Start, o.CompactRev)
	h.dispatcher.ring = &h.ring
	h.dispatcher.dispatched = o.Start
	h.dispatcher.feeds = make(map[*feed]struct{})
	return h
}

// run moves the dispatcher whenever there is something to dispatch.
func (h *Hub) run() {
	for {
		for h.dispatcher.step() {
			select {
			case <-h.closing:
				return
			default:
			}
		}
		if !h.ring.sleep() {
			continue
		}
		select {
		case <-h.wake:
		case <-h.closing:
			return
		}
	}
}

// Publish hands over the revisions that apply has made and the current revision,
// which may be higher than the last of them: those that changed nothing are not
// listed. The view that shows rev must have been published before. It waits for
// nobody. The hub keeps the revisions, not the slice; it sets the Memo of their
// changes, which nobody else may look at before.
func (h *Hub) Publish(revs []*core.Revision, rev core.Rev) {
	if h.ring.append(revs, rev) {
		h.rouse()
	}
}

// Compacted says that the history before rev is given up: a watch that still
// wants some of it ends. It waits for nobody.
func (h *Hub) Compacted(rev core.Rev) {
	if h.ring.compact(rev) {
		h.rouse()
	}
}

// Reset says that the state was replaced as a whole by one at rev, compacted to
// compactRev, which the view shows that was published before. What was not dispatched of
// the revisions before, and those that the new state has and this hub was never told,
// are in the History: watches read them there, and none goes back or misses any, unless
// they are compacted; followers have lost them. It waits for nobody. It is for the
// goroutine that calls Publish.
func (h *Hub) Reset(rev, compactRev core.Rev) {
	if h.ring.reset(rev, compactRev) {
		h.rouse()
	}
}

func (h *Hub) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Dispatched returns the revision up to which every watch that is not behind has
// been queued its events. It never goes back.
func (h *Hub) Dispatched() core.Rev { return h.ring.heard() }

// Open returns a new feed. Once the hub is closed, the feed is closed too.
//
// A feed leaves Change.Prev in place, where it is known, for watches that did
// not ask for it.
func (h *Hub) Open() core.Feed { return h.open() }

func (h *Hub) open() *feed {
	f := newFeed(h)
	h.dispatcher.open(f)
	return f
}

// Stats is a hub's account of itself.
type Stats struct {
	Feeds, Watches int
	// Behind is how many of the watches are not joined: they catch up.
	Behind int
	// RingBytes is the size of the revisions in the ring.
	RingBytes int
}

// Stats returns the present numbers.
func (h *Hub) Stats() Stats {
	d := &h.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	h.ring.mu.Lock()
	defer h.ring.mu.Unlock()
	watches := h.ring.listeners - len(d.followings)
	return Stats{
		Feeds: len(d.feeds), Watches: watches,
		Behind: watches - d.joined, RingBytes: h.ring.bytes,
	}
}

// Close closes all feeds and waits for the hub's goroutine and for whoever
// reads the History. Publish has no effect afterwards, and no follower is told
// anything.
func (h *Hub) Close() {
	h.once.Do(func() { close(h.closing) })
	h.dispatcher.shutdown()
	h.done.Wait()
}
