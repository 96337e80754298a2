package node

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/storage/mvcc"
)

// readAhead reads what commands are going to need into the row caches, several rows at a
// time, before the apply goroutine would read them one after the other: a put needs the
// version that it replaces, and of millions of keys most are on the disk alone. It begins
// when an entry is handed to the log, so that it runs while that syncs. Whatever it does,
// or leaves out, changes nothing but how long applying takes.
//
// Where all that is needed is cached it sleeps, and costs a look at a counter.
type readAhead struct {
	n *Node
	// handed are entries on their way to the log, for run. What does not fit is left out.
	handed chan []byte
	// awake is how many more entries are looked at that turn out to need nothing.
	awake atomic.Int64
	// found counts what was read, for tests.
	found atomic.Int64
	// replayed is the last entry of the log when the member started: it and those before
	// it never pass through handed.
	replayed uint64
}

const (
	// maxHanded is how many entries wait to be looked at. If there are more, apply is
	// about to come to them.
	maxHanded = 16
	// stayAwake is for how many entries without a need it goes on: so that one row in
	// thousands of commands that is not cached does not keep it awake for good.
	stayAwake = 32
	// aheadReaders is how many reads run at a time while the member serves, replayReaders
	// while it does not yet: a disk answers several in the time of one.
	aheadReaders, replayReaders = 4, 16
	// fewNeeds is what is not worth another reader.
	fewNeeds = 4
)

func newReadAhead(n *Node) *readAhead {
	return &readAhead{n: n, handed: make(chan []byte, maxHanded), replayed: n.auth.from}
}

// appending is consensus.Config.Appending. It never waits.
func (r *readAhead) appending(data []byte) {
	if r.awake.Load() <= 0 {
		return
	}
	select {
	case r.handed <- data:
	default:
	}
}

// applied is told how many rows apply has read from the engine.
func (r *readAhead) applied(read int) {
	if read > 0 {
		r.awake.Store(stayAwake)
	}
}

// run reads ahead until ctx ends.
func (r *readAhead) run(ctx context.Context) {
	for {
		select {
		case data := <-r.handed:
			if e, err := command.DecodeEntry(data); err == nil { // or apply says so
				r.read(ctx, aheadReaders, &e)
			}
		case <-ctx.Done():
			return
		}
	}
}

// replay reads what committed entries need if they are such as the log held at the start:
// all of them are of the past, nobody waits for one of them alone, and in the worst case
// nothing is cached anywhere. It returns when that is done, which is soon: a batch is small.
func (r *readAhead) replay(batch []consensus.Committed) {
	if len(batch) == 0 || batch[0].Index > r.replayed {
		return
	}
	entries := make([]*command.Entry, len(batch))
	for i := range batch {
		entries[i] = &batch[i].Entry
	}
	r.read(context.Background(), replayReaders, entries...)
}

// read reads what entries need, with so many readers at most.
func (r *readAhead) read(ctx context.Context, readers int, entries ...*command.Entry) {
	v := r.n.published.hold()
	if v == nil {
		return
	}
	defer v.Close()
	var needs []mvcc.Need
	for _, e := range entries {
		needs = v.Needs(needs, e)
	}
	if len(needs) == 0 {
		r.awake.Add(-1)
		return
	}
	needs = mvcc.SortNeeds(needs)
	var found atomic.Int64
	var wait sync.WaitGroup
	for share := max(fewNeeds, (len(needs)+readers-1)/readers); len(needs) > 0; {
		some := needs[:min(share, len(needs))]
		needs = needs[len(some):]
		warm := func() {
			// An error is apply's to meet: it reads the same rows.
			n, _ := v.Warm(ctx, some)
			found.Add(int64(n))
		}
		if len(needs) == 0 {
			warm()
		} else {
			wait.Go(warm)
		}
	}
	wait.Wait()
	if found.Load() == 0 {
		r.awake.Add(-1)
		return
	}
	r.found.Add(found.Load())
	r.awake.Store(stayAwake)
}
