package mvcc

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// A store of more keys than are counted, or passed, in one go: whatever part of it is
// counted, visited or scanned, nothing is left out and nothing twice.
func TestCountsAndScansOfManyKeys(t *testing.T) {
	db, err := storage.Open("db", storage.Options{FS: storage.NewMemFS(), OnFatal: func(error) {}})
	require.NoError(t, err)
	w := mustWriter(t, db, Caches{})
	const n = 2*turnRows + 5000
	countStep := int(countSteps[len(countSteps)-1])
	name := func(i int) string { return fmt.Sprintf("k%06d", i) }
	for i := range n { // all in revision 2
		w.Put(next(nil, name(i), 2, "v", 0), uint32(i), nil)
	}
	require.NoError(t, w.Commit(1))
	for i := range n { // every third is deleted, every fifth written again
		kv := next(nil, name(i), 2, "v", 0)
		switch {
		case i%3 == 0:
			w.Delete(kv.Key, 3, uint32(i), kv, 0)
		case i%5 == 0:
			w.Put(next(kv, name(i), 3, "w", 0), uint32(i), kv)
		}
	}
	require.NoError(t, w.Commit(2))
	require.NoError(t, db.Flush())
	left := func(from, to int) (left int64) {
		for i := from; i < to; i++ {
			if i%3 != 0 {
				left++
			}
		}
		return left
	}
	snap := db.NewSnapshot()
	r := NewReader(snap, Caches{}, 2, 3, 1).WithTotal(left(0, n))
	for _, iv := range [][2]int{
		{0, n},
		{0, 0},
		{7, 6},
		{100, n},
		{0, n - 100},
		{100, n - 100},
		{n / 3, n},
		{0, n / 3},
		{countStep, n - countStep},
		{turnRows, 2 * turnRows},
		{n - 10, n},
	} {
		from, to := iv[0], iv[1]
		in := core.Interval{Key: []byte(name(from)), End: []byte(name(to))}
		ends := []core.Interval{in}
		if to == n {
			ends = append(ends, core.Interval{Key: in.Key, End: core.FromKey})
		}
		if from == 0 && to > 0 {
			ends = append(ends, core.Interval{Key: core.FromKey, End: in.End})
		}
		for _, in := range ends {
			for rev, want := range map[core.Rev]int64{0: left(from, to), 3: left(from, to), 2: int64(max(0, to-from))} {
				got, err := r.Count(context.Background(), in, rev)
				require.NoError(t, err)
				require.Equal(t, want, got, "%q at %d", in, rev)
				i, seen := from-1, int64(0)
				require.NoError(t, r.Visit(in, rev, false, func(kv *core.KV) bool {
					for i++; rev != 2 && i%3 == 0; i++ {
					}
					seen++
					return name(i) == string(kv.Key)
				}))
				require.Equal(t, want, seen, "%q at %d: after %s", in, rev, name(i))
			}
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.Count(canceled, core.Interval{Key: []byte("k"), End: []byte(name(n - countStep - 10))}, 0)
	require.ErrorIs(t, err, core.Canceled)
	require.NoError(t, snap.Close())
	require.NoError(t, w.Close())
	require.NoError(t, db.Close())
}

// BenchmarkVisit is the walk over 100 000 keys, a key.
func BenchmarkVisit(b *testing.B) {
	db, err := storage.Open("db", storage.Options{FS: storage.NewMemFS(), OnFatal: func(error) {}})
	require.NoError(b, err)
	w := mustWriter(b, db, Caches{})
	const n = 100_000
	value := string(make([]byte, 256))
	for i := range n {
		w.Put(next(nil, fmt.Sprintf("key/%08d", i), 2, value, 0), uint32(i), nil)
	}
	require.NoError(b, w.Commit(1))
	require.NoError(b, db.Flush())
	snap := db.NewSnapshot()
	r := NewReader(snap, Caches{}, 1, 2, 1)
	all := core.Interval{Key: core.FromKey, End: core.FromKey}
	for name, read := range map[string]func() error{
		"Visit": func() error { return r.Visit(all, 0, false, func(*core.KV) bool { return true }) },
		"Scan":  func() error { return r.Scan(all, 0, false, func(*core.KV) bool { return true }) },
		"Count": func() error { _, err := r.Count(context.Background(), all, 0); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, read())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/key")
		})
	}
	require.NoError(b, snap.Close())
	require.NoError(b, w.Close())
	require.NoError(b, db.Close())
}
