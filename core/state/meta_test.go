package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

func TestPositionRow(t *testing.T) {
	want := position{index: 1, term: 2, rev: 3, clock: 4, keys: 5}
	row := want.append(nil)
	got, err := decodePosition(row)
	require.NoError(t, err)
	require.Equal(t, want, got)

	got, err = decodePosition(row[:32]) // of an early store
	require.NoError(t, err)
	want.keys = unknown
	require.Equal(t, want, got)

	for _, bad := range [][]byte{nil, row[:31], row[:39], append(row, 0)} {
		_, err = decodePosition(bad)
		require.ErrorContains(t, err, "malformed position row")
	}
}

// An early store does not say how many keys there are: they are counted when the store
// is opened, and the number is kept from the next commit on.
func TestKeysOfAnEarlyStore(t *testing.T) {
	r := newRig(t)
	r.apply(
		&core.Put{Key: []byte("a")}, &core.Put{Key: []byte("a")}, &core.Put{Key: []byte("b")}, &core.Put{Key: []byte("/zk/a/b")},
		&core.DeleteRange{Interval: core.Interval{Key: []byte("b")}},
	)
	r.commit()
	require.Equal(t, int64(2), r.view.Keys())
	applied, err := r.db.Get(row(keys.MetaApplied))
	require.NoError(t, err)
	b := r.db.NewBatch()
	b.Set(row(keys.MetaApplied), applied[:32])
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	require.NoError(t, r.db.Flush())
	index, err := DurableIndex(r.db)
	require.NoError(t, err)
	require.Equal(t, uint64(FirstIndex+1), index)
	for range 2 {
		r.crash()
		require.Equal(t, int64(2), r.view.Keys())
		require.NoError(t, r.db.Flush())
	}
	applied, err = r.db.Get(row(keys.MetaApplied))
	require.NoError(t, err)
	require.Len(t, applied, positionLen)
	r.apply(&core.Put{Key: []byte("c")})
	r.commit()
	require.Equal(t, int64(3), r.view.Keys())
}
