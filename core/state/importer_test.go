package state

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/mvcc"
)

// imports makes a state of what fill adds.
func imports(t *testing.T, rest *Imported, fill func(i *Importer)) *Machine {
	t.Helper()
	db, err := storage.Open("db", storage.Options{FS: storage.NewMemFS()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, Bootstrap(db, 1, []core.Member{{ID: 7}}, "/zk"))
	i, err := Import(db, mvcc.Caches{}, true)
	require.NoError(t, err)
	fill(i)
	require.NoError(t, i.Finish(context.Background(), rest))
	require.NoError(t, i.Close())
	m, err := Open(db, mvcc.Caches{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func version(key string, rev, create core.Rev, n int64, id core.LeaseID) *core.KV {
	return &core.KV{Key: []byte(key), Value: []byte(key), ModRev: rev, CreateRev: create, Version: n, Lease: id}
}

func tombstone(key string, rev core.Rev) *core.KV { return &core.KV{Key: []byte(key), ModRev: rev} }

// TestImportLeavesWhatCommandsWould: revisions that change a key more than once, keys
// whose lease is gone, history that was given up before and what is given up now.
func TestImportLeavesWhatCommandsWould(t *testing.T) {
	m := imports(t, &Imported{Rev: 9, Compacted: 4}, func(i *Importer) {
		require.NoError(t, i.Lease(5, lease.Lease{TTL: time.Minute, Granted: 99}))
		for _, kv := range []*core.KV{
			version("old", 2, 1, 7, 0), // what was before is compacted
			version("a", 3, 3, 1, 5),
			version("/zk/x/y", 3, 3, 1, 0),
			version("a", 4, 3, 2, 6), // a lease that is gone
			tombstone("b", 5),        // of a key that is compacted
			tombstone("a", 6), version("a", 6, 6, 1, 5),
			version("b", 7, 7, 1, 0), tombstone("b", 7),
			version("/zk/x", 7, 7, 1, 5),
			tombstone("/zk/x/y", 8),
		} {
			require.NoError(t, i.Change(kv))
		}
		require.Error(t, i.Change(version("late", 2, 2, 1, 0)))
	})
	require.Equal(t, core.Rev(9), m.pos.rev)
	require.Equal(t, int64(3), m.pos.keys, "old, a, /zk/x")
	keys, err := m.leases.Keys(5)
	require.NoError(t, err)
	require.Equal(t, []string{"/zk/x", "a"}, []string{string(keys[0]), string(keys[1])})
	require.True(t, m.leases.ExistedAt(5, FirstIndex))

	view, _, err := m.Commit()
	require.NoError(t, err)
	defer view.Close()
	at := func(key string, rev core.Rev) string {
		kv, err := view.reader.Get([]byte(key), rev)
		require.NoError(t, err)
		if kv == nil || kv.Deleted() {
			return "none"
		}
		return string(kv.Value)
	}
	require.Equal(t, "old", at("old", 4))
	require.Equal(t, "a", at("a", 4))
	require.Equal(t, "a", at("a", 9))
	require.Equal(t, "none", at("b", 9))
	revs, _, err := view.reader.Revisions(context.Background(), 4, core.Interval{Key: []byte{0}, End: core.FromKey}, true, 1<<20)
	require.NoError(t, err)
	var seen []string
	for _, r := range revs {
		for _, c := range r.Changes {
			prev := "-"
			if c.Prev != nil {
				prev = fmt.Sprint(c.Prev.ModRev)
			}
			seen = append(seen, fmt.Sprintf("%d %s after %s", r.Rev, c.KV.Key, prev))
		}
	}
	require.Equal(t, []string{"4 a after -", "5 b after -", "6 a after 4", "7 b after -", "7 /zk/x after -", "8 /zk/x/y after 3"}, seen)
	z, err := view.Znodes().Znode("/x", 0)
	require.NoError(t, err)
	require.Equal(t, core.Rev(3), z.Czxid, "it was an implicit parent before")
	require.Equal(t, int32(0), z.NumChildren)
	require.Equal(t, core.LeaseID(5), z.EphemeralOwner)
	_, err = view.Znodes().Znode("/x/y", 0)
	require.ErrorIs(t, err, core.NoNode)
}

func TestImportRefusesRowsThatAreNone(t *testing.T) {
	imports(t, &Imported{}, func(i *Importer) {
		require.Error(t, i.Row([]byte("nonsense"), nil))
		require.Error(t, i.Recall([]byte("nonsense"), nil, 1))
	})
}
