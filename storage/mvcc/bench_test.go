package mvcc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// benchStore is a store of keyCount keys of as many versions each, flushed and
// compacted by the engine as it sees fit.
type benchStore struct {
	db     *storage.DB
	caches Caches
	writer *Writer
	rev    core.Rev
	index  uint64
	keys   [][]byte
}

// newBenchStore writes keys of 26 and values of valueLen bytes, in random order.
// fraction is the share of the keys that are rewritten, versions-1 times.
func newBenchStore(b *testing.B, keyCount, versions, valueLen int, fraction float64, cacheBytes int64) *benchStore {
	b.Helper()
	s := &benchStore{caches: Caches{Versions: NewCache(cacheBytes), Rows: NewCache(cacheBytes)}, rev: 1}
	var err error
	s.db, err = storage.Open(b.TempDir(), storage.Options{MemTableBytes: 16 << 20})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.db.Close()) })
	s.writer = mustWriter(b, s.db, s.caches)
	s.keys = make([][]byte, keyCount)
	for i := range s.keys {
		s.keys[i] = fmt.Appendf(nil, "registry/pods/ns%d/%010d", i%10, i)
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(keyCount)
	value := make([]byte, valueLen)
	for round := range versions {
		n := keyCount
		if round > 0 {
			n = int(float64(keyCount) * fraction)
		}
		for i, k := range order[:n] {
			prev, err := s.writer.Get(s.keys[k], 0)
			require.NoError(b, err)
			s.put(s.keys[k], value, prev)
			if i%500 == 499 {
				s.commit(b)
			}
		}
		s.commit(b)
	}
	require.NoError(b, s.db.Flush())
	return s
}

func (s *benchStore) put(key, value []byte, prev *core.KV) {
	s.rev++
	kv := &core.KV{Key: key, Value: value, CreateRev: s.rev, ModRev: s.rev, Version: 1}
	if prev != nil {
		kv.CreateRev, kv.Version = prev.CreateRev, prev.Version+1
	}
	s.writer.Put(kv, 0, prev)
}

func (s *benchStore) commit(b *testing.B) {
	s.index++
	require.NoError(b, s.writer.Commit(s.index))
}

func (s *benchStore) view(b *testing.B) *Reader {
	snapshot := s.db.NewSnapshot()
	b.Cleanup(func() { require.NoError(b, snapshot.Close()) })
	r := NewReader(snapshot, s.caches, s.index, s.rev, 0).KeepLookups()
	b.Cleanup(func() { require.NoError(b, r.Close()) })
	return r
}

// reportCPU adds the processor time per iteration of a benchmark, which tells
// more than the clock on a machine that is shared. It counts what the engine and
// the garbage collector do meanwhile. Call it before the loop, and what it
// returns after it.
func reportCPU(b *testing.B) func() {
	b.ReportAllocs()
	begin := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op") }
}

func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkGet(b *testing.B) {
	const keyCount = 100_000
	b.Run("in the cache", func(b *testing.B) {
		s := newBenchStore(b, keyCount, 1, 256, 0, 256<<20)
		r := s.view(b)
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			if kv, err := r.Get(s.keys[i*7919%keyCount], 0); kv == nil || err != nil {
				b.Fatal(kv, err)
			}
		}
	})
	s := newBenchStore(b, keyCount, 1, 256, 0, 0)
	r := s.view(b)
	b.Run("in Pebble", func(b *testing.B) {
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			if kv, err := r.Get(s.keys[i*7919%keyCount], 0); kv == nil || err != nil {
				b.Fatal(kv, err)
			}
		}
	})
	absent := make([][]byte, keyCount)
	for i := range absent {
		absent[i] = append(append([]byte(nil), s.keys[i]...), 'x')
	}
	b.Run("absent", func(b *testing.B) {
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			if kv, err := r.Get(absent[i*7919%keyCount], 0); kv != nil || err != nil {
				b.Fatal(kv, err)
			}
		}
	})
	b.Run("absent, by the writer", func(b *testing.B) {
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			if kv, err := s.writer.Get(absent[i*7919%keyCount], 0); kv != nil || err != nil {
				b.Fatal(kv, err)
			}
		}
		require.NoError(b, s.writer.Close())
	})
	b.Run("in Pebble, by the writer", func(b *testing.B) {
		defer reportCPU(b)()
		for i := 0; b.Loop(); i++ {
			if kv, err := s.writer.Get(s.keys[i*7919%keyCount], 0); kv == nil || err != nil {
				b.Fatal(kv, err)
			}
		}
		require.NoError(b, s.writer.Close())
	})
}

func benchScan(b *testing.B, r *Reader, iv core.Interval, want int) {
	b.Helper()
	for name, scan := range map[string]func() int{
		"values": func() (n int) {
			if err := r.Scan(iv, 0, false, func(*core.KV) bool { n++; return n < want }); err != nil {
				b.Fatal(err)
			}
			return n
		},
		"keys": func() (n int) {
			if err := r.Scan(iv, 0, true, func(*core.KV) bool { n++; return n < want }); err != nil {
				b.Fatal(err)
			}
			return n
		},
		"count": func() int {
			n, err := r.Count(context.Background(), iv, 0)
			if err != nil {
				b.Fatal(err)
			}
			return int(n)
		},
	} {
		b.Run(name, func(b *testing.B) {
			defer reportCPU(b)()
			for b.Loop() {
				if n := scan(); n != want {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(want), "ns/key")
		})
	}
}

// BenchmarkScan1000 scans a thousand keys of one and of five versions.
func BenchmarkScan1000(b *testing.B) {
	for _, versions := range []int{1, 5} {
		b.Run(fmt.Sprintf("versions=%d", versions), func(b *testing.B) {
			s := newBenchStore(b, 20_000, versions, 256, 1, 0)
			iv := core.Interval{Key: []byte("registry/pods/ns3/"), End: []byte("registry/pods/ns4")}
			iv.Key = s.keys[3+10*500]
			iv.End = s.keys[3+10*1500]
			benchScan(b, s.view(b), iv, 1000)
		})
	}
}

// BenchmarkList100000 is the first open bet of the design: a list of 100 000
// keys, of which a quarter has five versions, beside one of single versions.
func BenchmarkList100000(b *testing.B) {
	for _, versions := range []int{1, 5} {
		b.Run(fmt.Sprintf("versions=%d", versions), func(b *testing.B) {
			s := newBenchStore(b, 100_000, versions, 256, 0.25, 0)
			benchScan(b, s.view(b), everything, 100_000)
		})
	}
}

// BenchmarkPut is a put of the Writer in batches of a hundred, commits included.
func BenchmarkPut(b *testing.B) {
	const keyCount = 100_000
	value := make([]byte, 256)
	run := func(name string, cacheBytes int64, fresh bool) {
		b.Run(name, func(b *testing.B) {
			s := newBenchStore(b, keyCount, 1, 256, 0, cacheBytes)
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				key := s.keys[i*7919%keyCount]
				if fresh {
					key = fmt.Appendf(nil, "registry/pods/ns%d/%010d-%d", i%10, i*7919%keyCount, i)
				}
				prev, err := s.writer.Get(key, 0)
				if err != nil || (prev == nil) != fresh {
					b.Fatal(prev, err)
				}
				s.put(key, value, prev)
				if i%100 == 99 {
					s.commit(b)
				}
			}
			s.commit(b)
		})
	}
	run("cached", 256<<20, false)
	run("absent", 64<<20, true)
	run("in Pebble", 0, false)
}

// BenchmarkPutScattered is a put of one of 10 000 keys by chance, in the batches of a busy
// server, with what the engine does of it later.
func BenchmarkPutScattered(b *testing.B) {
	const keyCount = 10_000
	value := make([]byte, 256)
	s := newBenchStore(b, keyCount, 1, 256, 0, 256<<20)
	random := rand.New(rand.NewPCG(1, 1))
	defer reportCPU(b)()
	for i := 0; b.Loop(); i++ {
		key := s.keys[random.IntN(keyCount)]
		prev, err := s.writer.Get(key, 0)
		if err != nil {
			b.Fatal(err)
		}
		s.put(key, value, prev)
		if i%500 == 499 {
			s.commit(b)
		}
	}
	s.commit(b)
}

// BenchmarkCommit is the commit alone, of a hundred puts and of one.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("puts=%d", size), func(b *testing.B) {
			s := newBenchStore(b, 10_000, 1, 256, 0, 64<<20)
			value := make([]byte, 256)
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				for j := range size {
					s.put(s.keys[(i*size+j)%len(s.keys)], value, nil)
				}
				s.commit(b)
			}
		})
	}
}

// BenchmarkView is what publishing costs besides: a snapshot and a reader.
func BenchmarkView(b *testing.B) {
	s := newBenchStore(b, 10_000, 1, 256, 0, 64<<20)
	defer reportCPU(b)()
	for b.Loop() {
		snapshot := s.db.NewSnapshot()
		_ = NewReader(snapshot, s.caches, s.index, s.rev, 0)
		if err := snapshot.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRevisions is the catch-up of a watch: 1000 revisions with what they
// superseded.
func BenchmarkRevisions(b *testing.B) {
	s := newBenchStore(b, 20_000, 2, 256, 1, 0)
	r := s.view(b)
	defer reportCPU(b)()
	for b.Loop() {
		revs, _, err := r.Revisions(b.Context(), s.rev-999, everything, true, 1<<30)
		if err != nil || len(revs) != 1000 {
			b.Fatal(len(revs), err)
		}
	}
}

// BenchmarkCollect removes the superseded half of 20 000 versions.
func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := newBenchStore(b, 10_000, 2, 256, 1, 16<<20)
		c, err := NewCollector(s.db, CollectorOptions{Share: 1})
		require.NoError(b, err)
		b.StartTimer()
		if err := c.Collect(b.Context(), s.rev); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20_000, "ns/change")
}

// BenchmarkRow reads rows of znodes, from the cache and from the engine.
func BenchmarkRow(b *testing.B) {
	const rowCount = 100_000
	store := func(b *testing.B, cacheBytes int64) (*benchStore, [][]byte) {
		s := newBenchStore(b, 1, 1, 1, 0, cacheBytes)
		rows := make([][]byte, rowCount)
		for i := range rows {
			rows[i] = []byte(znodeRow(fmt.Sprintf("/service/group%d/%010d", i%10, i)))
			s.writer.SetRow(rows[i], make([]byte, 32))
			if i%500 == 499 {
				s.commit(b)
			}
		}
		require.NoError(b, s.db.Flush())
		return s, rows
	}
	for name, cacheBytes := range map[string]int64{"in the cache": 64 << 20, "in Pebble": 0} {
		b.Run(name, func(b *testing.B) {
			s, rows := store(b, cacheBytes)
			r := s.view(b)
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				if row, err := r.Row(rows[i*7919%rowCount]); row == nil || err != nil {
					b.Fatal(row, err)
				}
			}
		})
		b.Run(name+", by the writer", func(b *testing.B) {
			s, rows := store(b, cacheBytes)
			defer reportCPU(b)()
			for i := 0; b.Loop(); i++ {
				if row, err := s.writer.GetRow(rows[i*7919%rowCount]); row == nil || err != nil {
					b.Fatal(row, err)
				}
			}
			require.NoError(b, s.writer.Close())
		})
	}
}

// BenchmarkCacheFull adds a key to a cache that is full, which evicts another.
func BenchmarkCacheFull(b *testing.B) {
	c := NewCache(16 << 20)
	churn(c, 200_000)
	kvs := make([]*core.KV, 200_000)
	for i := range kvs {
		kvs[i] = &core.KV{Key: fmt.Appendf(nil, "new%09d", i), Value: make([]byte, 256), ModRev: 1, Version: 1}
	}
	for i := 0; b.Loop(); i++ {
		kv := kvs[i%len(kvs)]
		c.write(hashOf(kv.Key), kv, nil, 1)
	}
}
