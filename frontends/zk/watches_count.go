package zk

import (
	"time"

	"github.com/triglot/triglot/core"
)

// watcherTally counts whom events are for (ZooKeeper 3.9 WatchManager.triggerWatch). It
// belongs to the table of watches.
type watcherTally struct {
	// round numbers the counts, and n is the present one's.
	round uint64
	n     int
	// summaries is where they go; nil is nowhere.
	summaries *[numSummaries]summary
}

// watchCounts are the summaries of what happens to a znode.
var watchCounts = [...]timing{
	core.ZnodeCreated:     watchesCreated,
	core.ZnodeDeleted:     watchesDeleted,
	core.ZnodeDataChanged: watchesChanged,
}

// countStep counts who watches what a step does, before their watches fire. As in
// ZooKeeper, the watches of a znode and those of its children are counted apart; one who
// has several of either counts once, and counts even if the event may not be told.
func (t *watchTable) countStep(step *core.ZnodeStep) {
	if t.tally.summaries == nil {
		return
	}
	t.tally.begin()
	t.tally.add(t.lists[watchData][step.Path])
	t.tally.add(t.lists[watchPersistent][step.Path])
	if recursive := t.lists[watchRecursive]; len(recursive) > 0 {
		t.tally.add(recursive[step.Path])
		for path := step.Path; path != "/"; {
			path = parent(path)
			t.tally.add(recursive[path])
		}
	}
	t.tally.end(watchCounts[step.Event])
	if step.Event == core.ZnodeDeleted {
		t.countChildren(step.Path, watchesDeleted)
	}
	if step.Event != core.ZnodeDataChanged && step.Path != "/" {
		t.countChildren(parent(step.Path), watchesOfChildren)
	}
}

// countChildren counts who watches the children of a znode.
func (t *watchTable) countChildren(path string, as timing) {
	t.tally.begin()
	t.tally.add(t.lists[watchChild][path])
	t.tally.add(t.lists[watchPersistent][path])
	t.tally.end(as)
}

func (w *watcherTally) begin() {
	w.round++
	w.n = 0
}

// add counts those who have a watch of a list, which may be nil, and are not counted yet.
func (w *watcherTally) add(list *watchList) {
	if list == nil {
		return
	}
	for _, watch := range list.watches {
		if watch.set && watch.sub.counted != w.round {
			watch.sub.counted = w.round
			w.n++
		}
	}
}

// end adds the count to a summary, unless nobody watches. What summaries take for a
// millisecond is one of them.
func (w *watcherTally) end(as timing) {
	if w.n > 0 {
		w.summaries[as].observe(time.Duration(w.n)*time.Millisecond, 1)
	}
}
