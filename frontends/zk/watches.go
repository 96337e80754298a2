package zk

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// watchKind is a kind of watch.
type watchKind uint8

const (
	// watchData fires once, when the znode comes, changes or goes (exists, getData).
	watchData watchKind = iota
	// watchChild fires once, when its list of children changes or it goes (getChildren).
	watchChild
	// watchPersistent fires whenever one of the two would, and stays (addWatch).
	watchPersistent
	// watchRecursive fires whenever a znode at its path or anywhere below comes, changes
	// or goes, and stays (addWatch).
	watchRecursive

	watchKinds = iota
)

// stays says whether a watch is still set after it has fired.
func (k watchKind) stays() bool { return k >= watchPersistent }

// maxWatchedPath is the longest path that a watch is kept of: as long as that of any
// znode may be, so that a watch on a longer one would never fire.
const maxWatchedPath = 32 << 10

// watch is that one subscriber watches one path in one way.
type watch struct {
	sub *subscriber
	// list is where the watch is, at pos; nil once it is there no more.
	list *watchList
	pos  int
	// set fires when it is hit. arming belongs to a request whose reply is not queued
	// yet: hits are noted.
	set, arming bool
}

// watchList is the watches of one kind at one path. It is never empty.
type watchList struct {
	path    string
	kind    watchKind
	watches []*watch
}

// watchEvent is something that those who watch are told of.
type watchEvent struct {
	rev  core.Rev
	kind wire.EventType
	path string
	// acl is the list by which it may be told (A6).
	acl core.ZnodeACL
	// seq numbers the events of a table: a multi may have two that are otherwise alike.
	seq uint64
}

// subscriber is a connection as the table of watches knows it. Its fields belong
// to the table.
type subscriber struct {
	out *outbox
	// kick sees to it that out is flushed soon. It must not block.
	kick func()
	// who is who may be told events, at the moment. It must not block.
	who func() core.Principal
	// watched has the subscriber's watches, by kind and path.
	watched [watchKinds]map[string]*watch
	// dataPaths is the number of paths with a watch other than one of children.
	dataPaths int

	// told is the last event that the subscriber was told of, or that is held.
	told uint64
	// holding says that a reply is being made: what happens meanwhile is held.
	holding   bool
	held      []hit
	heldBytes int

	// wake is told when the revision that the subscriber waits for is dispatched.
	wake chan struct{}
	// dirty says that events were appended since the last kick.
	dirty bool
	gone  bool
	// counted is the last count that the subscriber is in.
	counted uint64
}

// hit is an event that is held until the reply is queued that is being made.
type hit struct {
	watchEvent
	// watch is the one that is armed by that reply; nil if the event is for one that
	// was set before.
	watch *watch
}

// watchTable is the watches of all connections. It is a core.Follower: the hub tells
// it of every revision, and it appends the events to the outboxes of those who watch.
// It never waits for a connection, and never holds its lock for longer than it takes
// to tell of one batch of revisions.
//
// What it keeps for each connection is this order: the event of a revision
// precedes every reply that shows that revision, and follows the reply of the request
// that set the watch; of the changes that this reply does not show the first one
// fires. See arm and settle; TestOrderModel runs all interleavings.
type watchTable struct {
	// dispatched is the last revision whose events are in the outboxes. It is
	// written under mu.
	dispatched atomic.Int64

	mu    sync.Mutex
	lists [watchKinds]map[string]*watchList
	// subs are those who ever armed a watch.
	subs map[*subscriber]struct{}
	// waiting are those who wait for a revision to be dispatched.
	waiting []waiter
	// count is the number of watches set, as ZooKeeper counts them: see change.
	count int
	// weight is what all watches take in bytes, limit how much they may; zero is no limit.
	weight, limit int64
	// dirty are the subscribers to kick.
	dirty []*subscriber
	// seq is the number of the last event.
	seq uint64
	// frame is the event framed as it is sent, so that the many who watch one znode
	// share the work.
	frame  []byte
	framed uint64
	judge  judge
	tally  watcherTally
}

type waiter struct {
	rev core.Rev
	sub *subscriber
}

func newWatchTable() *watchTable {
	t := &watchTable{subs: map[*subscriber]struct{}{}}
	for kind := range t.lists {
		t.lists[kind] = map[string]*watchList{}
	}
	return t
}

// Revisions implements core.Follower.
func (t *watchTable) Revisions(revs []*core.Revision, upTo core.Rev) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watched() {
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

// watched says whether there is any watch.
func (t *watchTable) watched() bool {
	for kind := range t.lists {
		if len(t.lists[kind]) > 0 {
			return true
		}
	}
	return false
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

// eventTypes are how watchers are told of what happened to a znode.
var eventTypes = [...]wire.EventType{
	core.ZnodeCreated:     wire.EventNodeCreated,
	core.ZnodeDeleted:     wire.EventNodeDeleted,
	core.ZnodeDataChanged: wire.EventNodeDataChanged,
}

// step fires the watches that one step of a revision hits: those on the znode
// first, then those on its parent's children (W1; ZooKeeper 3.9 DataTree).
func (t *watchTable) step(rev core.Rev, step *core.ZnodeStep) {
	t.countStep(step)
	e := t.event(rev, eventTypes[step.Event], step.Path, step.ACL)
	t.fire(watchData, e.path, &e)
	if step.Event == core.ZnodeDeleted {
		t.fire(watchChild, e.path, &e)
	}
	t.fire(watchPersistent, e.path, &e)
	if len(t.lists[watchRecursive]) > 0 {
		t.fire(watchRecursive, e.path, &e)
		for path := e.path; path != "/"; {
			path = parent(path)
			t.fire(watchRecursive, path, &e)
		}
	}
	if step.Event != core.ZnodeDataChanged && step.Path != "/" {
		e = t.event(rev, wire.EventNodeChildrenChanged, parent(step.Path), step.Parent)
		t.fire(watchChild, e.path, &e)
		t.fire(watchPersistent, e.path, &e)
	}
}

func (t *watchTable) event(rev core.Rev, kind wire.EventType, path string, acl core.ZnodeACL) watchEvent {
	t.seq++
	return watchEvent{rev: rev, kind: kind, path: path, acl: acl, seq: t.seq}
}

// parent is the path of a znode's parent.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// fire fires the watches of one kind at a path.
func (t *watchTable) fire(kind watchKind, at string, e *watchEvent) {
	list := t.lists[kind][at]
	if list == nil {
		return
	}
	if kind.stays() {
		for _, w := range list.watches {
			t.hit(w, e)
		}
		return
	}
	rest := list.watches[:0]
	for _, w := range list.watches {
		t.hit(w, e)
		t.change(w, false)
		if w.arming {
			w.pos = len(rest)
			rest = append(rest, w)
		} else {
			delete(w.sub.watched[kind], at)
			w.list = nil
			t.weight -= weight(at)
		}
	}
	clear(list.watches[len(rest):])
	if list.watches = rest; len(rest) == 0 {
		delete(t.lists[kind], at)
	}
}

// hit tells, or will, of an event that is one for a watch.
func (t *watchTable) hit(w *watch, e *watchEvent) {
	if w.arming {
		t.hold(w.sub, e, w)
	}
	if w.set {
		t.tell(w.sub, e)
	}
}

// tell tells a subscriber of an event, once, however many of its watches it hits (W1).
func (t *watchTable) tell(s *subscriber, e *watchEvent) {
	if s.told == e.seq || s.gone {
		return
	}
	s.told = e.seq
	if s.holding {
		t.hold(s, e, nil)
		return
	}
	if t.deliver(s, e) && !s.dirty {
		s.dirty = true
		t.dirty = append(t.dirty, s)
	}
}

// hold keeps an event until the reply is queued that is being made.
func (t *watchTable) hold(s *subscriber, e *watchEvent, w *watch) {
	if s.heldBytes += len(e.path) + eventOverhead; s.heldBytes > maxQueuedEvents {
		s.out.fail(errSlowClient)
		return
	}
	s.held = append(s.held, hit{*e, w})
}

// deliver appends an event, unless the subscriber may not be told of it. (The watch has
// fired even so: ZooKeeper 3.9 WatchManager.triggerWatch, NIOServerCnxn.process.)
func (t *watchTable) deliver(s *subscriber, e *watchEvent) bool {
	if !t.judge.allows(s, e) {
		return false
	}
	if t.framed != e.seq {
		t.frame = appendEvent(t.frame[:0], int64(e.rev), e.kind, e.path)
		t.framed = e.seq
	}
	s.out.event(e.rev, t.frame)
	return true
}
