package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
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
