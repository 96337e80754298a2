package node

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// entryOf is an entry of puts of the keys of putMany.
func entryOf(from, to int) command.Entry {
	var cmds [][]byte
	for i := from; i < to; i++ {
		put := &core.Put{Key: fmt.Appendf(nil, "k%04d", i), Value: []byte("new")}
		cmds = append(cmds, command.AppendCommandAs(nil, core.Principal{Member: true}, put))
	}
	return command.Entry{Batches: []command.Batch{{Commands: cmds}}}
}

// aheadRig is a member that was started with nothing in its caches, and whose goroutines
// have ended, but for the test's, which is apply's, too.
func aheadRig(t *testing.T) (*Node, *applier) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 200)
	stopNode(t, n)
	n = startNode(t, cfg)
	require.NoError(t, n.Ready(testContext(t)))
	n.stop()
	require.NoError(t, n.driver.Stop())
	n.wait.Wait()
	n.disk.engine().machine.TakeReads()
	return n, newApplier(n)
}

// What entries need is read before apply asks for it: by several readers, while it is
// awake, which it is as long as it finds something.
func TestReadAhead(t *testing.T) {
	n, a := aheadRig(t)
	machine := n.disk.engine().machine
	index, term := machine.Applied()
	apply := func(e command.Entry) (read int) {
		index++
		_, err := machine.Apply(state.Entry{Index: index, Term: term, Frame: e}, nil)
		require.NoError(t, err)
		return machine.TakeReads()
	}
	r := a.ahead
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.run(ctx); close(ended) }()
	data := func(e command.Entry) []byte { return command.AppendEntry(nil, 1, e.Batches) }

	r.appending(data(entryOf(0, 10)))
	require.Empty(t, r.handed, "asleep")
	require.Equal(t, 10, apply(entryOf(0, 10)))
	r.applied(10) // which wakes it
	r.appending(data(entryOf(10, 100)))
	require.Eventually(t, func() bool { return r.found.Load() == 90 }, pollLimit, pollEvery)
	require.Zero(t, apply(entryOf(0, 100)))

	for range stayAwake { // nothing is found any more
		before := r.awake.Load()
		r.appending(data(entryOf(0, 100)))
		require.Eventually(t, func() bool { return r.awake.Load() < before }, pollLimit, pollEvery)
	}
	require.Zero(t, r.awake.Load())
	stop()
	<-ended
	r.applied(1)
	for range maxHanded + 10 { // nobody takes them, and nobody waits
		r.appending([]byte("no entry"))
	}
	require.Len(t, r.handed, maxHanded)
	stopNode(t, n)
}

// Entries that the log held at the start are read ahead when they are committed; later
// ones are not, again.
func TestReplayReadsAhead(t *testing.T) {
	n, a := aheadRig(t)
	index, term := n.disk.engine().machine.Applied()
	batch := func() []consensus.Committed {
		index++
		return []consensus.Committed{{Index: index, Term: term, Entry: entryOf(int(index)%10, 100)}}
	}
	a.ahead.replayed = index + 1
	first := batch()
	a.ahead.replay(first)
	require.EqualValues(t, 100-int(first[0].Index)%10, a.ahead.found.Load())
	require.NoError(t, a.Apply(first))
	require.Zero(t, n.disk.engine().machine.TakeReads())
	found := a.ahead.found.Load()
	require.EqualValues(t, found, n.upkeep.rows.Load())
	a.ahead.replay(batch())
	require.Equal(t, found, a.ahead.found.Load())
	stopNode(t, n)
}

// The state is flushed, too, when much had to be read from the engine for what was applied:
// a replay would have to read it again, from a disk.
func TestFlushAfterReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, testConfig(t))
		putMany(t, n, 0, 10)
		durable := func() uint64 {
			index, err := state.DurableIndex(n.disk.engine().db)
			require.NoError(t, err)
			return index
		}
		before := durable()
		n.upkeep.applied(time.Now(), 0, flushRows-1, false)
		synctest.Wait()
		require.Equal(t, before, durable())
		n.upkeep.applied(time.Now(), 0, 1, false)
		synctest.Wait()
		require.Greater(t, durable(), before)
		require.Zero(t, n.upkeep.rows.Load())
		stopNode(t, n)
	})
}

// What a flush has made durable is not read by a replay: the rows count again from there on.
func TestRowsCountOnceAFlush(t *testing.T) {
	n, a := aheadRig(t)
	index, term := n.disk.engine().machine.Applied()
	apply := func() {
		index++
		require.NoError(t, a.Apply([]consensus.Committed{{Index: index, Term: term, Entry: entryOf(0, 100)}}))
	}
	before := n.upkeep.rows.Load()
	apply()
	apply()
	require.EqualValues(t, 100, n.upkeep.rows.Load()-before)
	n.upkeep.rows.Store(flushRows)
	require.NoError(t, n.upkeep.shortenLog(t.Context()))
	require.Zero(t, n.upkeep.rows.Load())
	apply() // may have been under way when the flush began
	apply()
	require.EqualValues(t, 100, n.upkeep.rows.Load())
	stopNode(t, n)
}

// The engine may compact as soon as the last entry is applied that the log held at the start.
func TestSettlesOnceReplayed(t *testing.T) {
	n, a := aheadRig(t)
	<-n.disk.replayed
	index, term := n.disk.engine().machine.Applied()
	settled := 0
	n.disk.settle = func() { settled++ }
	a.settled, a.ahead.replayed = false, index+2
	for i := range 4 {
		index++
		require.NoError(t, a.Apply([]consensus.Committed{{Index: index, Term: term, Entry: entryOf(0, 1)}}))
		require.Equal(t, min(i, 1), settled)
	}
	stopNode(t, n)
}

// What the old state had to read is not the new one's, as with the commands.
func TestInstalledNeedsNoFlush(t *testing.T) {
	n, _ := aheadRig(t)
	n.upkeep.applied(time.Now(), 5, flushRows-1, false)
	n.upkeep.installed()
	require.Zero(t, n.upkeep.commands.Load())
	require.Zero(t, n.upkeep.rows.Load())
	stopNode(t, n)
}

// A view that has been replaced keeps nothing of the engine between its reads, however long
// somebody holds it.
func TestReplacedViewKeepsNoIterators(t *testing.T) {
	n, _ := aheadRig(t)
	e := n.disk.engine()
	iterators := func() int64 { return e.db.Metrics().Iterators }
	before := iterators()
	old := n.published.hold()
	read := func(i int) {
		res, err := old.Range(t.Context(), &core.Range{Interval: core.Interval{Key: fmt.Appendf(nil, "k%04d", i)}})
		require.NoError(t, err)
		require.Len(t, res.KVs, 1)
	}
	read(0)
	require.Greater(t, iterators(), before, "kept for the next read")
	next, _, err := e.machine.Commit()
	require.NoError(t, err)
	n.published.publish(next)
	require.Equal(t, before, iterators())
	read(1)
	require.Equal(t, before, iterators())
	old.Close()
	stopNode(t, n)
}
