package mvcc

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

func TestCachedGetAllocatesNothing(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	cache := NewCache(1 << 20)
	w := mustWriter(t, db, Caches{Versions: cache})
	kv := next(nil, "key", 2, "value", 0)
	w.Put(kv, 0, nil)
	require.NoError(t, w.Commit(1))
	r := NewReader(db, Caches{Versions: cache}, 1, 2, 0)
	for key, want := range map[string]*core.KV{"key": kv, "absent": nil} {
		key := []byte(key)
		_, err := r.Get(key, 0) // the absence has yet to come into the cache
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			got, err := r.Get(key, 0)
			if err != nil || got != want {
				t.Fatal(got, err)
			}
		}))
	}
}

// A read of the newest version comes into the cache; one of the past does not.
func TestWhatReadersFill(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	var prev *core.KV
	for rev := core.Rev(2); rev <= 4; rev++ {
		kv := next(prev, "key", rev, fmt.Sprint(rev), 0)
		w.Put(kv, 0, prev)
		prev = kv
	}
	require.NoError(t, w.Commit(1))

	cache := NewCache(1 << 20)
	r := NewReader(db, Caches{Versions: cache}, 1, 4, 0)
	kv, err := r.Get([]byte("key"), 3)
	require.NoError(t, err)
	require.EqualValues(t, 3, kv.ModRev)
	require.NoError(t, r.Scan(everything, 0, false, func(*core.KV) bool { return true }))
	require.Zero(t, cache.Stats().Entries, "neither the past nor a scan")
	first, err := r.Get([]byte("key"), 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, cache.Stats().Entries)
	second, err := r.Get([]byte("key"), 4)
	require.NoError(t, err)
	require.Same(t, first, second)
	// A single-key scan is a get.
	require.NoError(t, r.Scan(core.Interval{Key: []byte("key")}, 0, true, func(kv *core.KV) bool {
		require.Nil(t, kv.Value)
		return true
	}))
	require.Equal(t, "4", string(first.Value), "the cached version keeps its value")
}

func TestRevisionsStopsWithItsContext(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	for sub := range uint32(2 * checkEvery) {
		w.Put(next(nil, fmt.Sprint("key", sub), 2, "", 0), sub, nil)
	}
	require.NoError(t, w.Commit(1))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(core.Stopped)
	r := NewReader(db, Caches{}, 1, 2, 0)
	_, _, err := r.Revisions(ctx, 1, everything, false, 1)
	require.ErrorIs(t, err, core.Stopped)
	revs, next, err := r.Revisions(t.Context(), 1, everything, false, 1)
	require.NoError(t, err)
	require.EqualValues(t, 3, next)
	require.Len(t, revs[0].Changes, 2*checkEvery, "a revision is whole, however large")
}

func TestCountStopsWithItsContext(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	for sub := range uint32(2 * checkEvery) {
		w.Put(next(nil, fmt.Sprint("key", sub), 2, "", 0), sub, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.Count(ctx, everything, 0)
	require.NoError(t, err)
	require.NoError(t, w.Commit(1))
	r := NewReader(db, Caches{}, 1, 2, 0)
	n, err := r.Count(ctx, everything, 0)
	require.NoError(t, err)
	require.EqualValues(t, 2*checkEvery, n)
	cancel()
	_, err = r.Count(ctx, everything, 0)
	require.ErrorIs(t, err, core.Canceled)
}

// A row that does not decode, or is not there, is an error that names it.
func TestCorruptRowsAreReported(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	b := db.NewBatch()
	b.Set(keys.AppendVersion(nil, []byte("bad"), 2), []byte{0xff})
	b.Set(keys.AppendChange(nil, 2, 0), []byte{0xff})
	b.Set(keys.AppendChange(nil, 3, 0), (&change{key: []byte("lost"), len: 5}).append(nil))
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())

	r := NewReader(db, Caches{}, 1, 3, 0)
	_, err := r.Get([]byte("bad"), 0)
	require.ErrorIs(t, err, errRow)
	require.ErrorContains(t, err, `d row "dbad\x00`)
	err = r.Scan(everything, 0, false, func(*core.KV) bool { return true })
	require.ErrorIs(t, err, errRow)
	_, err = r.Count(context.Background(), everything, 0)
	require.ErrorIs(t, err, errRow)
	_, _, err = r.Revisions(t.Context(), 2, everything, false, 1)
	require.ErrorIs(t, err, errRow)
	require.ErrorContains(t, err, `r row "r\x00`)
	_, _, err = r.Revisions(t.Context(), 3, everything, false, 1)
	require.ErrorContains(t, err, `revision 3 wrote key "lost", but there is no such version`)
	c, err := NewCollector(db, CollectorOptions{Share: 1})
	require.NoError(t, err)
	require.ErrorIs(t, c.Collect(t.Context(), 3), errRow)

	b = db.NewBatch()
	b.Set(keys.AppendMeta(nil, keys.MetaDataWritten), []byte("1"))
	b.Set(keys.AppendMeta(nil, keys.MetaCollecting), []byte("1"))
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	_, err = NewWriter(db, Caches{})
	require.ErrorContains(t, err, `row "data-written" has 1 bytes, not 8`)
	require.ErrorContains(t, c.Collect(t.Context(), 3), `row "collecting" has 1 bytes, not 20`)
}

// A reader that keeps its iterators keeps no more than it may, reads what its view shows
// however often, and leaves none when it is closed, or trimmed: the engine would not close.
func TestKeptLookups(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, fmt.Appendf(nil, "key%d", i))
		w.Put(next(nil, string(keys[i]), 2, "value", 0), uint32(i), nil)
	}
	w.SetRow([]byte(znodeRow("/a")), []byte("row"))
	require.NoError(t, w.Commit(1))
	require.NoError(t, db.Flush())
	snapshot := db.NewSnapshot()
	r := NewReader(snapshot, Caches{}, 1, 2, 0).KeepLookups()
	read := func() {
		var wg sync.WaitGroup
		for range 2 * maxIdleLookups {
			wg.Go(func() {
				for _, key := range keys {
					kv, err := r.Get(key, 0)
					if err != nil || kv == nil || string(kv.Value) != "value" {
						t.Errorf("%s: %v, %v", key, kv, err)
					}
					absent, err := r.Get(append(key[:len(key):len(key)], 'x'), 0)
					if err != nil || absent != nil {
						t.Errorf("%sx: %v, %v", key, absent, err)
					}
					row, err := r.Row([]byte(znodeRow("/a")))
					if err != nil || string(row) != "row" {
						t.Errorf("the row: %q, %v", row, err)
					}
				}
			})
		}
		wg.Wait()
	}
	read()
	require.NotEmpty(t, r.lookups.idle)
	require.LessOrEqual(t, len(r.lookups.idle), maxIdleLookups)
	require.NoError(t, r.Trim())
	require.Empty(t, r.lookups.idle)
	read()
	require.NotEmpty(t, r.lookups.idle)
	require.NoError(t, r.Close())
	require.Empty(t, r.lookups.idle)
	read()
	require.NoError(t, r.Trim())
	read()
	require.Empty(t, r.lookups.idle, "it keeps none any more")
	require.NoError(t, snapshot.Close())
	require.NoError(t, w.Close())
} // mustOpen closes the engine, which fails if an iterator is left
