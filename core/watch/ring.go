package watch

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core"
)

// ring holds the newest revisions, in order, bounded by bytes. It also knows
// whether anybody has a use for them, so that publishing to no one costs no
// wake-up.
type ring struct {
	maxBytes int

	// mu guards all below. It is a leaf: nothing is called while it is held.
	mu sync.Mutex
	// entries is a circular buffer whose length is a power of two: the count
	// entries from head on are in use.
	entries     []entry
	head, count int
	bytes       int
	// The ring answers for the revisions in (base, last]: each is in entries or
	// changed nothing.
	base, last core.Rev
	// dispatched is how far the dispatcher has come; listeners is the number of
	// watches it has, and of followers that somebody listens to. While there are none, dispatched may fall behind.
	dispatched core.Rev
	listeners  int
	// compacted is the newest compaction, noticed the one that the dispatcher
	// knows of. The former is written under mu and read without.
	compacted atomic.Int64
	noticed   core.Rev
	// grown tells those who await last that it has moved.
	grown sync.Cond
	// asleep says that the hub's goroutine waits to be woken.
	asleep bool
}

// entry is a revision and its size.
type entry struct {
	rev  *core.Revision
	size int
}

// revisionOverhead approximates the memory of a Revision and its entry.
const revisionOverhead = 64

// stepOverhead is the memory of a ZnodeStep without its path.
const stepOverhead = 24

func sizeOf(rev *core.Revision) int {
	size := revisionOverhead
	for i := range rev.Steps {
		size += stepOverhead + len(rev.Steps[i].Path)
	}
	for i := range rev.Changes {
		size += rev.Changes[i].KV.Size() + rev.Changes[i].Prev.Size()
	}
	return size
}

func (r *ring) init(maxBytes int, start, compacted core.Rev) {
	r.maxBytes = maxBytes
	r.entries = make([]entry, 64)
	r.grown.L = &r.mu
	r.base, r.last, r.dispatched = start, start, start
	r.noticed = compacted
	r.compacted.Store(int64(compacted))
}

// append adds revs and moves the current revision to rev, or to the last of revs
// if that is higher. It reports whether the hub must be woken.
func (r *ring) append(revs []*core.Revision, rev core.Rev) (wake bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range revs {
		if v.Rev <= r.last {
			panic(fmt.Sprintf("watch: revision %d published after %d", v.Rev, r.last))
		}
		r.last = v.Rev
		size := sizeOf(v)
		if r.listeners > 1 {
			size += addMemos(v)
		}
		r.push(entry{v, size})
	}
	r.last = max(r.last, rev)
	r.grown.Broadcast()
	return r.listeners > 0 && r.wakeLocked()
}

// addMemos gives each change of a revision, which nobody else has seen yet, a place
// for what its readers share. It returns the memory that this may take.
func addMemos(v *core.Revision) (bytes int) {
	memos := make([]core.Memo, len(v.Changes))
	for i := range memos {
		c := &v.Changes[i]
		c.Memo = &memos[i]
		bytes += c.MemoRoom()
	}
	return bytes
}

// push makes room by dropping the oldest entries, but never the one it adds:
// however small the ring, it holds the newest revision.
func (r *ring) push(e entry) {
	for r.count > 0 && r.bytes+e.size > r.maxBytes {
		oldest := &r.entries[r.head]
		r.base = oldest.rev.Rev
		r.bytes -= oldest.size
		*oldest = entry{}
		r.head = (r.head + 1) & (len(r.entries) - 1)
		r.count--
	}
	if r.count == len(r.entries) {
		grown := make([]entry, 2*len(r.entries))
		n := copy(grown, r.entries[r.head:])
		copy(grown[n:], r.entries[:r.head])
		r.entries, r.head = grown, 0
	}
	*r.at(r.count) = e
	r.count++
	r.bytes += e.size
}

// reset empties the ring: it answers for what comes after rev, which was reached without
// it. It reports whether the hub must be woken.
func (r *ring) reset(rev, compacted core.Rev) (wake bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rev < r.last {
		panic(fmt.Sprintf("watch: reset to revision %d after %d", rev, r.last))
	}
	clear(r.entries)
	r.head, r.count, r.bytes = 0, 0, 0
	r.base, r.last = rev, rev
	r.compacted.Store(int64(max(compacted, r.compactRev())))
	r.grown.Broadcast()
	return r.wakeLocked()
}

// at returns the i-th oldest entry.
func (r *ring) at(i int) *entry {
	return &r.entries[(r.head+i)&(len(r.entries)-1)]
}

// read copies the revisions in [from, to] into buf, as many as fit. next is the
// first revision that it did not cover. ok is false if the ring no longer
// answers for from; next is then the first revision that it does answer for.
func (r *ring) read(from, to core.Rev, buf []entry) (n int, next core.Rev, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from <= r.base {
		return 0, r.base + 1, false
	}
	to = min(to, r.last)
	if from > to {
		return 0, from, true
	}
	low, high := 0, r.count // the first entry at or after from
	for low < high {
		mid := (low + high) / 2
		if r.at(mid).rev.Rev < from {
			low = mid + 1
		} else {
			high = mid
		}
	}
	for ; low < r.count; low++ {
		e := r.at(low)
		if e.rev.Rev > to {
			break
		}
		if n == len(buf) {
			return n, buf[n-1].rev.Rev + 1, true
		}
		buf[n] = *e
		n++
	}
	return n, to + 1, true
}

// listen counts a watch or a follower in. It returns the revision published last, which the
// dispatcher must reach before the watch exists, and how far it has come: while
// nobody listened, all that was published counts as dispatched.
func (r *ring) listen() (last, dispatched core.Rev) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == 0 {
		r.dispatched = r.last
	}
	r.listeners++
	return r.last, r.dispatched
}

// unlisten counts n of them out.
func (r *ring) unlisten(n int) {
	r.mu.Lock()
	r.listeners -= n
	r.mu.Unlock()
}

// published returns the revision published last.
func (r *ring) published() core.Rev {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// await waits until rev has been published, which must be under way, and returns
// the revision published last.
func (r *ring) await(rev core.Rev) core.Rev {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.last < rev {
		r.grown.Wait()
	}
	return r.last
}

// setDispatched records how far the dispatcher has come.
func (r *ring) setDispatched(rev core.Rev) {
	r.mu.Lock()
	r.dispatched = rev
	r.mu.Unlock()
}

// heard returns the revision up to which every watch has been told.
func (r *ring) heard() core.Rev {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == 0 {
		return r.last
	}
	return r.dispatched
}

// compact records a compaction and reports whether the hub must be woken.
func (r *ring) compact(rev core.Rev) (wake bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rev <= r.compactRev() {
		return false
	}
	r.compacted.Store(int64(rev))
	return r.wakeLocked()
}

// noticeCompaction reports whether there was a compaction since the last call.
func (r *ring) noticeCompaction() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.compactRev() > r.noticed
	r.noticed = r.compactRev()
	return fresh
}

// compactRev returns the revision compacted to.
func (r *ring) compactRev() core.Rev { return core.Rev(r.compacted.Load()) }

// sleep marks the hub's goroutine as asleep, unless there is something to do.
func (r *ring) sleep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asleep = r.compactRev() == r.noticed && (r.listeners == 0 || r.dispatched == r.last)
	return r.asleep
}

func (r *ring) wakeLocked() bool {
	wake := r.asleep
	r.asleep = false
	return wake
}
