package mvcc

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

func TestDistinct(t *testing.T) {
	var d distinct
	for range 3 {
		for i := range 10_000 {
			d.add(hashOf([]byte{byte(i), byte(i >> 8)}))
		}
	}
	n := d.take()
	require.LessOrEqual(t, n, 10_000)
	require.Greater(t, n, 9_700, "one in fifty is taken for another")
	d.add(hashOf([]byte{1, 1}))
	require.Zero(t, d.take())
}

// What is looked up is counted once, cached or not, until it is forgotten; what the batch
// itself has, and what is not there, is not.
func TestLookedUp(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w, err := NewWriter(db, Caches{})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	put := func(rev core.Rev, key string) {
		prev, err := w.Get([]byte(key), 0)
		require.NoError(t, err)
		w.Put(&core.KV{Key: []byte(key), Value: []byte("v"), CreateRev: rev, ModRev: rev, Version: 1}, 0, prev)
	}
	put(2, "a")
	put(3, "a")
	require.Zero(t, w.TakeLooked(), "absent, and in the batch")
	require.NoError(t, w.Commit(1))
	put(4, "a")
	require.Equal(t, 1, w.TakeLooked())
	require.NoError(t, w.Commit(2))
	put(5, "a")
	require.Zero(t, w.TakeLooked(), "once")
	require.NoError(t, w.Commit(3))
	w.ForgetLooked()
	put(6, "a")
	require.Equal(t, 1, w.TakeLooked())
}
