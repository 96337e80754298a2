package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

// BenchmarkLonePut is a put of one caller, as BenchmarkPut's, and what the process spends on
// it in all: what each hand-over from goroutine to goroutine costs shows in the processor
// time only.
func BenchmarkLonePut(b *testing.B) {
	n := startNode(b, Config{DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	defer stopNode(b, n)
	value := make([]byte, 256)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	before := cpuTime()
	for i := 0; b.Loop(); i++ {
		key := fmt.Appendf(nil, "key-%06d", i%10_000)
		if _, err := n.Do(ctx, core.Principal{}, &core.Put{Key: key, Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
