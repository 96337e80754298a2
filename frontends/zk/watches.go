package zk

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// watchKind is a set of the kinds of one-shot watches.
type watchKind uint8

const (
	// watchData fires when the znode comes, changes or goes (exists, getData).
	watchData watchKind = 1 << iota
	// watchChild fires when its list of children changes or it goes (getChildren).
	watchChild

	watchAny = watchData | watchChild
)

// registration asks for watches of some kinds at a path.
type registration struct {
	path  string
	kinds watchKind
}

// watcher is what one subscriber watches at one path.
type watcher struct {
	sub *subscriber
	// set fire when they are hit. arming belong to a read whose reply is not
	// queued yet: hits are noted.
	set, arming watchKind
}

// hit is what happened to a watch that was arming.
type hit struct {
	rev   core.Rev
	path  string
	kinds watchKind
	event wire.EventType
}

// subscriber is a connection as the table of watches knows it. Its fields belong
// to the table.
type subscriber struct {
	out *outbox
	// kick sees to it that out is flushed soon. It must not block.
	kick func()
	// watched has every path with a watcher of this subscriber, and what is set
	// there.
	watched map[string]watchKind
	hits    []hit
	// wake is told when the revision that the subscriber waits for is dispatched.
	wake chan struct{}
	// dirty says that events were appended since the last kick.
	dirty bool
	gone  bool
}

// watchTable is the one-shot watches of all connections. It is a core.Follower:
// the hub tells it of every revision, and it appends the events to the outboxes of
// those who watch. It never waits for a connection.
//
// What it keeps for each connection is this order: the event of a revision
// precedes every reply that shows that revision, and follows the reply of the read
// that set the watch; of the changes that this reply does not show the first one
// fires. See arm and settle; TestOrderModel runs all interleavings.
type watchTable struct {
	// dispatched is the last revision whose events are in the outboxes. It is
	// written under mu.
	dispatched atomic.Int64

	mu    sync.Mutex
	paths map[string][]watcher
	// subs are those who ever armed a watch.
	subs map[*subscriber]struct{}
	// waiting are those who wait for a revision to be dispatched.
	waiting []waiter
	// count is the number of watches set.
	count int
	// dirty are the subscribers to kick.
	dirty []*subscriber
}

type waiter struct {
	rev core.Rev
	sub *subscriber
}

func newWatchTable() *watchTable {
	return &watchTable{paths: map[string][]watcher{}, subs: map[*subscriber]struct{}{}}
}

// Revisions implements core.Follower.
func (t *watchTable) Revisions(revs []*core.Revision, upTo core.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.paths) > 0 {
		for _, rev := range revs {
			for i := range rev.Steps {
				t.step(rev.Rev, &rev.Steps[i])
			}
		}
	}
	t.reach(upTo)
	for i, s := range t.dirty {
		s.dirty = false
		s.kick()
		t.dirty[i] = nil
	}
	t.dirty = t.dirty[:0]
}

// Lost implements core.Follower. Those whose events are lost are closed: they set
// their watches anew when they are back, and are told what they missed (W3).
func (t *watchTable) Lost(upTo core.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		s.out.fail(errEventsLost)
	}
	t.reach(upTo)
}

// listening says that the follower will be told of all revisions after rev.
func (t *watchTable) listening(rev core.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reach(rev)
}

// reach sets dispatched and wakes who waited for it.
func (t *watchTable) reach(rev core.Rev) {
	if int64(rev) <= t.dispatched.Load() {
		return
	}
	t.dispatched.Store(int64(rev))
	rest := t.waiting[:0]
	for _, w := range t.waiting {
		if w.rev > rev {
			rest = append(rest, w)
			continue
		}
		select {
		case w.sub.wake <- struct{}{}:
		default: // it has gone away and will not look
		}
	}
	clear(t.waiting[len(rest):])
	t.waiting = rest
}

// await returns once rev is dispatched, or done is closed: then it reports false.
// A subscriber waits for one revision at a time.
func (t *watchTable) await(s *subscriber, rev core.Rev, done <-chan struct{}) bool {
	if t.dispatched.Load() >= int64(rev) {
		return true
	}
	t.mu.Lock()
	if t.dispatched.Load() >= int64(rev) {
		t.mu.Unlock()
		return true
	}
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	t.waiting = append(t.waiting, waiter{rev, s})
	t.mu.Unlock()
	select {
	case <-s.wake:
		return true
	case <-done:
		return false
	}
}

// step fires the watches that one step of a revision hits: those on the znode
// first, then those on its parent's children (W1).
func (t *watchTable) step(rev core.Rev, step *core.ZnodeStep) {
	switch step.Event {
	case core.ZnodeCreated:
		t.fire(hit{rev, step.Path, watchData, wire.EventNodeCreated})
	case core.ZnodeDataChanged:
		t.fire(hit{rev, step.Path, watchData, wire.EventNodeDataChanged})
		return
	case core.ZnodeDeleted:
		t.fire(hit{rev, step.Path, watchAny, wire.EventNodeDeleted})
	}
	if step.Path != "/" {
		t.fire(hit{rev, parent(step.Path), watchChild, wire.EventNodeChildrenChanged})
	}
}

// parent is the path of a znode's parent.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// fire fires the watches of some kinds at a path. A subscriber gets one event,
// whatever it watches there (W1).
func (t *watchTable) fire(h hit) {
	all := t.paths[h.path]
	if len(all) == 0 {
		return
	}
	rest := all[:0]
	for _, w := range all {
		if w.arming&h.kinds != 0 {
			w.sub.hits = append(w.sub.hits, h)
		}
		if fired := w.set & h.kinds; fired != 0 {
			t.send(w.sub, h)
			t.change(&w, w.set&^fired, h.path)
		}
		if w.set|w.arming != 0 {
			rest = append(rest, w)
		}
	}
	clear(all[len(rest):])
	t.store(h.path, rest)
}

// send appends an event and remembers that its reader has to be woken.
func (t *watchTable) send(s *subscriber, h hit) {
	s.out.event(h.rev, h.event, h.path)
	if !s.dirty {
		s.dirty = true
		t.dirty = append(t.dirty, s)
	}
}

// change makes set the watches that are set by w, and keeps the books.
func (t *watchTable) change(w *watcher, set watchKind, path string) {
	t.count += bits.OnesCount8(uint8(set)) - bits.OnesCount8(uint8(w.set))
	w.set = set
	if w.set|w.arming == 0 {
		delete(w.sub.watched, path)
	} else {
		w.sub.watched[path] = set
	}
}

// store makes all the watchers of a path.
func (t *watchTable) store(path string, all []watcher) {
	if len(all) == 0 {
		delete(t.paths, path)
		return
	}
	t.paths[path] = all
}

// update lets do change the watcher of a subscriber at a path, if there is one, or
// else add is set.
func (t *watchTable) update(s *subscriber, path string, add bool, do func(*watcher)) {
	all := t.paths[path]
	i := len(all)
	if _, known := s.watched[path]; known {
		// From the end: most often it is one of the last, whose read is just being
		// answered, and before it may be a herd of others.
		for i--; all[i].sub != s; i-- {
		}
	} else {
		if !add {
			return
		}
		all = append(all, watcher{sub: s})
	}
	do(&all[i])
	if all[i].set|all[i].arming == 0 {
		last := len(all) - 1
		all[i], all[last] = all[last], watcher{}
		all = all[:last]
	}
	t.store(path, all)
}

// arm begins to watch, before the read that sets the watches looks. From now on
// hits are noted, until settle or withdraw. It returns the last revision
// dispatched: the read must look at a view that is at least as new, as what was
// dispatched before was not noted.
func (t *watchTable) arm(s *subscriber, regs []registration) core.Rev {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.gone {
		return 0
	}
	t.subs[s] = struct{}{}
	if s.watched == nil {
		s.watched = map[string]watchKind{}
	}
	for _, r := range regs {
		t.update(s, r.path, true, func(w *watcher) {
			w.arming |= r.kinds
			s.watched[r.path] = w.set
		})
	}
	return core.Rev(t.dispatched.Load())
}

// settle queues the reply of a read at a view of rev, all events up to which are
// dispatched, and sets those of the watches armed that keep names. A hit after rev
// fires at once, behind the reply. It reports false, and does nothing, if an event
// newer than the view is queued already: the read must look again.
func (t *watchTable) settle(s *subscriber, rev core.Rev, reply []byte, armed, keep []registration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.gone {
		return true
	}
	if !s.out.reply(reply, rev) {
		return false
	}
	for _, r := range keep {
		t.update(s, r.path, false, func(w *watcher) { t.change(w, w.set|w.arming&r.kinds, r.path) })
	}
	t.disarm(s, armed)
	for _, h := range s.hits {
		if h.rev > rev {
			t.refire(s, h)
		}
	}
	s.hits = nil
	return true
}

// withdraw ends what arm began without a reply that the watches could follow.
func (t *watchTable) withdraw(s *subscriber, armed []registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disarm(s, armed)
	s.hits = nil
}

// refire fires the watches just set that a noted hit is for. Those that were hit
// before, or were set before the read, are no longer set.
func (t *watchTable) refire(s *subscriber, h hit) {
	t.update(s, h.path, false, func(w *watcher) {
		if fired := w.set & h.kinds; fired != 0 {
			s.out.event(h.rev, h.event, h.path)
			t.change(w, w.set&^fired, h.path)
		}
	})
}

// disarm ends what arm began.
func (t *watchTable) disarm(s *subscriber, regs []registration) {
	for _, r := range regs {
		t.update(s, r.path, false, func(w *watcher) {
			w.arming &^= r.kinds
			t.change(w, w.set, r.path)
		})
	}
}

// has says whether a watch of one of the kinds is set.
func (t *watchTable) has(s *subscriber, path string, kinds watchKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.watched[path]&kinds != 0
}

// remove takes away the watches of some kinds; it reports whether there were any
// (W4).
func (t *watchTable) remove(s *subscriber, path string, kinds watchKind) (removed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.update(s, path, false, func(w *watcher) {
		removed = w.set&kinds != 0
		t.change(w, w.set&^kinds, path)
	})
	return removed
}

// drop forgets a subscriber. Its kick is not called any more.
func (t *watchTable) drop(s *subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.gone = true
	for path := range s.watched {
		t.update(s, path, false, func(w *watcher) {
			w.arming = 0
			t.change(w, 0, path)
		})
	}
	delete(t.subs, s)
	s.watched, s.hits = nil, nil
}

// watches is the number of watches set.
func (t *watchTable) watches() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
