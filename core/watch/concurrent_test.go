package watch

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestConcurrent runs a writer, a compactor and feeds of all speeds that add and
// remove watches, on a hub with little room, and checks that every watch gets
// its events in order and completely.
func TestConcurrent(t *testing.T) {
	const revisions, feeds = 1500, 8
	s := newStore()
	s.chunk = 50
	hub := New(Options{RingBytes: 20_000, QueueBytes: 4000, QueueItems: 30, History: s, Start: 1, CompactRev: -1})
	end := core.Rev(revisions + 1)

	var all sync.WaitGroup
	for i := range feeds {
		all.Go(func() { consumeUntil(t, hub, s, i, end) })
	}
	for i := range revisions {
		publish(hub, s, edit{fmt.Sprintf("k%d", i%7), "v"}, edit{"k", "v"})
		if i == revisions/2 {
			s.compact(revisions / 4)
			hub.Compacted(revisions / 4)
		}
		if i%16 == 0 {
			runtime.Gosched()
		}
	}
	all.Wait()
	hub.Close()
	require.Equal(t, end, hub.Dispatched())
}

// consumeUntil keeps three watches alive, replaces one now and then, and
// returns when each has been told all up to end.
func consumeUntil(t *testing.T, hub *Hub, s *store, n int, end core.Rev) {
	t.Helper()
	type state struct {
		spec core.WatchSpec
		next core.Rev
	}
	random := rand.New(rand.NewPCG(uint64(n), 1))
	f := hub.Open()
	defer f.Close()
	watches := make(map[core.WatchID]*state)
	var lastID core.WatchID
	add := func() {
		lastID++
		w := &state{next: core.Rev(1 + random.Int64N(int64(end)))}
		w.spec.Key = []byte("k")
		if random.IntN(2) == 0 {
			w.spec.End = core.FromKey
		}
		w.spec.Start = w.next
		watches[lastID] = w
		f.Add(lastID, w.spec)
	}
	for range 3 {
		add()
	}
	for done := 0; done < 3; {
		d, err := f.Next(t.Context())
		if err != nil {
			t.Errorf("feed %d: %v", n, err)
			return
		}
		w := watches[d.Watch]
		switch d.Kind {
		case core.DeliverCompacted:
			if w.next >= d.CompactRev {
				t.Errorf("watch from %d lost nothing to %d", w.next, d.CompactRev)
			}
			delete(watches, d.Watch)
			add()
		case core.DeliverCanceled:
			delete(watches, d.Watch)
			add()
		case core.DeliverEvents:
			last := d.Changes[len(d.Changes)-1].KV.ModRev
			want := s.between(w.spec, w.next, last)
			if len(want) != len(d.Changes) || want[0].KV != d.Changes[0].KV {
				t.Errorf("watch from %d: %d events up to %d, want %d", w.next, len(d.Changes), last, len(want))
				return
			}
			w.next = last + 1
			if last == end {
				done++
			} else if random.IntN(300) == 0 && f.Remove(d.Watch) {
				runtime.Gosched()
			}
		case core.DeliverCreated, core.DeliverProgress:
		}
		for range n * 20 { // the higher, the slower
			runtime.Gosched()
		}
	}
}
