package watch

import "github.com/triglot/triglot/core"

// One delivery to a late reader has at most so many queued revisions, and about so many
// bytes: enough that what a message costs by itself no longer counts, and so little that
// the other watches of the feed do not wait.
const (
	mergeRevisions = 64
	mergeBytes     = 64 << 10
)

// merging is what the consumer knows of a watch in the half that it has just taken over:
// the last item that is told together with the one before, and what is told by now. It is
// of use only while epoch is the feed's.
type merging struct {
	epoch            uint64
	tail             *item
	revisions, bytes int
}

// merge links the items of several revisions for one watch, so that they are told
// together, where the first of them is. Nothing moves across an item that is no event,
// such as a progress delivery, which would then say too little.
func (f *feed) merge() {
	f.epoch++
	for c := f.out; c != nil; c = c.next {
		for i := range c.items[:c.n] {
			it := &c.items[i]
			if it.kind != itemEvents {
				f.epoch++
				continue
			}
			m, size := &it.watch.merging, it.size()
			if m.epoch == f.epoch && m.revisions < mergeRevisions && m.bytes+size <= mergeBytes {
				m.tail.more = it
			} else {
				*m = merging{epoch: f.epoch}
			}
			m.tail = it
			m.revisions++
			m.bytes += size
		}
	}
}

// size is about that of the events that the item stands for.
func (it *item) size() (n int) {
	for i := it.first; i <= it.last; i++ {
		c := &it.rev.Changes[i]
		n += c.KV.Size()
		if it.watch.spec.PrevKV {
			n += c.Prev.Size()
		}
	}
	return n
}

// together returns the changes of it and of those linked to it, which are then told, and
// the last one's revision.
func (f *feed) together(it *item) ([]core.Change, core.Rev) {
	it.watch.tail = nil // the chunks are others' before long
	changes, rev := f.changes(it), it.rev.Rev
	if it.more == nil {
		return changes, rev
	}
	all := make([]core.Change, 0, it.watch.revisions)
	all = append(all, changes...)
	for next := it.more; next != nil; {
		all = append(all, f.changes(next)...)
		rev = next.rev.Rev
		told := next
		next = told.more
		*told = item{kind: itemTold}
	}
	return all, rev
}
