package mvcc

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// What was warmed the Writer finds in the caches, and reads nothing from the engine.
func TestWarm(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	for i := range 50 {
		w.Put(next(nil, fmt.Sprint("key", i), 2, "value", 0), uint32(i), nil)
		w.SetRow([]byte(znodeRow(fmt.Sprint("/", i))), []byte("row"))
	}
	w.Delete([]byte("key7"), 3, 0, nil, 0)
	require.NoError(t, w.Commit(1))

	caches := Caches{Versions: NewCache(1 << 20), Rows: NewCache(1 << 20)}
	w = mustWriter(t, db, caches)
	r := NewReader(db, caches, 1, 3, 0)
	var needs []Need
	for range 2 { // each twice
		for i := range 60 { // ten of which there are not
			needs = r.Missing(needs, fmt.Append(nil, "key", i), false)
			needs = r.Missing(needs, []byte(znodeRow(fmt.Sprint("/", i))), true)
		}
	}
	require.Len(t, needs, 240)
	needs = SortNeeds(needs)
	require.Len(t, needs, 120)
	found, err := r.Warm(t.Context(), needs)
	require.NoError(t, err)
	require.Equal(t, 49+50, found)
	require.EqualValues(t, 49, caches.Versions.Stats().Entries)
	require.EqualValues(t, 50, caches.Rows.Stats().Entries)
	found, err = r.Warm(t.Context(), needs)
	require.NoError(t, err)
	require.Zero(t, found, "a second time")

	for i := range 60 {
		kv, err := w.Get(fmt.Append(nil, "key", i), 0)
		require.NoError(t, err)
		require.Equal(t, i < 50 && i != 7, kv != nil)
		row, err := w.GetRow([]byte(znodeRow(fmt.Sprint("/", i))))
		require.NoError(t, err)
		require.Equal(t, i < 50, row != nil)
	}
	require.Zero(t, w.TakeReads())
	require.NoError(t, w.Close())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	caches.Versions.Clear(0)
	found, err = r.Warm(ctx, needs)
	require.NoError(t, err)
	require.Zero(t, found)
	_, err = w.Get([]byte("key1"), 0)
	require.NoError(t, err)
	require.Equal(t, 1, w.TakeReads())
	require.Zero(t, w.TakeReads())
	require.NoError(t, w.Close())
}

// What was warmed for a view does not come between the Writer and what it has written
// since; of the keys that it has not written, most do, however many batches there were.
func TestWarmOfAnOlderView(t *testing.T) {
	const keyCount = 1000
	db := mustOpen(t, storage.Options{})
	caches := Caches{Versions: NewCache(1 << 20)}
	w := mustWriter(t, db, caches)
	key := func(i int) string { return fmt.Sprint("key", i) }
	for i := range keyCount {
		w.Put(next(nil, key(i), 2, "old", 0), uint32(i), nil)
	}
	require.NoError(t, w.Commit(1))
	caches.Versions.Clear(0)
	snapshot := db.NewSnapshot()
	r := NewReader(snapshot, caches, 1, 2, 0)
	var needs []Need
	for i := range keyCount {
		needs = r.Missing(needs, []byte(key(i)), false)
	}
	for i := range 10 {
		prev, err := w.Get([]byte(key(i)), 0)
		require.NoError(t, err)
		w.Put(next(prev, key(i), core.Rev(3+i), "new", 0), 0, prev)
		require.NoError(t, w.Commit(uint64(2+i)))
	}
	caches.Versions.shards[0].entries.reset(0) // as if all had been evicted
	caches.Versions.shards[0].bytes = 0
	_, err := r.Warm(t.Context(), SortNeeds(needs))
	require.NoError(t, err)
	require.Greater(t, caches.Versions.Stats().Entries, int64(keyCount*9/10))
	for i := range keyCount {
		want := "old"
		if i < 10 {
			want = "new"
		}
		kv, err := w.Get([]byte(key(i)), 0)
		require.NoError(t, err)
		require.Equal(t, want, string(kv.Value))
	}
	require.NoError(t, w.Close())
	require.NoError(t, snapshot.Close())
}

// What no cache takes was not read ahead: apply reads it again, and counts it.
func TestWarmOfWhatIsTooBig(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	caches := Caches{Versions: NewCache(1 << 20)}
	w := mustWriter(t, db, caches)
	w.Put(next(nil, "big", 2, strings.Repeat("v", 1<<19), 0), 0, nil)
	require.NoError(t, w.Commit(1))
	r := NewReader(db, caches, 1, 2, 0)
	needs := r.Missing(nil, []byte("big"), false)
	require.Len(t, needs, 1)
	found, err := r.Warm(t.Context(), needs)
	require.NoError(t, err)
	require.Zero(t, found)
	kv, err := w.Get([]byte("big"), 0)
	require.NoError(t, err)
	require.NotNil(t, kv)
	require.Equal(t, 1, w.TakeReads())
	require.NoError(t, w.Close())
}
