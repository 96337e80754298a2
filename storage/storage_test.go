package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a key that the schema accepts: no version.
func row(name string) []byte { return append([]byte("m"+name), 0) }

// versioned is a key with a version, as package keys lays it out.
func versioned(name string, rev uint64) []byte {
	return append(binary.BigEndian.AppendUint64(row(name), rev), 9)
}

func mustOpen(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	require.NoError(t, err)
	return db
}

func mustSet(t testing.TB, db *DB, pairs ...string) {
	t.Helper()
	b := db.NewBatch()
	for i := 0; i < len(pairs); i += 2 {
		b.Set(row(pairs[i]), []byte(pairs[i+1]))
	}
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
}

func TestReadsAndWrites(t *testing.T) {
	db := mustOpen(t, t.TempDir(), Options{MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	mustSet(t, db, "a", "1", "b", "", "c", "3")

	got, err := db.Get(row("a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	got, err = db.Get(row("b"))
	require.NoError(t, err)
	require.NotNil(t, got, "an empty value is not an absent one")
	require.Empty(t, got)
	got, err = db.Get(row("x"))
	require.NoError(t, err)
	require.Nil(t, got)

	snap := db.NewSnapshot()
	b := db.NewSizedBatch(64)
	require.True(t, b.Empty())
	b.Delete(row("a"))
	key, value := b.SetDeferred(len(row("d")), 2)
	copy(key, row("d"))
	copy(value, "44")
	b.DeleteRange(row("b"), row("c"))
	require.False(t, b.Empty())
	require.Positive(t, b.Len())
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())

	require.Equal(t, "a=1 b= c=3", list(t, snap))
	require.Equal(t, "c=3 d=44", list(t, db))
	got, err = snap.Get(row("a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	require.NoError(t, snap.Close())
	require.NoError(t, db.Close())
}

// list prints what there is.
func list(t testing.TB, r Reader) string {
	t.Helper()
	it, err := r.NewIter(row("a"), row("z"))
	require.NoError(t, err)
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		require.True(t, it.Valid())
		value, err := it.Value()
		require.NoError(t, err)
		out = append(out, fmt.Sprintf("%s=%s", it.Key()[1:len(it.Key())-1], value))
	}
	require.NoError(t, it.Close())
	return strings.Join(out, " ")
}

// A lookup finds the newest version at or before the one asked for, of just that
// key, whatever it expects, in memory and on disk.
func TestLookupFindsTheSameWhateverItExpects(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: NewMemFS()})
	defer db.Close()
	b := db.NewBatch()
	for i := range 100 {
		for rev := uint64(10); rev <= 30; rev += 10 {
			b.Set(versioned(fmt.Sprintf("key%d", 2*i), rev), fmt.Append(nil, i, "@", rev))
		}
	}
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())

	check := func() {
		for _, e := range []Expect{ProbablyPresent, ProbablyAbsent} {
			it, err := db.NewLookup(e)
			require.NoError(t, err)
			for i := range 200 {
				name := fmt.Sprintf("key%d", i)
				require.Equal(t, i%2 == 0, it.SeekPrefixGE(versioned(name, 25)), name)
				if i%2 == 0 {
					require.Equal(t, versioned(name, 20), it.Key())
				}
				require.False(t, it.SeekPrefixGE(versioned(name, 5)), "older than all versions")
			}
			require.NoError(t, it.Close())
		}
	}
	check()
	require.NoError(t, db.Flush())
	check()
	m := db.Metrics()
	require.EqualValues(t, 1, m.Flushes)
	require.Positive(t, m.DiskBytes)
	require.Positive(t, m.MemTableBytes)
	require.Positive(t, m.CacheHits+m.CacheMisses)
	require.Zero(t, m.Snapshots)
}

func TestNextPrefixPassesOverVersions(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: NewMemFS()})
	defer db.Close()
	b := db.NewBatch()
	for rev := uint64(1); rev <= 9; rev++ {
		b.Set(versioned("a", rev), nil)
		b.Set(versioned("b", rev), nil)
	}
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	it, err := db.NewIter(row("a"), row("z"))
	require.NoError(t, err)
	require.True(t, it.First())
	require.Equal(t, versioned("a", 9), it.Key())
	require.True(t, it.SeekGE(versioned("a", 4)))
	require.Equal(t, versioned("a", 4), it.Key())
	require.True(t, it.NextPrefix())
	require.Equal(t, versioned("b", 9), it.Key())
	require.False(t, it.NextPrefix())
	require.NoError(t, it.Close())
}

func TestDurableGetSeesWhatWasFlushed(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: NewMemFS()})
	defer db.Close()
	mustSet(t, db, "a", "1")
	got, err := db.DurableGet(row("a"))
	require.NoError(t, err)
	require.Nil(t, got)
	require.NoError(t, db.Flush())
	mustSet(t, db, "a", "2")
	got, err = db.DurableGet(row("a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	done, err := db.FlushAsync()
	require.NoError(t, err)
	<-done
	got, err = db.DurableGet(row("a"))
	require.NoError(t, err)
	require.Equal(t, "2", string(got))
}

// After a crash the state is a prefix of the batches, each whole, and holds at
// least what was flushed.
func TestCrashLeavesAPrefixOfTheBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := NewCrashableMemFS()
		db := mustOpen(t, "db", Options{FS: fs, MemTableBytes: 64 << 10, CacheBytes: 1 << 20})
		batches := rapid.IntRange(1, 40).Draw(rt, "batches")
		flushed := 0
		for i := 1; i <= batches; i++ {
			b := db.NewBatch()
			for j := range 8 {
				b.Set(row(fmt.Sprintf("row%d", j)), append(fmt.Append(nil, i, ":"), make([]byte, 700)...))
			}
			require.NoError(rt, b.Commit())
			require.NoError(rt, b.Close())
			if rapid.IntRange(0, 9).Draw(rt, "flush") == 0 {
				require.NoError(rt, db.Flush())
				flushed = i
			}
		}
		crashed := CrashClone(fs, rapid.SampledFrom([]int{0, 50, 100}).Draw(rt, "unsynced"), rapid.Uint64().Draw(rt, "seed"))
		require.NoError(rt, db.Close())

		db = mustOpen(t, "db", Options{FS: crashed})
		defer db.Close()
		var first string
		for j := range 8 {
			got, err := db.Get(row(fmt.Sprintf("row%d", j)))
			require.NoError(rt, err)
			batch, _, _ := strings.Cut(string(got), ":")
			if j == 0 {
				first = batch
				n := 0
				_, _ = fmt.Sscan(batch, &n)
				require.GreaterOrEqual(rt, n, flushed)
			}
			require.Equal(rt, first, batch, "a torn batch")
		}
	})
}

func TestOpenRefusesADirectoryThatIsNotOurs(t *testing.T) {
	write := func(fs FS, name, text string) {
		require.NoError(t, fs.MkdirAll("db", 0o755))
		f, err := fs.Create(fs.PathJoin("db", name), "")
		require.NoError(t, err)
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	tests := map[string]struct {
		prepare  func(FS)
		readOnly bool
		err      string // empty: it opens
	}{
		"missing":             {prepare: func(FS) {}},
		"empty":               {prepare: func(fs FS) { require.NoError(t, fs.MkdirAll("db", 0o755)) }},
		"born half":           {prepare: func(fs FS) { write(fs, "TRIGLOT.tmp", "trig") }},
		"born, no engine yet": {prepare: func(fs FS) { write(fs, "TRIGLOT", "triglot state, format 1\n") }},
		"born half, engine too": {prepare: func(fs FS) {
			write(fs, "TRIGLOT", "triglot state, format 1 newborn\n")
			write(fs, "marker.manifest.000001.MANIFEST-000001", "")
		}},
		"somebody else's":       {prepare: func(fs FS) { write(fs, "member", "") }, err: `storage: db is not a Triglot state directory: it holds "member" but no TRIGLOT file; give an empty directory or the right one`},
		"another Pebble's":      {prepare: func(fs FS) { write(fs, "MANIFEST-000001", "") }, err: `not a Triglot state directory`},
		"a strange marker":      {prepare: func(fs FS) { write(fs, "TRIGLOT", "hello") }, err: `storage: db is not a Triglot state directory: its TRIGLOT file says "hello"`},
		"a later format":        {prepare: func(fs FS) { write(fs, "TRIGLOT", "triglot state, format 2\n") }, err: `storage: db has state format 2, this program knows 1; run the program version that wrote it`},
		"missing, to read only": {prepare: func(FS) {}, readOnly: true, err: `storage: db is not a Triglot state directory: it has no TRIGLOT file`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fs := NewMemFS()
			test.prepare(fs)
			before := fs.String()
			db, err := Open("db", Options{FS: fs, ReadOnly: test.readOnly})
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				require.NotContains(t, err.Error(), "\n")
				require.Equal(t, before, fs.String(), "a refused directory is left alone")
				return
			}
			require.NoError(t, err)
			require.NoError(t, db.Close())
			require.NoError(t, mustOpen(t, "db", Options{FS: fs}).Close())
		})
	}
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir, Options{})
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, "storage: open "+dir)
	require.NoError(t, db.Close())
}

// A crash while the directory is born leaves one that opens.
func TestCrashWhileBornLeavesADirectoryThatOpens(t *testing.T) {
	for seed := range uint64(20) {
		fs := NewCrashableMemFS()
		var clones []*MemFS
		var mu sync.Mutex
		watched := WithFaults(fs, func(f Fault) error {
			mu.Lock()
			defer mu.Unlock()
			if f.Write {
				clones = append(clones, CrashClone(fs, 50, seed))
			}
			return nil
		})
		db := mustOpen(t, "db", Options{FS: watched})
		require.NoError(t, db.Close())
		require.NotEmpty(t, clones)
		for i, clone := range clones {
			db, err := Open("db", Options{FS: clone})
			require.NoError(t, err, "seed %d, crash %d", seed, i)
			require.NoError(t, db.Close())
		}
	}
}

// A disk that fails reaches the owner, once.
func TestFailedFlushIsFatal(t *testing.T) {
	var broken atomic.Bool
	errDisk := errors.New("the disk is gone")
	fs := WithFaults(NewMemFS(), func(f Fault) error {
		if broken.Load() && f.Write && strings.HasSuffix(f.Path, ".sst") {
			return errDisk
		}
		return nil
	})
	fatal := make(chan error, 10)
	db := mustOpen(t, "db", Options{FS: fs, OnFatal: func(err error) {
		broken.Store(false) // or the engine would try for ever, and Close wait
		fatal <- err
	}})
	mustSet(t, db, "a", "1")
	broken.Store(true)
	require.NoError(t, db.Flush())
	require.ErrorIs(t, <-fatal, errDisk)
	require.NoError(t, db.Close())
	require.Empty(t, fatal)
}

// A disk that is full at the start ends Open, though the engine would wait for ever.
func TestOpenFailsWhereTheEngineWaits(t *testing.T) {
	var broken atomic.Bool
	errDisk := errors.New("the disk is full")
	fs := WithFaults(NewMemFS(), func(f Fault) error {
		if broken.Load() && f.Write && strings.Contains(f.Path, "MANIFEST") {
			return errDisk
		}
		return nil
	})
	require.NoError(t, mustOpen(t, "db", Options{FS: fs}).Close())

	release := make(chan struct{})
	o := Options{FS: fs, OnFatal: func(error) {}}.withDefaults()
	r := newReporter(&o)
	r.hang = func() { <-release }
	broken.Store(true)
	_, err := openEngine("db", &o, r)
	broken.Store(false)
	close(release) // so that what was left behind ends
	require.ErrorContains(t, err, errDisk.Error())
}

// What Pebble calls fatal must not return, and is told once.
func TestFatalDoesNotReturn(t *testing.T) {
	told := make(chan error, 2)
	r := &reporter{onFatal: func(err error) { told <- err }}
	release := make(chan struct{})
	ended := make(chan struct{})
	r.hang = func() { <-release; panic("released") }
	go func() {
		defer close(ended)
		defer func() { _ = recover() }()
		r.Fatalf("lost %d", 1)
		told <- errors.New("it returned")
	}()
	require.EqualError(t, <-told, "engine: lost 1")
	close(release)
	<-ended
	require.Empty(t, told)
	r.fatal(errors.New("again"))
	require.Empty(t, told)
	require.PanicsWithValue(t, "storage: no owner", func() { (&reporter{}).fatal(errors.New("no owner")) })
}

// The owner's log tells of stalls and slow disks, and of the routine only if it
// wants to know.
func TestEventsAreLogged(t *testing.T) {
	var out strings.Builder
	text := func(level slog.Level) *slog.Logger {
		out.Reset()
		return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
	}
	r := &reporter{log: text(slog.LevelInfo)}
	l := r.listener()
	l.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "memtable count limit reached"})
	l.WriteStallEnd()
	l.DiskSlow(pebble.DiskSlowInfo{Path: "000001.sst", Duration: 7 * time.Second})
	r.Errorf("odd: %d", 1)
	r.Infof("routine")
	require.Equal(t, `level=WARN msg="engine stalls writes" reason="memtable count limit reached"
level=WARN msg="engine takes writes again"
level=WARN msg="disk is slow" operation=unknown path=000001.sst took=7s
level=WARN msg="engine: odd: 1"
`, out.String())

	db := mustOpen(t, "db", Options{FS: NewMemFS(), Logger: text(slog.LevelDebug)})
	mustSet(t, db, "a", "1")
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())
	require.Contains(t, out.String(), "level=DEBUG")
	require.Contains(t, out.String(), "flushed")
}

func TestBudgetCountsTheDefaults(t *testing.T) {
	require.EqualValues(t, (128+4*64)<<20, Options{}.cached())
	require.EqualValues(t, 10+4*5, Options{CacheBytes: 10, MemTableBytes: 5}.cached())
}

// The memory limit counts heap alone, so the budget must be what the engine takes of it.
func TestBudgetIsHeap(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector Pebble takes its memory from the heap or from C, by chance")
	}
	const memTable = 64 << 20
	before := heapInUse()
	db := mustOpen(t, t.TempDir(), Options{CacheBytes: 1 << 20, MemTableBytes: memTable})
	value := strings.Repeat("v", 1<<20)
	for i := range 40 { // the engine's first memtables are small, and grow twofold
		mustSet(t, db, fmt.Sprint(i), value)
	}
	took := heapInUse() - before
	require.Equal(t, Options{}.Budget() > 0, took > memTable/2, "%d MiB of heap", took>>20)
	require.NoError(t, db.Close())
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Memtables do not take the cache's place: Pebble counts them to it.
func TestBlocksAreCachedBesideMemTables(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: NewMemFS(), CacheBytes: 4 << 20, MemTableBytes: 4 << 20})
	value := strings.Repeat("v", 64<<10)
	for range 300 { // memtables start small and double as they fill; one is kept for the next
		mustSet(t, db, "a", value)
	}
	require.NoError(t, db.Flush())
	read := func() int64 {
		_, err := db.Get(row("a"))
		require.NoError(t, err)
		return db.Metrics().CacheMisses
	}
	// The engine reads blocks in the background, too, and a compaction under way moves
	// the row to others: in the end, a read finds what the one before has read.
	misses := read()
	cached := func() bool { before := misses; misses = read(); return misses == before }
	require.Eventually(t, cached, 10*time.Second, time.Millisecond,
		"the second read finds the blocks in the cache")
	require.NoError(t, db.Close())
}
