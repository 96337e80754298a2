package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/triglot/triglot/core"
)

// BenchmarkPut is a put through the whole member, synced on the real disk, by
// so many callers at a time.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			n := startNode(b, Config{DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
			defer stopNode(b, n)
			value := make([]byte, 256)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(callers/2, 1)) // times GOMAXPROCS, two here
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					key := fmt.Appendf(nil, "key-%06d", next.Add(1)%10_000)
					if _, err := n.Do(context.Background(), core.Principal{}, &core.Put{Key: key, Value: value}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkGet is a linearizable get of a cached key through the whole member.
func BenchmarkGet(b *testing.B) {
	n := startNode(b, Config{DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	defer stopNode(b, n)
	put(b, n, "key", "value")
	q := &core.Range{Interval: core.Interval{Key: []byte("key")}}
	b.ReportAllocs()
	for b.Loop() {
		v, err := n.View(context.Background(), core.Principal{}, core.Consistency{Linearizable: true})
		if err != nil {
			b.Fatal(err)
		}
		res, err := v.Range(context.Background(), q)
		v.Close()
		if err != nil || len(res.KVs) != 1 {
			b.Fatal(res, err)
		}
	}
}
