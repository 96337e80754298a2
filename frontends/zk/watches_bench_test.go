package zk

import (
	"fmt"
	"io"
	"testing"

	"github.com/triglot/triglot/core"
)

// discard is a connection that takes everything.
type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// herd is n subscribers, whose outboxes are emptied when they are kicked, as those of
// connections are, but at once.
func herd(n int) []*subscriber {
	subs := make([]*subscriber, n)
	for i := range subs {
		out := &outbox{w: discard{io.Discard}}
		subs[i] = &subscriber{out: out, kick: func() { _, _ = out.flush() }, who: func() core.Principal { return core.Principal{} }}
	}
	return subs
}

func changeOf(rev core.Rev, path string) []*core.Revision {
	return []*core.Revision{{Rev: rev, Steps: []core.ZnodeStep{{Event: core.ZnodeDataChanged, Path: path}}}}
}

// A herd of clients watch one znode, it changes, and all watch it again: one
// operation is the part of one client.
func BenchmarkHerd(b *testing.B) {
	const n = 10_000
	table, subs := newWatchTable(), herd(n)
	regs := []registration{{path: "/hot", kind: watchData, keep: true}}
	rev := core.Rev(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := subs[i%n]
		table.arm(s, regs)
		table.settle(s, rev, nil, regs)
		if i%n == n-1 {
			rev++
			table.Revisions(changeOf(rev, "/hot"), rev)
		}
	}
}

// One of a herd watches again what it watches already.
func BenchmarkHerdWatchesAgain(b *testing.B) {
	const n = 10_000
	table, subs := newWatchTable(), herd(n)
	for _, s := range subs {
		watchNow(table, s, watchData, "/hot", 1)
	}
	regs := []registration{{path: "/hot", kind: watchData, keep: true}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := subs[i*7919%n]
		table.arm(s, regs)
		table.settle(s, 1, nil, regs)
	}
}

// A znode changes that 10 000 connections have a watch on that stays: one operation is
// one change.
func BenchmarkStorm(b *testing.B) {
	for _, at := range []struct {
		name string
		kind watchKind
		path string
	}{
		{"persistent", watchPersistent, "/app/config/node"},
		{"recursive", watchRecursive, "/"},
	} {
		b.Run(at.name, func(b *testing.B) {
			table, subs := newWatchTable(), herd(10_000)
			for _, s := range subs {
				watchNow(table, s, at.kind, at.path, 1)
			}
			rev := core.Rev(1)
			b.ReportAllocs()
			for b.Loop() {
				rev++
				table.Revisions(changeOf(rev, "/app/config/node"), rev)
			}
		})
	}
}

// A znode changes that nobody watches, while others are: with no recursive watch, and
// with one elsewhere.
func BenchmarkUnwatchedChange(b *testing.B) {
	for _, recursive := range []bool{false, true} {
		b.Run(fmt.Sprintf("recursive=%v", recursive), func(b *testing.B) {
			table, subs := newWatchTable(), herd(2)
			for i := range 100_000 {
				watchNow(table, subs[0], watchData, fmt.Sprintf("/watched/n%06d", i), 1)
			}
			if recursive {
				watchNow(table, subs[1], watchRecursive, "/elsewhere", 1)
			}
			revs := changeOf(1, "/a/b/c/d/e/f/g/h")
			rev := core.Rev(1)
			b.ReportAllocs()
			for b.Loop() {
				rev++
				table.Revisions(revs, rev)
			}
		})
	}
}

// One connection watches 100 000 paths, in chunks as setWatches does, and goes away.
func BenchmarkWatchManyPaths(b *testing.B) {
	const n = 100_000
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("/watched/n%06d", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		table, s := newWatchTable(), herd(1)[0]
		w := &rewatch{lists: []rewatchList{{paths: paths, kind: watchData}}}
		for chunk := (rewatchChunk{}); !chunk.last; {
			w.next(&chunk)
			table.arm(s, chunk.regs)
			for i := range chunk.regs {
				chunk.regs[i].keep = true
			}
			table.settle(s, 1, nil, chunk.regs)
		}
		table.drop(s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/watch")
}
