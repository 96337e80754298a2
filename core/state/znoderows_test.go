package state

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
)

// An early store does not say what the rows of znodes take: it is found out when the
// store is opened, and kept from the next change on.
func TestRowBytesOfAnEarlyStore(t *testing.T) {
	r := newRig(t)
	r.apply(&core.Put{Key: []byte("/zk/a/b/c")}, &core.LeaseGrant{ID: 1, TTL: 1e9})
	r.commit()
	want := r.view.RowBytes()
	row, err := r.db.Get(row(keys.MetaZnodes))
	require.NoError(t, err)
	b := r.db.NewBatch()
	b.Set(keys.AppendMeta(nil, keys.MetaZnodes), row[:24])
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	require.NoError(t, r.db.Flush())
	for range 2 {
		r.crash()
		require.Equal(t, want, r.view.RowBytes())
		require.NoError(t, r.db.Flush())
	}
	r.apply(&core.DeleteRange{Interval: core.Interval{Key: []byte("/zk/a/b/c")}}, &core.LeaseRevoke{ID: 1})
	r.commit()
	require.Less(t, r.view.RowBytes(), want)
	require.NotEmpty(t, r.walk())
}

// A store of before there was an index has containers, and znodes of quotas, all the
// same: they are found when it is opened.
func TestIndexOfAnEarlyStore(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: 1e9},
		znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/c", Kind: core.ZnodeContainer}, core.ZnodeOp{Type: core.ZnodeCreate, Path: "/c/x"}),
		&core.Put{Key: []byte("/zk/zookeeper/quota/q/zookeeper_limits")})
	counts, err := r.db.Get(row(keys.MetaZnodes))
	require.NoError(t, err)
	b := r.db.NewBatch()
	b.Set(keys.AppendMeta(nil, keys.MetaZnodes), counts[:32])
	b.Delete(keys.AppendZnodeIndex(nil, keys.IndexContainer, "/c"))
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	require.NoError(t, r.db.Flush())
	for range 2 {
		r.crash()
		again, err := r.db.Get(row(keys.MetaZnodes))
		require.NoError(t, err)
		require.Equal(t, counts, again)
		require.NotEmpty(t, r.walk())
		require.NoError(t, r.db.Flush())
	}
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/c/x"}))
	due, err := r.view.Reapable(t.Context(), nil, 1, 0, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"/c"}, due.Paths)
}

// A reaper goes through the index page by page.
func TestPagesOfTheIndex(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: 1e9})
	var want []string
	for i := range 25 {
		op := core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/n%02d", i), Kind: core.ZnodeTTL, TTL: time.Hour}
		if i%2 == 0 {
			op.TTL = time.Millisecond
			want = append(want, op.Path)
		}
		r.must(znodeWrite(op))
	}
	var got []string
	for due := (znode.Due{More: true}); due.More; {
		var err error
		due, err = r.view.Reapable(t.Context(), due.Last, 5, r.clock+1000, 0)
		require.NoError(t, err)
		require.LessOrEqual(t, len(due.Paths), 5)
		got = append(got, due.Paths...)
	}
	require.Equal(t, want, got)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.view.Reapable(ctx, nil, 5, r.clock+1000, 0)
	require.ErrorIs(t, err, core.Canceled)
}

// The number of znodes below one is counted until the context ends.
func TestDescendantsEndWithTheContext(t *testing.T) {
	r := newRig(t)
	r.must(&core.SessionOpen{ID: 10, Timeout: 1e9}, znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/many"}))
	r.createMany("/many/n-", 3000)
	n, err := r.view.Znodes().Descendants(t.Context(), "/many")
	require.NoError(t, err)
	require.EqualValues(t, 3000, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.view.Znodes().Descendants(ctx, "/many")
	require.ErrorIs(t, err, core.Canceled)
}

// A command of the reaper of another term changes nothing.
func TestReapOfAnotherTerm(t *testing.T) {
	r := newRig(t)
	r.who.Member = true
	require.Equal(t, core.LeaderChanged, r.apply(&core.ZnodeReap{Paths: []string{"/c"}, Term: r.term + 1})[0].Err)
	require.NoError(t, r.apply(&core.ZnodeReap{Paths: []string{"/c"}, Term: r.term})[0].Err)
	r.commit()
}
