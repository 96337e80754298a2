package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// Bugs that etcd shipped (reference/etcd.md 8), as they would show in one member.

// deleteOf removes a key and returns the revision of that.
func deleteOf(t *testing.T, n *Node, key string) core.Rev {
	t.Helper()
	res, err := n.Do(testContext(t), core.Principal{}, &core.DeleteRange{Interval: core.Interval{Key: []byte(key)}})
	require.NoError(t, err)
	return res.Rev
}

// eventsOf reads a watch until it was told of a revision.
func eventsOf(t *testing.T, f core.Feed, until core.Rev) (revs []core.Rev) {
	t.Helper()
	for len(revs) == 0 || revs[len(revs)-1] < until {
		d, err := f.Next(testContext(t))
		require.NoError(t, err)
		require.NotEqual(t, core.DeliverCompacted, d.Kind)
		for _, c := range d.Changes {
			revs = append(revs, c.KV.ModRev)
		}
	}
	return revs
}

// TestDeletionAtTheCompactedRevision: the last change of a key, and of all, is its
// deletion, and that very revision is compacted and collected. Watches from there, of
// before (etcd #18089) and of after (#19179), and of after a crash, are told of it; and
// the revision does not go back when nothing of it is left but that (#17780).
func TestDeletionAtTheCompactedRevision(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 20)
	put(t, n, "gone", "1")
	put(t, n, "gone", "2")
	// It reads nothing yet, and has to catch up from the history.
	slow, err := n.Watch(t.Context())
	require.NoError(t, err)
	rev := deleteOf(t, n, "gone")
	slow.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("gone")}, Start: rev})
	_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev})
	require.NoError(t, err)
	require.NoError(t, n.WaitCompacted(testContext(t), rev))

	watchFromThere := func(n *Node) {
		f, err := n.Watch(t.Context())
		require.NoError(t, err)
		f.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("gone")}, Start: rev})
		require.Equal(t, []core.Rev{rev}, eventsOf(t, f, rev))
		f.Close()
	}
	require.Equal(t, []core.Rev{rev}, eventsOf(t, slow, rev))
	slow.Close()
	watchFromThere(n)

	for _, unsynced := range []int{0, 50, 100} {
		again := startNode(t, crashed(cfg, unsynced, uint64(unsynced)))
		require.NoError(t, again.Ready(testContext(t)))
		require.Equal(t, rev, again.Status().Rev)
		require.NoError(t, again.WaitCompacted(testContext(t), rev))
		watchFromThere(again)
		require.Equal(t, rev+1, put(t, again, "next", "x"), "no revision is used twice and none is skipped")
		stopNode(t, again)
	}
	stopNode(t, n)
}

// TestRevisionWhenNothingIsLeft: all keys are deleted, which is compacted, and collected
// or not when the power fails: the revision is where it was (etcd #17780), with a
// defragmentation in between, too (#14685).
func TestRevisionWhenNothingIsLeft(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	const keys = 50
	putMany(t, n, 0, keys)
	res, err := n.Do(testContext(t), core.Principal{}, &core.DeleteRange{Interval: core.Interval{Key: []byte("k"), End: []byte("l")}})
	require.NoError(t, err)
	require.EqualValues(t, keys, res.Outcome.(core.DeleteOutcome).Deleted)
	rev := deleteOf(t, n, "none") // which is no revision
	require.Equal(t, res.Rev, rev)
	_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev})
	require.NoError(t, err)
	amid := crashed(cfg, 50, 1)
	require.NoError(t, n.WaitCompacted(testContext(t), rev))
	collected := crashed(cfg, 50, 2)
	require.NoError(t, n.Defragment(testContext(t), core.Principal{}))
	defragmented := crashed(cfg, 50, 3)
	hash, err := n.HashKV(testContext(t), core.Principal{}, rev)
	require.NoError(t, err)
	stopNode(t, n)
	for _, left := range []Config{amid, collected, defragmented, cfg} {
		n := startNode(t, left)
		require.NoError(t, n.Ready(testContext(t)))
		require.Equal(t, rev, n.Status().Rev)
		require.NoError(t, n.WaitCompacted(testContext(t), rev))
		again, err := n.HashKV(testContext(t), core.Principal{}, rev)
		require.NoError(t, err)
		require.Equal(t, hash, again)
		require.Equal(t, "<none>", get(t, n, "k0000"))
		require.Equal(t, rev+1, put(t, n, "k0000", "x"))
		stopNode(t, n)
	}
}
