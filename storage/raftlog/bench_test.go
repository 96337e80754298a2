package raftlog

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/storage"
)

// BenchmarkAppend appends batches to a log of stable length: to the disk on which
// the temporary directory is, and to memory, which leaves our own cost.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ entries, bytes int }{{1, 300}, {1, 64 << 10}, {16, 4 << 10}} {
		for _, where := range []string{"disk,sync", "disk", "memory"} {
			b.Run(fmt.Sprintf("%dx%d,%s", c.entries, c.bytes, where), func(b *testing.B) {
				var o Options
				dir := b.TempDir()
				if where == "memory" {
					o.FS, dir = storage.NewMemFS(), "log"
				}
				var syncing time.Duration
				o.OnSync = func(d time.Duration, _ int) { syncing += d }
				l, err := Open(dir, o)
				require.NoError(b, err)
				benchAppend(b, l, c.entries, c.bytes, where == "disk,sync")
				if where == "disk,sync" {
					b.ReportMetric(float64(syncing.Nanoseconds())/float64(b.N), "sync-ns/op")
				}
				require.NoError(b, l.Close())
			})
		}
	}
}

func benchAppend(b *testing.B, l *Log, entries, size int, sync bool) {
	index, term, data := uint64(0), uint64(1), make([]byte, size)
	hs := hard(1, 1, 0)
	// raft's own allocations are not ours: the entries are made before.
	batches := make([][]*raftpb.Entry, 64)
	for i := range batches {
		for range entries {
			batches[i] = append(batches[i], &raftpb.Entry{Index: new(uint64), Term: &term, Data: data})
		}
	}
	append64 := func(n int) {
		batch := batches[n%len(batches)]
		for _, e := range batch {
			index++
			*e.Index = index
		}
		*hs.Commit = index - 1
		if err := l.Append(hs, batch, sync); err != nil {
			b.Fatal(err)
		}
		if n%256 == 255 && index > 1000 {
			if err := l.Truncate(index - 1000); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(entries * size))
	for n := 0; b.Loop(); n++ {
		append64(n)
	}
}

// BenchmarkEntries reads a page of 1 MiB of entries of 1 KiB.
func BenchmarkEntries(b *testing.B) {
	for _, cache := range []int64{1, 1 << 30} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			l, err := Open(b.TempDir(), Options{CacheBytes: cache})
			require.NoError(b, err)
			for i := uint64(1); i <= 4096; i++ {
				require.NoError(b, l.Append(nil, []*raftpb.Entry{entry(i, 1, string(make([]byte, 1024)))}, false))
			}
			b.ReportAllocs()
			for n := uint64(0); b.Loop(); n++ {
				lo := 1 + n*997%3000
				if _, err := l.Entries(lo, 4097, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkOpen opens a new log, and one with 32 MiB in it.
func BenchmarkOpen(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			l, err := Open(b.TempDir(), Options{})
			require.NoError(b, err)
			require.NoError(b, l.Close())
		}
	})
	b.Run("32MiB", func(b *testing.B) {
		dir := b.TempDir()
		l, err := Open(dir, Options{})
		require.NoError(b, err)
		for i := uint64(1); i <= 100_000; i++ {
			require.NoError(b, l.Append(nil, []*raftpb.Entry{entry(i, 1, string(make([]byte, 280)))}, false))
		}
		for b.Loop() {
			require.NoError(b, l.Close())
			l, err = Open(dir, Options{})
			require.NoError(b, err)
		}
		entries, err := l.Entries(1, 100_001, math.MaxUint64)
		require.NoError(b, err)
		require.Len(b, entries, 100_000)
		require.NoError(b, l.Close())
	})
}

// BenchmarkDisk is what the disk itself does, to hold BenchmarkAppend against:
// fdatasync of a page at the end of a growing file, and of one that is there.
func BenchmarkDisk(b *testing.B) {
	for _, prepared := range []bool{false, true} {
		b.Run(fmt.Sprintf("prepared=%v", prepared), func(b *testing.B) {
			f, err := storage.DefaultFS.OpenReadWrite(b.TempDir()+"/file", writeCategory)
			require.NoError(b, err)
			if prepared {
				for off := int64(0); off < DefaultSegmentBytes; off += int64(len(zeros)) {
					_, err := f.WriteAt(zeros[:], off)
					require.NoError(b, err)
				}
				require.NoError(b, f.Sync())
			}
			page := make([]byte, pageBytes)
			for n := int64(0); b.Loop(); n++ {
				if _, err := f.WriteAt(page, n*pageBytes%DefaultSegmentBytes); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, f.Close())
		})
	}
}
