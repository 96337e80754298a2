package watch

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/triglot/triglot/core"
)

// The bounds of one step, which holds the dispatcher's lock: so many revisions
// at most, and not many more deliveries than so many.
const (
	stepRevisions  = 256
	stepDeliveries = 8192
)

// dispatcher matches revisions with watches. It is a step function: whoever
// calls step, be it the hub's goroutine, a test, or a method that needs the
// watches to be up to date, moves it on.
//
// Invariants, when the lock is free:
//
//  1. A joined watch has been queued all that it wants in revisions up to
//     dispatched, and nothing of later ones.
//  2. A watch that is behind has been queued, or delivered, all that it wants
//     before its next revision; and either its rejoin marker is in its feed's
//     queue, or the feed's consumer has it among those behind.
//  3. Every watch that is joined and whose progress is held lies in the future
//     and is in early.
type dispatcher struct {
	ring *ring

	// mu guards all below, and of the watches and feeds what is said there.
	mu         sync.Mutex
	dispatched core.Rev
	index      index
	feeds      map[*feed]struct{}
	joined     int
	closed     bool
	// early has the watches whose held progress waits for their start, the
	// nearest last.
	early []*watch
	// followings are those that somebody listens to.
	followings []*following
	// reads counts the catch-ups under way, which may be reading the History.
	reads sync.WaitGroup

	// Scratch space of a step, cleared between steps.
	batch   [stepRevisions]entry
	revs    [stepRevisions]*core.Revision
	groups  []*group
	hits    []*watch
	claimed []*feed // whose consumers are to be roused
}

// step dispatches the next revisions and reports whether there were any.
func (d *dispatcher) step() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stepLocked()
}

func (d *dispatcher) stepLocked() bool {
	if d.ring.noticeCompaction() {
		for f := range d.feeds {
			f.compacted()
		}
	}
	from := d.dispatched + 1
	n, next, ok := d.ring.read(from, maxRev, d.batch[:])
	if !ok {
		d.fellOut(next - 1)
		return true
	}
	if next == from {
		return false
	}
	done, deliveries := next-1, 0
	for i := range d.batch[:n] {
		deliveries += d.match(d.batch[i])
		if deliveries >= stepDeliveries {
			done = d.batch[i].rev.Rev
			break
		}
	}
	d.tell(d.batch[:n], done)
	d.wake()
	d.advance(done)
	clear(d.batch[:n]) // an idle hub refers to nothing that is gone
	clear(d.groups[:cap(d.groups)])
	clear(d.hits[:cap(d.hits)])
	return true
}

// advance notes that all watches have been queued what they want up to rev.
func (d *dispatcher) advance(rev core.Rev) {
	d.dispatched = rev
	d.ring.setDispatched(rev)
	for len(d.early) > 0 {
		w := d.early[len(d.early)-1]
		if w.spec.Start > rev {
			break
		}
		d.early = d.early[:len(d.early)-1]
		if w.group != nil { // else it is answered when it joins again
			d.progressOf(w)
		}
	}
}

// match queues e for every joined watch that wants some of it, and returns how
// many there were.
func (d *dispatcher) match(e entry) int {
	d.hits = d.hits[:0]
	for i := range e.rev.Changes {
		c := &e.rev.Changes[i]
		d.groups = d.index.find(c.KV.Key, d.groups[:0])
		for _, g := range d.groups {
			for _, w := range g.watches {
				if w.next <= e.rev.Rev && w.wantsKind(c) && w.hit(e.rev.Rev, i) {
					d.hits = append(d.hits, w)
				}
			}
		}
	}
	d.queue(e)
	return len(d.hits)
}

// queue tells the watches in hits of e. A watch for which there is no room falls
// behind.
func (d *dispatcher) queue(e entry) {
	var locked *feed // often many watches of one feed follow each other
	for _, w := range d.hits {
		if f := w.feed; f != locked {
			if locked != nil {
				locked.mu.Unlock()
			}
			locked = f
			f.mu.Lock()
			if f.claimLocked() {
				d.claimed = append(d.claimed, f)
			}
		}
		it := item{
			kind: itemEvents, watch: w, rev: e.rev,
			first: w.first, last: w.last, gaps: w.hits != w.last-w.first+1,
		}
		if w.lacks(e.rev) || !locked.pushEvents(it, e.size) {
			d.fallBehind(w, e.rev.Rev)
		}
	}
	if locked != nil {
		locked.mu.Unlock()
	}
}

// wake wakes the consumers of what the step has queued.
func (d *dispatcher) wake() {
	for _, f := range d.claimed {
		f.rouse()
	}
	clear(d.claimed)
	d.claimed = d.claimed[:0]
}

// fallBehind takes w out of the index: from revision next on it is the
// consumer's to bring it forward. REQUIRES: w.feed.mu.
func (d *dispatcher) fallBehind(w *watch, next core.Rev) {
	d.leave(w)
	w.next = next
	w.feed.push(item{kind: itemRejoin, watch: w})
}

// fellOut is for when the ring no longer has what is to be dispatched next, up
// to base: all watches that may want some of it fall behind, and the followers
// have lost it.
func (d *dispatcher) fellOut(base core.Rev) {
	for f := range d.feeds {
		f.mu.Lock()
		for _, w := range f.watches {
			if w.group != nil && w.next <= base {
				d.fallBehind(w, max(w.next, d.dispatched+1))
			}
		}
		f.wakeLocked()
		f.mu.Unlock()
	}
	for _, g := range d.followings {
		g.follower.Lost(base)
	}
	d.advance(base)
}

// reach dispatches all up to rev.
func (d *dispatcher) reach(rev core.Rev) {
	for d.dispatched < rev {
		d.stepLocked()
	}
}

func (d *dispatcher) join(w *watch) {
	d.index.add(w)
	d.joined++
}

func (d *dispatcher) leave(w *watch) {
	d.index.remove(w)
	d.joined--
}

func (d *dispatcher) open(f *feed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		f.shut()
		return
	}
	d.feeds[f] = struct{}{}
}

func (d *dispatcher) add(f *feed, id core.WatchID, spec core.WatchSpec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, open := d.feeds[f]; !open {
		return
	}
	if f.watches[id] != nil {
		panic(fmt.Sprintf("watch: id %d added twice", id))
	}
	last, dispatched := d.ring.listen()
	d.dispatched = dispatched
	d.reach(last)

	w := &watch{feed: f, id: id, spec: spec, next: spec.Start}
	if w.next <= 0 {
		w.next = d.dispatched + 1
	}
	f.watches[id] = w
	f.mu.Lock()
	defer f.mu.Unlock()
	f.push(item{kind: itemCreated, watch: w, at: d.dispatched})
	if w.next > d.dispatched {
		d.join(w)
	} else {
		f.push(item{kind: itemRejoin, watch: w})
	}
	f.wakeLocked()
}

func (d *dispatcher) remove(f *feed, id core.WatchID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := f.watches[id]
	if w == nil {
		return false
	}
	d.reach(d.ring.published()) // what was acknowledged before is told before
	d.end(w)
	f.put(item{kind: itemCanceled, watch: w, at: d.dispatched})
	return true
}

// end makes w no longer exist.
func (d *dispatcher) end(w *watch) {
	if w.group != nil {
		d.leave(w)
	}
	if w.progressHeld {
		if i := slices.Index(d.early, w); i >= 0 {
			d.early = slices.Delete(d.early, i, i+1)
		}
	}
	w.ended = true
	delete(w.feed.watches, w.id)
	d.ring.unlisten(1)
}

func (d *dispatcher) close(f *feed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeLocked(f)
}

func (d *dispatcher) closeLocked(f *feed) {
	for _, w := range f.watches {
		d.end(w)
	}
	delete(d.feeds, f)
	f.shut()
}

// shutdown closes all feeds and waits until nothing reads the History.
func (d *dispatcher) shutdown() {
	d.mu.Lock()
	d.closed = true
	for f := range d.feeds {
		d.closeLocked(f)
	}
	for _, g := range slices.Clone(d.followings) {
		g.listeners = 0
		d.unfollow(g)
	}
	d.mu.Unlock()
	d.reads.Wait()
}

// reached reports whether w's start, if it was given one, lies no longer in the
// future: before that etcd answers no request for progress (T-41).
func (d *dispatcher) reached(w *watch) bool { return w.spec.Start <= d.dispatched }

func (d *dispatcher) requestProgress(f *feed, id core.WatchID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(f.watches) == 0 {
		return
	}
	// A reader who asks after a write was acknowledged learns of that write.
	d.reach(d.ring.published())
	if id == core.AllWatches {
		d.progressOfAll(f)
		return
	}
	w := f.watches[id]
	if w == nil || w.progressHeld || w.progressQueued.Load() {
		return
	}
	switch {
	case w.group == nil:
		w.progressHeld = true // until it joins
	case d.reached(w):
		d.progressOf(w)
	default:
		w.progressHeld = true
		i, _ := slices.BinarySearchFunc(d.early, w, func(a, b *watch) int {
			return cmp.Compare(b.spec.Start, a.spec.Start) // descending
		})
		d.early = slices.Insert(d.early, i, w)
	}
}

// progressOf queues progress for w, which is synced.
func (d *dispatcher) progressOf(w *watch) {
	w.progressHeld = false
	w.progressQueued.Store(true)
	w.feed.put(item{kind: itemProgress, watch: w, at: d.dispatched})
}

// progressOfAll queues progress for all watches of f if they are synced. A queue
// without room does not take it either: the requests are the client's, and
// would be the one thing in it without a bound.
func (d *dispatcher) progressOfAll(f *feed) {
	for _, w := range f.watches {
		if w.group == nil || !d.reached(w) {
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count < f.maxItems {
		f.push(item{kind: itemProgress, at: d.dispatched})
		f.wakeLocked()
	}
}

// standing is what a consumer learns of a watch that is behind.
type standing uint8

const (
	standsBehind    standing = iota // there is something to catch up on
	standsJoined                    // it is behind no longer
	standsCompacted                 // its revisions are gone, and so is it
	standsEnded                     // it was removed meanwhile
)

// assess says how w, which is behind, stands, and joins it if nothing is missing.
// target is the revision to catch up to, or the one compacted to. For
// standsBehind the caller must call reads.Done when it has read.
func (d *dispatcher) assess(w *watch) (s standing, target core.Rev) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.ended {
		return standsEnded, 0
	}
	if c := d.ring.compactRev(); w.next < c {
		d.end(w)
		return standsCompacted, c
	}
	if d.rejoin(w) {
		return standsJoined, 0
	}
	d.reads.Add(1)
	return standsBehind, d.dispatched
}

// settle joins w after a catch-up if nothing is missing.
func (d *dispatcher) settle(w *watch) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !w.ended && d.rejoin(w)
}

func (d *dispatcher) rejoin(w *watch) bool {
	if w.next <= d.dispatched {
		return false
	}
	d.join(w)
	if w.progressHeld {
		d.progressOf(w)
	}
	return true
}
