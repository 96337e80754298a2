package watch

import (
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// watch is one watch of one feed. The fields from feed to spec never change.
type watch struct {
	feed *feed
	id   core.WatchID
	spec core.WatchSpec

	// next is the first revision that is still wanted. While the watch is
	// joined it is the dispatcher's, which sets it only when the watch falls
	// behind; from the rejoin marker in the queue on it is the consumer's, until
	// the watch joins again.
	next core.Rev

	// The dispatcher's lock guards all below, but for progressQueued.

	// group and slot are the watch's place in the index; a nil group says that it
	// is behind. ended says that it exists no longer.
	group *group
	slot  int
	ended bool
	// progressHeld says that a progress delivery is due when the watch is
	// synced, progressQueued that one is on its way: one of a kind at a time.
	progressHeld   bool
	progressQueued atomic.Bool

	// Of the revision being matched: hitRev is its number, hits the number of
	// its changes that are wanted, first and last the indexes of the outermost.
	hitRev      core.Rev
	hits        int32
	first, last int32

	merging // the consumer's
}

// wantsKind reports whether the filters let c through.
func (w *watch) wantsKind(c *core.Change) bool {
	if c.KV.Deleted() {
		return !w.spec.NoDelete
	}
	return !w.spec.NoPut
}

// wants reports whether the watch is to be told of c.
func (w *watch) wants(c *core.Change) bool {
	return w.wantsKind(c) && w.spec.Contains(c.KV.Key)
}

// hit notes that change i of revision rev is wanted. It reports whether it is
// the revision's first.
func (w *watch) hit(rev core.Rev, i int) bool {
	w.last = int32(i)
	if w.hitRev == rev {
		w.hits++
		return false
	}
	w.hitRev, w.hits, w.first = rev, 1, w.last
	return true
}

// lacks reports whether rev, as the ring has it, does not do for w: the history has
// what is missing.
func (w *watch) lacks(rev *core.Revision) bool { return rev.NoPrevValues && w.spec.PrevKV }

// selection gathers what a watch that is behind is to be told in one delivery:
// whole revisions, up to a number and a size.
type selection struct {
	watch     *watch
	changes   []core.Change
	revisions int
	size      int
}

func (s *selection) full() bool {
	return s.revisions >= catchUpRevisions || s.size >= catchUpBytes
}

// add takes from rev what the watch wants.
func (s *selection) add(rev *core.Revision) {
	before := len(s.changes)
	for i := range rev.Changes {
		c := &rev.Changes[i]
		if s.watch.wants(c) {
			s.changes = append(s.changes, *c)
			s.size += c.KV.Size()
			if s.watch.spec.PrevKV {
				s.size += c.Prev.Size()
			}
		}
	}
	if len(s.changes) > before {
		s.revisions++
	}
}
