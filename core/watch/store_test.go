package watch

import (
	"context"
	"slices"
	"sync"

	"github.com/triglot/triglot/core"
)

// store is the naive store of the tests: a list of all revisions there ever
// were. It serves as the History, and as what deliveries are compared with.
type store struct {
	mu        sync.Mutex
	rev       core.Rev
	compacted core.Rev
	revs      []*core.Revision
	state     map[string]*core.KV
	// chunk is how many revisions one call returns at most; zero is no limit.
	chunk int
	// fail, if set, is the outcome of the next call; block, if set, is received
	// from before a call returns.
	fail  error
	block chan struct{}
	calls int
	// large is the size of a revision's earlier states beyond which Revisions leaves
	// them out; zero is never. loads counts the calls of LoadPrev.
	large, loads int
}

func newStore() *store { return &store{rev: 1, state: make(map[string]*core.KV)} }

// edit is a put of value, or a deletion if value is empty.
type edit struct{ key, value string }

// write makes one revision of edits, or an empty one, and returns a copy of it.
// Deleting what does not exist is no change.
func (s *store) write(edits ...edit) *core.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev++
	rev := &core.Revision{Rev: s.rev}
	for _, e := range edits {
		prev := s.state[e.key]
		kv := &core.KV{Key: []byte(e.key), ModRev: s.rev}
		switch {
		case e.value == "" && prev == nil:
			continue
		case e.value == "":
			delete(s.state, e.key)
		default:
			kv.Value, kv.CreateRev, kv.Version = []byte(e.value), s.rev, 1
			if prev != nil {
				kv.CreateRev, kv.Version = prev.CreateRev, prev.Version+1
			}
			s.state[e.key] = kv
		}
		rev.Changes = append(rev.Changes, core.Change{KV: kv, Prev: prev})
	}
	if len(rev.Changes) > 0 {
		s.revs = append(s.revs, rev)
	}
	return &core.Revision{Rev: rev.Rev, Changes: slices.Clone(rev.Changes)} // the hub's own
}

func (s *store) compact(rev core.Rev) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compacted = rev
}

// Revisions implements History.
func (s *store) Revisions(ctx context.Context, from core.Rev, want core.Interval, withPrev bool, maxBytes int) ([]*core.Revision, core.Rev, error) {
	s.mu.Lock()
	s.calls++
	block := s.block
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail; err != nil {
		s.fail = nil
		return nil, 0, err
	}
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	if from < s.compacted {
		return nil, 0, core.Compacted
	}
	first, _ := slices.BinarySearchFunc(s.revs, from, func(r *core.Revision, rev core.Rev) int { return int(r.Rev - rev) })
	var revs []*core.Revision
	size := 0
	for _, rev := range s.revs[first:] {
		if s.chunk > 0 && len(revs) == s.chunk || size >= maxBytes {
			return revs, rev.Rev, nil
		}
		part := &core.Revision{Rev: rev.Rev}
		before := 0
		for _, c := range rev.Changes {
			if want.Contains(c.KV.Key) {
				if !withPrev {
					c.Prev = nil
				}
				part.Changes = append(part.Changes, c)
				size += c.KV.Size() + c.Prev.Size()
				before += c.Prev.Size()
			}
		}
		if s.large > 0 && before > s.large {
			part = hollowed(part)
		}
		if len(part.Changes) > 0 {
			revs = append(revs, part)
		}
	}
	return revs, s.rev + 1, nil
}

// LoadPrev implements History.
func (s *store) LoadPrev(_ context.Context, rev *core.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	rev.NoPrevValues = false
	at, _ := slices.BinarySearchFunc(s.revs, rev.Rev, func(r *core.Revision, rev core.Rev) int { return int(r.Rev - rev) })
	for i := range rev.Changes {
		for _, c := range s.revs[at].Changes {
			if string(c.KV.Key) == string(rev.Changes[i].KV.Key) {
				rev.Changes[i].Prev = c.Prev
			}
		}
	}
	return nil
}

func (s *store) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// between returns what a watch of spec is to be told of the revisions in
// [from, to], as a list of events.
func (s *store) between(spec core.WatchSpec, from, to core.Rev) []core.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []core.Change
	for _, rev := range s.revs {
		for _, c := range rev.Changes {
			filtered := c.KV.Deleted() && spec.NoDelete || !c.KV.Deleted() && spec.NoPut
			if rev.Rev >= from && rev.Rev <= to && spec.Contains(c.KV.Key) && !filtered {
				events = append(events, c)
			}
		}
	}
	return events
}

// dispatchAll moves the dispatcher as far as it goes.
func (h *Hub) dispatchAll() {
	for h.dispatcher.step() {
	}
}
