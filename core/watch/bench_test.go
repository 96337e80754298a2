package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/triglot/triglot/core"
)

// revisionOf makes a revision that puts a value of 256 bytes to key.
func revisionOf(rev core.Rev, key []byte) *core.Revision {
	kv := &core.KV{Key: key, Value: make([]byte, 256), CreateRev: 1, ModRev: rev, Version: 2}
	return &core.Revision{Rev: rev, Changes: []core.Change{{KV: kv, Prev: kv}}}
}

// BenchmarkFanOut publishes one event at a time to 1000 watches and waits until
// all have it: as 1000 feeds with a goroutine each, and as one.
func BenchmarkFanOut(b *testing.B) {
	for _, c := range []struct{ feeds, watches int }{{1000, 1}, {10, 100}, {1, 1000}, {1, 1}} {
		b.Run(fmt.Sprintf("feeds=%d/watches=%d", c.feeds, c.watches), func(b *testing.B) {
			hub := New(Options{QueueItems: 1 << 20, QueueBytes: 1 << 30, Start: 1, CompactRev: -1})
			bench := startConsumers(b, hub, c.feeds, func(f core.Feed, _ int) {
				for id := range c.watches {
					f.Add(core.WatchID(id), single)
				}
			})
			rev := core.Rev(1)
			b.ReportAllocs()
			for b.Loop() {
				rev++
				bench.publish(revisionOf(rev, single.Key), c.feeds*c.watches)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.feeds*c.watches), "ns/delivery")
			hub.Close()
			bench.done.Wait()
		})
	}
}

// BenchmarkFanOutStream publishes in batches of 64 without waiting for each, as
// apply does under load.
func BenchmarkFanOutStream(b *testing.B) {
	for _, c := range []struct{ feeds, watches int }{{1000, 1}, {1, 1000}} {
		b.Run(fmt.Sprintf("feeds=%d/watches=%d", c.feeds, c.watches), func(b *testing.B) {
			hub := New(Options{QueueItems: 1 << 20, QueueBytes: 1 << 30, Start: 1, CompactRev: -1})
			bench := startConsumers(b, hub, c.feeds, func(f core.Feed, _ int) {
				for id := range c.watches {
					f.Add(core.WatchID(id), single)
				}
			})
			rev := core.Rev(1)
			revs := make([]*core.Revision, 64)
			b.ReportAllocs()
			for b.Loop() {
				for i := range revs {
					rev++
					revs[i] = revisionOf(rev, single.Key)
				}
				bench.left.Store(int64(len(revs) * c.feeds * c.watches))
				hub.Publish(revs, rev)
				<-bench.all
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(revs)*c.feeds*c.watches), "ns/delivery")
			hub.Close()
			bench.done.Wait()
		})
	}
}

// BenchmarkManyKeys publishes to 1000 keys in turn, each watched by one feed.
func BenchmarkManyKeys(b *testing.B) {
	const keys = 1000
	hub := New(Options{Start: 1, CompactRev: -1})
	key := func(i int) []byte { return fmt.Appendf(nil, "/registry/pods/default/pod-%04d", i%keys) }
	bench := startConsumers(b, hub, keys, func(f core.Feed, i int) {
		f.Add(1, core.WatchSpec{Interval: core.Interval{Key: key(i)}})
	})
	rev := core.Rev(1)
	b.ReportAllocs()
	for b.Loop() {
		rev++
		bench.publish(revisionOf(rev, key(int(rev))), 1)
	}
	hub.Close()
	bench.done.Wait()
}

// consumers are feeds that are read by a goroutine each.
type consumers struct {
	hub  *Hub
	left atomic.Int64
	all  chan struct{}
	done sync.WaitGroup
}

func startConsumers(b *testing.B, hub *Hub, feeds int, add func(f core.Feed, i int)) *consumers {
	b.Helper()
	c := &consumers{hub: hub, all: make(chan struct{}, 1)}
	for i := range feeds {
		f := hub.Open()
		add(f, i)
		c.done.Go(func() {
			for {
				d, err := f.Next(context.Background())
				if err != nil {
					if !errors.Is(err, core.Stopped) {
						b.Error(err)
					}
					return
				}
				if d.Kind == core.DeliverEvents && c.left.Add(-int64(len(d.Changes))) == 0 {
					c.all <- struct{}{}
				}
			}
		})
	}
	return c
}

// publish publishes rev and waits for as many deliveries.
func (c *consumers) publish(rev *core.Revision, deliveries int) {
	c.left.Store(int64(deliveries))
	c.hub.Publish([]*core.Revision{rev}, rev.Rev)
	<-c.all
}

// BenchmarkPublish measures what a revision costs apply, watched or not.
func BenchmarkPublish(b *testing.B) {
	for _, watches := range []int{0, 1} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) {
			hub := New(Options{Start: 1, CompactRev: -1, RingBytes: 1 << 20})
			defer hub.Close()
			if watches > 0 {
				hub.Open().Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("other")}})
			}
			revs := []*core.Revision{revisionOf(1, single.Key)}
			kv := revs[0].Changes
			rev := core.Rev(1)
			b.ReportAllocs()
			for b.Loop() {
				rev++
				revs[0] = &core.Revision{Rev: rev, Changes: kv}
				hub.Publish(revs, rev)
			}
		})
	}
}

// BenchmarkPublishFollowed measures what a revision of one step costs apply, with
// and without a listener, and then how long it takes until a listener is told.
func BenchmarkPublishFollowed(b *testing.B) {
	steps := []core.ZnodeStep{{Event: core.ZnodeDataChanged, Path: "/service/instance-0000000001"}}
	for _, c := range []struct {
		name      string
		listeners int
		wait      bool
	}{{"listeners=0", 0, false}, {"listeners=1", 1, false}, {"listeners=1/until told", 1, true}} {
		b.Run(c.name, func(b *testing.B) {
			hub := New(Options{Start: 1, CompactRev: -1, RingBytes: 1 << 20})
			defer hub.Close()
			told := make(signal, 1)
			following := hub.Follow(told)
			for range c.listeners {
				following.Listen()
			}
			rev := core.Rev(1)
			b.ReportAllocs()
			for b.Loop() {
				rev++
				hub.Publish([]*core.Revision{{Rev: rev, Steps: steps}}, rev)
				if c.wait {
					<-told
				}
			}
		})
	}
}

// signal is a follower that says when it is told something.
type signal chan struct{}

func (s signal) Revisions([]*core.Revision, core.Rev) { s.Lost(0) }

func (s signal) Lost(core.Rev) {
	select {
	case s <- struct{}{}:
	default:
	}
}

// BenchmarkMatch matches one revision of one change against many watches.
func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct {
		name    string
		watches int
		spec    func(i int) core.Interval
		hits    int
	}{
		{"ranges=10000/hits=1", 10_000, func(i int) core.Interval { return prefix(fmt.Sprintf("/registry/group-%05d/", i)) }, 1},
		{"ranges=10000/hits=0", 10_000, func(i int) core.Interval { return prefix(fmt.Sprintf("/registry/other-%05d/", i)) }, 0},
		{"keys=10000/hits=1", 10_000, func(i int) core.Interval {
			return core.Interval{Key: fmt.Appendf(nil, "/registry/group-%05d/name", i)}
		}, 1},
		{"ranges=10000/nested/hits=4", 10_000, func(i int) core.Interval {
			switch i {
			case 0:
				return prefix("/")
			case 1:
				return prefix("/registry/")
			case 2:
				return core.Interval{Key: []byte("/registry/group-05000"), End: core.FromKey}
			}
			return prefix(fmt.Sprintf("/registry/group-%05d/", i))
		}, 4},
	} {
		b.Run(c.name, func(b *testing.B) {
			hub := newHub(Options{QueueItems: 1 << 20, Start: 1, CompactRev: -1})
			f := hub.open()
			for i := range c.watches {
				f.Add(core.WatchID(i), core.WatchSpec{Interval: c.spec(i)})
			}
			d := &hub.dispatcher
			rev := revisionOf(2, []byte("/registry/group-05000/name"))
			b.ReportAllocs()
			for b.Loop() {
				rev.Rev++
				if n := d.match(entry{rev: rev}); n != c.hits {
					b.Fatalf("%d hits", n)
				}
				for f.count > 0 || f.out != nil {
					f.take()
				}
			}
			hub.Close()
		})
	}
}

// BenchmarkCatchUp catches up on 10 000 revisions in the ring, of which the
// watch wants all, or one in a hundred.
func BenchmarkCatchUp(b *testing.B) {
	const revisions = 10_000
	for _, share := range []int{1, 100} {
		b.Run(fmt.Sprintf("wanted=1:%d", share), func(b *testing.B) {
			hub := New(Options{Start: 1, CompactRev: -1})
			defer hub.Close()
			for rev := core.Rev(2); rev < revisions+2; rev++ {
				key := single.Key
				if int(rev)%share != 0 {
					key = []byte("other")
				}
				hub.Publish([]*core.Revision{revisionOf(rev, key)}, rev)
			}
			f := hub.Open()
			b.ReportAllocs()
			for b.Loop() {
				f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
				for events := 0; events < revisions/share; {
					d, err := f.Next(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					events += len(d.Changes)
				}
				f.Remove(1)
				for {
					d, err := f.Next(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					if d.Kind == core.DeliverCanceled {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*revisions), "ns/revision")
		})
	}
}
