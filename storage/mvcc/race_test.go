package mvcc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// race is a store in which every revision writes one key and the row of the same
// name. Which one, and whether it deletes it, is plain from the revision, so that a
// reader knows what a view must show without asking the writer.
type race struct {
	db      *storage.DB
	caches  Caches
	current atomic.Pointer[published]
}

const (
	raceKeys    = 23
	raceBatches = 250
	raceReaders = 2
)

// published is a view as a node publishes it.
type published struct {
	reader          *Reader
	rev, compactRev core.Rev
	snapshot        *storage.Snapshot
	// mu is held for reading while the view is used, and for writing to close it.
	mu     sync.RWMutex
	closed bool
}

func raceKey(i core.Rev) string        { return fmt.Sprintf("key%02d", i%raceKeys) }
func raceDeletes(rev core.Rev) bool    { return rev%5 == 0 }
func raceExists(lastRev core.Rev) bool { return lastRev != 0 && !raceDeletes(lastRev) }

// raceLast is the newest revision from 2 to rev that wrote key i, 0 if none did.
func raceLast(i, rev core.Rev) core.Rev {
	for r := rev; r >= 2 && r > rev-raceKeys; r-- {
		if r%raceKeys == i {
			return r
		}
	}
	return 0
}

func (r *race) publish(index uint64, rev, compactRev core.Rev) error {
	snapshot := r.db.NewSnapshot()
	old := r.current.Swap(&published{
		reader: NewReader(snapshot, r.caches, index, rev, compactRev).KeepLookups(),
		rev:    rev, compactRev: compactRev, snapshot: snapshot,
	})
	if old == nil {
		return nil
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	old.closed = true
	return errors.Join(old.reader.Close(), old.snapshot.Close())
}

// read compares a view's key i, now and at an earlier revision, with what they
// must be; seen is what the caller has seen of each key before.
func (r *race) read(ctx context.Context, i core.Rev, seen *[raceKeys]core.Rev) error {
	v := r.current.Load()
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return nil
	}
	want := raceLast(i, v.rev)
	if want < seen[i] {
		return fmt.Errorf("%s went back from %d to %d", raceKey(i), seen[i], want)
	}
	seen[i] = want
	past := max(v.compactRev, v.rev-i, 1)
	if err := errors.Join(v.check(i, 0, want), v.checkRow(i, want), v.check(i, past, raceLast(i, past))); err != nil {
		return err
	}
	if i != 0 {
		return nil
	}
	var live int64
	for key := range core.Rev(raceKeys) {
		if raceExists(raceLast(key, v.rev)) {
			live++
		}
	}
	if n, err := v.reader.Count(context.Background(), everything, 0); err != nil || n != live {
		return fmt.Errorf("view %d counts %d keys, not %d: %w", v.rev, n, live, err)
	}
	revs, next, err := v.reader.Revisions(ctx, past, everything, true, 1<<20)
	if err != nil || next != v.rev+1 || len(revs) != int(v.rev-max(past, 2)+1) {
		return fmt.Errorf("view %d has %d revisions from %d to %d: %w", v.rev, len(revs), past, next, err)
	}
	return nil
}

func (v *published) check(i, at, want core.Rev) error {
	kv, err := v.reader.Get([]byte(raceKey(i)), at)
	if err != nil {
		return err
	}
	if raceExists(want) != (kv != nil) || kv != nil && kv.ModRev != want {
		return fmt.Errorf("view %d shows %s at %d as %v, not as of %d", v.rev, raceKey(i), at, kv, want)
	}
	return nil
}

func (v *published) checkRow(i, want core.Rev) error {
	value, err := v.reader.Row([]byte(znodeRow(raceKey(i))))
	if err != nil {
		return err
	}
	if raceExists(want) != (value != nil) || value != nil && string(value) != fmt.Sprint(want) {
		return fmt.Errorf("view %d shows row %s as %q, not as of %d", v.rev, raceKey(i), value, want)
	}
	return nil
}

// write commits a batch of a few revisions.
func (r *race) write(w *Writer, index uint64, rev core.Rev) (core.Rev, error) {
	for range index%3 + 1 {
		rev++
		key := []byte(raceKey(rev))
		prev, err := w.Get(key, 0)
		if err != nil {
			return 0, err
		}
		before := raceLast(rev%raceKeys, rev-1)
		if raceExists(before) != (prev != nil) || prev != nil && prev.ModRev != before {
			return 0, fmt.Errorf("at %d the writer sees %s as %v, not as of %d", rev, key, prev, before)
		}
		row := []byte(znodeRow(string(key)))
		if value, err := w.GetRow(row); err != nil || (prev != nil) != (value != nil) {
			return 0, fmt.Errorf("at %d the writer sees row %s as %q, not as of %d: %w", rev, key, value, before, err)
		}
		if raceDeletes(rev) {
			w.Delete(key, rev, 0, prev, 0)
			w.DeleteRow(row)
		} else {
			w.Put(next(prev, string(key), rev, "some value", 0), 0, prev)
			w.SetRow(row, fmt.Append(nil, rev))
		}
	}
	return rev, w.Commit(index)
}

// One writer, a collector and several readers, with a cache that is too small:
// each view shows just what it must, and no key ever goes back.
func TestConcurrentReadsNeverGoBack(t *testing.T) {
	r := &race{
		db:     mustOpen(t, storage.Options{MemTableBytes: 1 << 20}),
		caches: Caches{Versions: NewCache(12 * (96 + slotOverhead + 20)), Rows: NewCache(12 * (96 + slotOverhead + 20))},
	}
	w := mustWriter(t, r.db, r.caches)
	collector, err := NewCollector(r.db, CollectorOptions{ChunkRows: 7, Share: 1})
	require.NoError(t, err)
	require.NoError(t, r.publish(0, 1, 0))

	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	for reader := range raceReaders {
		wg.Go(func() {
			var seen [raceKeys]core.Rev
			for i := core.Rev(reader); ctx.Err() == nil; i++ {
				if err := r.read(ctx, i*7%raceKeys, &seen); err != nil && ctx.Err() == nil {
					cancel(err)
				}
				runtime.Gosched() // or two readers keep two cores from the writer
			}
		})
	}
	compactions := make(chan core.Rev, raceBatches)
	wg.Go(func() {
		for to := range compactions {
			if err := collector.Collect(context.Background(), to); err != nil {
				cancel(err)
			}
		}
	})
	rev, compactRev := core.Rev(1), core.Rev(0)
	for index := uint64(1); index <= raceBatches && ctx.Err() == nil; index++ {
		if rev, err = r.write(w, index, rev); err != nil {
			cancel(err)
			break
		}
		if index%10 == 0 {
			compactRev = rev - 15
		}
		if err := r.publish(index, rev, compactRev); err != nil {
			cancel(err)
		}
		if index%10 == 0 {
			compactions <- compactRev // only now that it is published
		}
	}
	errDone := errors.New("done")
	cancel(errDone)
	close(compactions)
	wg.Wait()
	require.Equal(t, errDone, context.Cause(ctx))
	last := r.current.Load()
	require.NoError(t, errors.Join(last.reader.Close(), last.snapshot.Close()))
	require.Equal(t, compactRev, collector.Collected())
	for _, c := range []*Cache{r.caches.Versions, r.caches.Rows} {
		require.Positive(t, c.Stats().Hits)
		require.Positive(t, c.Stats().Misses)
	}
}
