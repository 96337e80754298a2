package consensus

import (
	"fmt"
	"hash/fnv"

	"github.com/stretchr/testify/require"
)

// simShown is what a member shows: its state, of which digest tells all that came into it.
type simShown struct {
	shown  uint64 // the highest index
	digest uint64
}

// simViews is what readers and watchers make of what the members show.
type simViews struct {
	digests []uint64 // by index: of the history up to there
	watches []*simWatch
	pending []*simRead // answered: for their index to be shown
}

const simWatchCount = 3

func newSimViews() simViews {
	v := simViews{digests: make([]uint64, 2)}
	for range simWatchCount {
		v.watches = append(v.watches, &simWatch{next: 2})
	}
	return v
}

func chain(digest uint64, c *Committed) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, digest, c.Index, c.Term, c.Change)
	_, _ = h.Write(c.Data)
	return h.Sum64()
}

// showNew begins anew with a state of that index, at a start or behind an installation.
func (n *simNode) showNew() {
	n.digest = n.s.digests[n.applied]
	n.show()
	for _, w := range n.s.watches {
		if w.at == n {
			w.catchUp()
		}
	}
}

// showEntry shows the state with another entry in it, and tells the watchers.
func (n *simNode) showEntry(c *Committed) {
	n.digest = chain(n.digest, c)
	if c.Index == uint64(len(n.s.digests)) {
		n.s.digests = append(n.s.digests, n.digest)
	}
	n.show()
	for _, w := range n.s.watches {
		if w.at == n {
			w.see(c)
		}
	}
}

// show publishes a view: a prefix of the history, and never a shorter one than before.
func (n *simNode) show() {
	require.Equal(n.s.t, n.s.digests[n.applied], n.digest, "seed %d: member %d shows what never was", n.s.seed, n.id)
	require.GreaterOrEqual(n.s.t, n.applied, n.shown, "seed %d: member %d shows less than before", n.s.seed, n.id)
	n.shown = n.applied
}

// hide ends all views: the process has ended. Those who watch go to another member.
func (n *simNode) hide() {
	n.simShown = simShown{}
	for _, w := range n.s.watches {
		if w.at == n {
			w.at = nil
		}
	}
}

// runViews serves the readers whose index is shown, and has watchers go on.
func (s *sim) runViews(faults bool) {
	kept := s.pending[:0]
	for _, r := range s.pending {
		switch {
		case r.node.r == nil:
		case r.node.shown < r.index:
			kept = append(kept, r)
		default:
			s.counts["reads"]++
			require.GreaterOrEqual(s.t, r.node.shown, r.floor, "seed %d: a read missed what was acknowledged before it", s.seed)
		}
	}
	s.pending = kept
	for _, w := range s.watches {
		if w.at == nil || !s.conf().member(w.at.id) || faults && s.chance(1) {
			w.resume(s.any())
		}
	}
}

// simWatch is a watcher, which goes from member to member and resumes where it was.
type simWatch struct {
	at     *simNode
	next   uint64 // of the history
	digest uint64 // of all that it saw
}

// resume watches on a member. One that is behind has nothing to tell for a while.
func (w *simWatch) resume(n *simNode) {
	if n.runs() {
		n.s.counts["watching"]++
		w.at = n
		w.catchUp()
	}
}

// catchUp takes what lies behind from the member's state, which keeps its history.
func (w *simWatch) catchUp() {
	for w.next <= w.at.applied {
		w.see(&w.at.s.order[w.next])
	}
}

// see takes an event: whatever the member does, the next one of the history.
func (w *simWatch) see(c *Committed) {
	if c.Index < w.next {
		return // the member is behind
	}
	s := w.at.s
	require.Equal(s.t, w.next, c.Index, "seed %d: a watcher on member %d misses an event", s.seed, w.at.id)
	w.digest = chain(w.digest, c)
	require.Equal(s.t, s.digests[c.Index], w.digest, "seed %d: a watcher on member %d sees what never was", s.seed, w.at.id)
	w.next++
}

// finishViews checks that all watchers have seen all of the history. One that has not yet
// found a member among those that were does so now.
func (s *sim) finishViews() {
	for _, w := range s.watches {
		for w.at == nil || !s.conf().member(w.at.id) {
			w.resume(s.any())
		}
		require.Equal(s.t, s.last()+1, w.next, "seed %d: a watcher was not told all", s.seed)
	}
	require.Empty(s.t, s.pending)
}
