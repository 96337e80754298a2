package mvcc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// history is a store with a history to collect, and the model of it.
type history struct {
	fs        *storage.MemFS
	db        *storage.DB
	model     *model
	rev       core.Rev
	collector *Collector
	chunk     int
}

// newHistory writes revs revisions of a few changes each, durably.
func newHistory(t *rapid.T, revs int) *history {
	h := &history{fs: storage.NewCrashableMemFS(), model: newModel(), rev: 1, chunk: rapid.IntRange(1, 6).Draw(t, "chunk")}
	h.open(t)
	h.write(t, revs)
	require.NoError(t, h.db.Flush())
	return h
}

func (h *history) write(t *rapid.T, revs int) {
	w, err := NewWriter(h.db, Caches{})
	require.NoError(t, err)
	for range revs {
		h.rev++
		for sub := range uint32(rapid.IntRange(0, 4).Draw(t, "changes")) {
			key := drawMachineKey(t)
			prev, err := w.Get([]byte(key), 0)
			require.NoError(t, err)
			switch {
			case prev != nil && prev.ModRev == h.rev:
			case prev != nil && rapid.IntRange(0, 2).Draw(t, "delete") == 0:
				h.model.put(w.Delete([]byte(key), h.rev, sub, prev, 0), sub)
			default:
				kv := next(prev, key, h.rev, fmt.Sprint("value", h.rev), 0)
				w.Put(kv, sub, prev)
				h.model.put(kv, sub)
			}
		}
	}
	require.NoError(t, w.Commit(uint64(h.rev)))
}

func (h *history) open(t require.TestingT) {
	db, err := storage.Open("db", storage.Options{FS: h.fs, MemTableBytes: 64 << 10, CacheBytes: 1 << 20})
	require.NoError(t, err)
	h.db = db
	h.collector, err = NewCollector(db, CollectorOptions{ChunkRows: h.chunk, Share: 1})
	require.NoError(t, err)
}

// crash loses what has not been flushed.
func (h *history) crash(t *rapid.T) {
	clone := storage.CrashClone(h.fs, rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced"), 1)
	require.NoError(t, h.db.Close())
	h.fs = clone
	h.open(t)
}

// check compares all that can be read from rev on with the model.
func (h *history) check(t *rapid.T, rev core.Rev) {
	reader := NewReader(h.db, Caches{}, uint64(h.rev), h.rev, rev)
	for at := max(rev, 1); at <= h.rev; at++ {
		var got []*core.KV
		require.NoError(t, reader.Scan(everything, at, false, func(kv *core.KV) bool {
			got = append(got, kv)
			return true
		}))
		equalKVs(t, h.model.scan(everything, at), got, false, "at %d, compacted to %d", at, rev)
		sum, err := Hash(h.db, noPace, at, rev)
		require.NoError(t, err)
		require.Equal(t, sumOf(h.model.visible(at, rev)), sum)
	}
	revs, next, err := reader.Revisions(t.Context(), max(rev, 1), everything, true, 1<<20)
	require.NoError(t, err)
	require.Equal(t, h.rev+1, next)
	equalRevisions(t, h.model.revisions(max(rev, 1), h.rev, rev, everything, true), revs)
}

// checkCollected holds when a run to rev has ended: what it had to remove is
// gone, and nothing else.
func (h *history) checkCollected(t *rapid.T, rev core.Rev) {
	h.check(t, rev)
	require.Equal(t, rev, h.collector.Collected())
	require.Equal(t, h.model.kept(rev), rawKeys(t, h.db, []byte{'d', 0}, []byte{'e', 0}))
	require.Equal(t, h.model.keptChanges(rev), rawKeys(t, h.db, []byte{'r', 0}, []byte{'s', 0}))
	left := make(map[string]bool)
	for _, key := range h.model.kept(rev) {
		left[key] = true
	}
	var freed int64
	for _, versions := range h.model.versions {
		for _, kv := range versions {
			if !left[string(keys.AppendVersion(nil, kv.Key, kv.ModRev))] {
				freed += logicalSize(len(kv.Key), rowLen(kv))
			}
		}
	}
	require.Equal(t, freed, h.collector.Freed())
	progress, err := h.db.Get(keys.AppendMeta(nil, keys.MetaCollecting))
	require.NoError(t, err)
	require.Nil(t, progress)
}

// interrupted is a context that ends after it has been looked at n times.
type interrupted struct {
	context.Context
	n int
}

func (c *interrupted) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// Runs in chunks of any size, cut short at any chunk, with a flush or without,
// taken up again after a crash, to the same revision or a later one, while more
// is written: what is visible never changes, and in the end all is gone that had
// to go, and is counted once.
func TestCollectorAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t, rapid.IntRange(1, 20).Draw(t, "revisions"))
		defer func() { require.NoError(t, h.db.Close()) }()
		compacted := core.Rev(0)
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			compacted = core.Rev(rapid.Int64Range(int64(max(1, compacted)), int64(h.rev)).Draw(t, "compact to"))
			h.interrupt(t, compacted)
			if rapid.Bool().Draw(t, "write") {
				h.write(t, rapid.IntRange(1, 5).Draw(t, "revisions"))
				require.NoError(t, h.db.Flush()) // or a crash would lose it
			}
			if rapid.Bool().Draw(t, "finish") {
				require.NoError(t, h.collector.Collect(t.Context(), compacted))
				h.checkCollected(t, compacted)
			}
		}
		require.NoError(t, h.collector.Collect(t.Context(), compacted))
		h.checkCollected(t, compacted)
		require.NoError(t, h.collector.Collect(t.Context(), compacted-1), "nothing to do")
		h.checkCollected(t, compacted)
		h.crash(t)
		h.check(t, compacted)
		require.NoError(t, h.collector.Collect(t.Context(), compacted))
		h.checkCollected(t, compacted)
	})
}

// interrupt starts runs to rev that are cut short, and crashes after some.
func (h *history) interrupt(t *rapid.T, rev core.Rev) {
	for range rapid.IntRange(0, 3).Draw(t, "interruptions") {
		err := h.collector.Collect(&interrupted{t.Context(), rapid.IntRange(0, 4).Draw(t, "chunks")}, rev)
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		h.check(t, rev)
		if rapid.Bool().Draw(t, "flush") {
			require.NoError(t, h.db.Flush())
		}
		if rapid.Bool().Draw(t, "crash") {
			h.crash(t)
			h.check(t, rev)
		}
	}
}

// Work follows the changes: keys that have not changed cost nothing.
func TestCollectorTouchesOnlyWhatChanged(t *testing.T) {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{Versions: NewCache(1 << 20)})
	for i := range 5000 {
		w.Put(next(nil, fmt.Sprint("still", i), 2, "x", 0), uint32(i), nil)
	}
	require.NoError(t, w.Commit(1))
	c, err := NewCollector(db, CollectorOptions{Share: 1})
	require.NoError(t, err)
	require.NoError(t, c.Collect(t.Context(), 3))

	var prev *core.KV
	for rev := core.Rev(4); rev <= 13; rev++ {
		kv := next(prev, "busy", rev, "x", 0)
		w.Put(kv, 0, prev)
		prev = kv
	}
	require.NoError(t, w.Commit(2))
	p := progress{running: true, to: 13, rev: c.Collected()}
	b := db.NewBatch()
	_, done, err := c.gather(b, &p)
	require.NoError(t, err)
	require.True(t, done)
	require.Less(t, b.Len(), 10*(keys.VersionLen(4)+8)+16, "nine deletions")
	require.NoError(t, b.Close())
}

// overwritten is an engine in which one key has the revisions 2 to 1001.
func overwritten(t *testing.T) *storage.DB {
	db := mustOpen(t, storage.Options{})
	w := mustWriter(t, db, Caches{})
	var prev *core.KV
	for rev := core.Rev(2); rev <= 1001; rev++ {
		kv := next(prev, "busy", rev, "x", 0)
		w.Put(kv, 0, prev)
		prev = kv
	}
	require.NoError(t, w.Commit(1))
	return db
}

// The writes come in between: left to itself it takes no more than 40 rows at a time.
func TestCollectorTakesLittleAtATime(t *testing.T) {
	db := overwritten(t)
	chunks := 0
	c, err := NewCollector(db, CollectorOptions{Share: 1, BeforeChunk: func() { chunks++ }})
	require.NoError(t, err)
	require.NoError(t, c.Collect(t.Context(), 1001))
	require.Equal(t, 25, chunks)
	require.EqualValues(t, 999, c.Removed())
}

// What a chunk had to wait for is not rested for, but for a part: history would grow faster
// than it is collected on the busiest of machines.
func TestCollectorThatIsHeldUpGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := overwritten(t)
		const chunks, wait = 25, 10 * time.Millisecond
		c, err := NewCollector(db, CollectorOptions{Share: 0.25, BeforeChunk: func() { time.Sleep(wait) }}) //nolint:forbidigo // on the bubble's clock
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, c.Collect(t.Context(), 1001))
		rested := time.Since(begin) - chunks*wait
		require.Greater(t, rested, chunks*3*c.longest()/2)
		require.LessOrEqual(t, rested, chunks*3*c.longest())
	})
}

// It rests in proportion to its work, and not when it is told to stop.
func TestCollectorRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Collector{options: CollectorOptions{Share: 0.25}}
		begin := time.Now()
		require.NoError(t, c.rest(t.Context(), time.Second))
		require.Equal(t, 3*time.Second, time.Since(begin))

		c.options = CollectorOptions{Share: 1}
		begin = time.Now()
		require.NoError(t, c.rest(t.Context(), time.Second))
		require.Zero(t, time.Since(begin))

		c.options.Pause = 10 * time.Second // whatever the work and the share are
		begin = time.Now()
		require.NoError(t, c.rest(t.Context(), time.Second))
		require.Equal(t, 10*time.Second, time.Since(begin))

		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(core.Stopped) })
		begin = time.Now()
		require.ErrorIs(t, c.rest(ctx, time.Hour), core.Stopped)
		require.Equal(t, time.Second, time.Since(begin))
	})
}
