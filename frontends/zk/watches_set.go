package zk

import "github.com/triglot/triglot/core"

// errTooManyWatches refuses watches for which there is no memory. ZooKeeper has no bound,
// and takes them until it runs out.
var errTooManyWatches = core.Errorf(core.TooManyRequests, "there are too many watches")

// registration asks for a watch of some kind at a path.
type registration struct {
	path string
	kind watchKind
	// keep says that the watch is to be set.
	keep bool
	// watch is it, once it is armed.
	watch *watch
}

// watchChunk is how many watches are armed, set or removed at most while the table is
// locked: the events of all connections wait meanwhile.
const watchChunk = 256

// arm begins to make a reply that sets watches. From now on what they would be told
// of is noted, and what the subscriber is told is held, until settle or withdraw. It
// returns the last revision dispatched: the reply must be made from a view that is at
// least as new, as what was dispatched before was not noted. There may be no
// registrations. It fails if there are too many watches for those, and has done nothing
// then.
func (t *watchTable) arm(s *subscriber, regs []registration) (core.Rev, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.gone {
		return 0, nil
	}
	t.subs[s] = struct{}{}
	for i := range regs {
		if r := &regs[i]; len(r.path) <= maxWatchedPath {
			r.watch = t.add(s, r.kind, r.path)
			r.watch.arming = true
		}
	}
	if t.limit > 0 && t.weight > t.limit && len(regs) > 0 {
		t.disarm(regs)
		return 0, errTooManyWatches
	}
	s.holding = true
	return core.Rev(t.dispatched.Load()), nil
}

// settle queues a reply made from a view of rev, all events up to which are dispatched:
// behind the events up to rev, before those that the view does not show, and it sets
// those of the watches that are to be kept, which the latter may fire.
func (t *watchTable) settle(s *subscriber, rev core.Rev, reply []byte, regs []registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.gone {
		return
	}
	held := s.held
	s.holding, s.held, s.heldBytes = false, nil, 0
	for len(held) > 0 && held[0].rev <= rev {
		t.release(s, &held[0])
		held = held[1:]
	}
	s.out.append(reply)
	for i := range regs {
		if r := &regs[i]; r.watch != nil && r.keep {
			t.change(r.watch, true)
		}
	}
	s.told = 0
	for i := range held {
		t.fireHeld(s, &held[i])
	}
	t.disarm(regs)
}

// withdraw ends what arm began without a reply that sets the watches.
func (t *watchTable) withdraw(s *subscriber, regs []registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.gone {
		return
	}
	for i := range s.held {
		t.release(s, &s.held[i])
	}
	s.holding, s.held, s.heldBytes = false, nil, 0
	t.disarm(regs)
}

// release tells of an event that a reply does not depend on.
func (t *watchTable) release(s *subscriber, h *hit) {
	if h.watch == nil {
		t.deliver(s, &h.watchEvent)
	}
}

// fireHeld tells of an event that comes behind the reply. A watch that the reply has
// set may have fired since.
func (t *watchTable) fireHeld(s *subscriber, h *hit) {
	if w := h.watch; w != nil {
		if !w.set {
			return
		}
		if !w.list.kind.stays() {
			t.change(w, false)
		}
	}
	if s.told != h.seq {
		s.told = h.seq
		t.deliver(s, &h.watchEvent)
	}
}

// disarm forgets those of the watches that are not set.
func (t *watchTable) disarm(regs []registration) {
	for i := range regs {
		if w := regs[i].watch; w != nil {
			w.arming = false
			t.forget(w)
		}
	}
}
