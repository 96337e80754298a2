package watch

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// publish writes one revision and publishes it.
func publish(h *Hub, s *store, edits ...edit) core.Rev {
	rev := s.write(edits...)
	h.Publish([]*core.Revision{rev}, rev.Rev)
	return rev.Rev
}

// next fails the test if there is no delivery within ten seconds.
func next(t *testing.T, f core.Feed) core.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := f.Next(ctx)
	require.NoError(t, err)
	return d
}

var single = core.WatchSpec{Interval: core.Interval{Key: []byte("k")}}

// TestSlowFeed checks that a feed that reads nothing holds up nobody, keeps no
// more than its queue, and loses nothing.
func TestSlowFeed(t *testing.T) {
	synctest.Test(t, testSlowFeed) // no deadline of it depends on the machine's load
}

func testSlowFeed(t *testing.T) {
	const feeds, revisions = 1000, 120
	s := newStore()
	hub := New(Options{QueueItems: 50, History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	slow := hub.open()
	slow.Add(1, single)

	var all sync.WaitGroup
	for range feeds {
		f := hub.Open()
		f.Add(1, single)
		all.Go(func() {
			for rev := core.Rev(2); rev <= revisions+1; {
				d, err := f.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range d.Changes {
					if c.KV.ModRev != rev {
						t.Errorf("got revision %d, want %d", c.KV.ModRev, rev)
						return
					}
					rev++
				}
			}
		})
	}
	for range revisions {
		publish(hub, s, edit{"k", "v"})
	}
	all.Wait() // although slow has not moved

	slow.mu.Lock()
	require.LessOrEqual(t, slow.count, slow.maxItems+1, "the queue and the marker")
	slow.mu.Unlock()
	require.Equal(t, 1, hub.Stats().Behind)

	require.Equal(t, core.DeliverCreated, next(t, slow).Kind)
	events := s.between(single, 2, revisions+1)
	for len(events) > 0 {
		d := next(t, slow)
		require.Equal(t, events[:len(d.Changes)], withoutMemos(d.Changes))
		events = events[len(d.Changes):]
	}
	require.Zero(t, hub.Stats().Behind)
	require.Zero(t, s.calls, "the ring had it all")
}

// TestSlowHistory checks that a read of the history that hangs holds up neither
// the hub nor another feed, nor the other methods of the feed that waits.
func TestSlowHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.write(edit{"k", "old"})
		s.block = make(chan struct{})
		hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
		defer hub.Close()

		behind, joined := hub.Open(), hub.Open()
		behind.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
		joined.Add(1, single)
		require.Equal(t, core.DeliverCreated, next(t, behind).Kind)
		require.Equal(t, core.DeliverCreated, next(t, joined).Kind)
		caught := make(chan core.Delivery)
		go func() { caught <- next(t, behind) }()
		synctest.Wait()
		require.Equal(t, 1, s.calls)

		publish(hub, s, edit{"k", "new"})
		require.Equal(t, core.Rev(3), next(t, joined).Rev)
		behind.Add(2, single)
		behind.RequestProgress(core.AllWatches)
		require.True(t, behind.Remove(2))
		close(s.block)
		require.Equal(t, core.Delivery{Watch: 1, Rev: 2, Changes: s.between(single, 2, 2)}, <-caught)
	})
}

// TestRemoveWhileReading checks that a watch that is removed while its consumer
// reads the history for it does not come back.
func TestRemoveWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.write(edit{"k", "old"})
		s.block = make(chan struct{})
		hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
		defer hub.Close()
		f := hub.Open()
		f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
		require.Equal(t, core.DeliverCreated, next(t, f).Kind)
		deliveries := make(chan core.Delivery)
		go func() {
			for {
				d, err := f.Next(t.Context())
				if err != nil {
					close(deliveries)
					return
				}
				deliveries <- d
			}
		}()
		synctest.Wait()
		require.True(t, f.Remove(1))
		close(s.block)
		d := <-deliveries
		if d.Kind == core.DeliverEvents { // what had been read is still good
			d = <-deliveries
		}
		require.Equal(t, core.Delivery{Kind: core.DeliverCanceled, Watch: 1, Rev: 2}, d)
		publish(hub, s, edit{"k", "new"})
		f.Add(1, single)
		require.Equal(t, core.Delivery{Kind: core.DeliverCreated, Watch: 1, Rev: 3}, <-deliveries)
		require.Equal(t, Stats{Feeds: 1, Watches: 1, RingBytes: sizeOf(s.revs[1])}, hub.Stats())
		f.Close()
		_, open := <-deliveries
		require.False(t, open)
	})
}

// TestFairShare checks that a watch that is behind is brought forward although
// the feed's other watch always has something queued, and the other way round.
func TestFairShare(t *testing.T) {
	s := newStore()
	for range 3 * catchUpRevisions {
		s.write(edit{"behind", "v"})
	}
	hub := newHub(Options{History: s, Start: s.rev, CompactRev: -1})
	f := hub.open()
	f.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("behind")}, Start: 2})
	f.Add(2, single)
	deliveries := make(map[core.WatchID]int)
	for range 4 * fairShare {
		publish(hub, s, edit{"k", "v"})
		hub.dispatchAll()
		d, ok, err := f.poll(t.Context())
		require.NoError(t, err)
		require.True(t, ok)
		deliveries[d.Watch]++
	}
	require.Equal(t, map[core.WatchID]int{1: 4, 2: 4*fairShare - 4}, deliveries)
	hub.Close()
}

// TestEarlyForgets checks that a watch that is gone is not kept for the sake of
// a revision that may never come.
func TestEarlyForgets(t *testing.T) {
	hub := newHub(Options{History: newStore(), Start: 1, CompactRev: -1})
	f := hub.open()
	for id := range core.WatchID(10) {
		f.Add(id, core.WatchSpec{Interval: single.Interval, Start: 1 << 60})
		f.RequestProgress(id)
	}
	require.Len(t, hub.dispatcher.early, 10)
	require.True(t, f.Remove(3))
	require.Len(t, hub.dispatcher.early, 9)
	hub.Close()
	require.Empty(t, hub.dispatcher.early)
}

// TestClose checks that closing ends whoever waits, and waits for whoever reads
// the history.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.write(edit{"k", "v"})
		s.block = make(chan struct{}) // only the end of the context ends the read
		hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
		idle, reading := hub.Open(), hub.Open()
		reading.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
		require.Equal(t, core.DeliverCreated, next(t, reading).Kind)
		ended := make(chan error, 2)
		for _, f := range []core.Feed{idle, reading} {
			go func() {
				_, err := f.Next(context.Background())
				ended <- err
			}()
		}
		synctest.Wait()
		require.Equal(t, 1, s.calls)
		hub.Close()
		require.Equal(t, core.Stopped, <-ended)
		require.Equal(t, core.Stopped, <-ended)

		late := hub.Open()
		late.Add(1, single)
		_, err := late.Next(t.Context())
		require.Equal(t, core.Stopped, err)
		publish(hub, s, edit{"k", "v"})
		late.Close()
		hub.Close()
	})
}

// TestCloseWaits checks that Close does not return while a read of the history,
// even one that does not heed its context, is under way: the store is closed next.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hub := New(Options{History: stuckHistory(release), Start: 5, CompactRev: -1})
		f := hub.Open()
		f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
		require.Equal(t, core.DeliverCreated, next(t, f).Kind)
		ended, closed := make(chan error, 1), make(chan struct{})
		go func() {
			_, err := f.Next(context.Background())
			ended <- err
		}()
		synctest.Wait()
		go func() {
			hub.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("closed under a reader")
		default:
		}
		close(release)
		require.Equal(t, core.Stopped, <-ended)
		<-closed
	})
}

// stuckHistory is a History that does not answer before it is closed.
type stuckHistory chan struct{}

func (h stuckHistory) Revisions(_ context.Context, from core.Rev, _ core.Interval, _ bool, _ int) ([]*core.Revision, core.Rev, error) {
	<-h
	return nil, from + 1, nil
}

func (h stuckHistory) LoadPrev(context.Context, *core.Revision) error { return nil }

// TestWaitMissesNothing checks that a consumer does not go to sleep over what
// happened since it looked.
func TestWaitMissesNothing(t *testing.T) {
	hub := newHub(Options{History: newStore(), Start: 1, CompactRev: -1})
	for name, happen := range map[string]func(f *feed){
		"item":       func(f *feed) { f.Add(1, single) },
		"compaction": func(f *feed) { f.compacted() },
		"close":      func(f *feed) { f.Close() },
	} {
		f := hub.open()
		happen(f)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, f.wait(ctx), name)
		require.False(t, f.waiting, name)
	}
	hub.Close()
}

// TestNextEndsWithContext checks the kinds of the errors, and that nothing is
// lost by a call that gave up.
func TestNextEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		hub := New(Options{History: s, Start: 1, CompactRev: -1})
		defer hub.Close()
		f := hub.Open()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.Next(ctx)
		require.Equal(t, core.Deadline, core.KindOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)

		ctx, cancel = context.WithCancel(t.Context())
		go cancel()
		_, err = f.Next(ctx)
		require.Equal(t, core.Canceled, core.KindOf(err))

		for range 100 { // the end of the context and a wake-up at the same time
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			go f.Add(1, single)
			d, err := f.Next(ctx)
			if err != nil {
				d = next(t, f)
			}
			require.Equal(t, core.DeliverCreated, d.Kind)
			require.True(t, f.Remove(1))
			require.Equal(t, core.DeliverCanceled, next(t, f).Kind)
			synctest.Wait()
			f.(*feed).rouse() // a token too many, as the end of a context may leave
		}
	})
}

// TestHistoryFails checks that a failed read is reported once, with its cause,
// and that the next call takes up where it was.
func TestHistoryFails(t *testing.T) {
	s := newStore()
	s.write(edit{"k", "v"})
	s.fail = core.Errorf(core.Corrupt, "block 7")
	hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
	defer hub.Close()
	f := hub.Open()
	f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 1})
	require.Equal(t, core.DeliverCreated, next(t, f).Kind)
	_, err := f.Next(t.Context())
	require.EqualError(t, err, "watch: catching up from revision 1: cluster is corrupt: block 7")
	require.Equal(t, core.Corrupt, core.KindOf(err))
	require.Equal(t, s.between(single, 1, 2), next(t, f).Changes)
}

// TestCompactionRace checks the moment in which the history knows of a
// compaction and the hub does not: the reader waits for the hub to be told, and
// then learns the right revision.
func TestCompactionRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		for range 9 {
			s.write(edit{"k", "v"})
		}
		s.compact(7)
		hub := New(Options{History: s, Start: s.rev, CompactRev: -1})
		defer hub.Close()
		f := hub.Open()
		f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 3})
		require.Equal(t, core.DeliverCreated, next(t, f).Kind)
		ended := make(chan core.Delivery)
		go func() { ended <- next(t, f) }()
		synctest.Wait()
		require.Equal(t, 1, s.calls, "it must not spin")
		hub.Compacted(7)
		require.Equal(t, core.Delivery{Kind: core.DeliverCompacted, Watch: 1, CompactRev: 7}, <-ended)
		require.False(t, f.Remove(1))
	})
}

// TestCatchUpBounds checks how much one delivery of catching up holds, from the
// history and from the ring.
func TestCatchUpBounds(t *testing.T) {
	for _, source := range []string{"history", "ring"} {
		t.Run(source, func(t *testing.T) {
			s := newStore()
			start := core.Rev(1)
			if source == "history" {
				start = 5000
			}
			hub := newHub(Options{RingBytes: 1 << 30, History: s, Start: start, CompactRev: -1})
			large := string(make([]byte, catchUpBytes/4))
			for i := range 4999 {
				value := "v"
				if i >= 4900 {
					value = large
				}
				if rev := s.write(edit{"k", value}); source == "ring" {
					hub.Publish([]*core.Revision{rev}, rev.Rev)
				}
			}
			f := hub.open()
			f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 2})
			require.Equal(t, core.DeliverCreated, next(t, f).Kind)
			var small, big []int
			for at := core.Rev(2); at <= 5000; {
				d := next(t, f)
				require.Equal(t, core.Rev(5000), d.Rev)
				require.Equal(t, at, d.Changes[0].KV.ModRev)
				at = d.Changes[len(d.Changes)-1].KV.ModRev + 1
				if at > 4902 && d.Changes[0].KV.ModRev > 4902 {
					big = append(big, len(d.Changes))
				} else {
					small = append(small, len(d.Changes))
				}
			}
			require.Equal(t, []int{1000, 1000, 1000, 1000}, small[:4])
			require.Len(t, small, 5)
			for _, n := range big[:len(big)-1] {
				require.Equal(t, 4, n)
			}
			_, ok, err := f.poll(t.Context())
			require.False(t, ok)
			require.NoError(t, err)
			require.Equal(t, source == "history", s.calls > 0)
			hub.Close()
		})
	}
}

// TestBurstLeavesNoMemory checks that a queue that was full once is not kept.
func TestBurstLeavesNoMemory(t *testing.T) {
	s := newStore()
	hub := newHub(Options{QueueBytes: 1 << 30, History: s, Start: 1, CompactRev: -1})
	f := hub.open()
	f.Add(1, single)
	for range 3000 {
		publish(hub, s, edit{"k", "v"})
	}
	hub.dispatchAll()
	require.Equal(t, core.DeliverCreated, next(t, f).Kind)
	for told := 0; told < 3000; {
		told += len(next(t, f).Changes)
	}
	_, ok, _ := f.poll(t.Context())
	require.False(t, ok)
	require.Nil(t, f.first)
	require.Nil(t, f.last)
	require.Nil(t, f.out)
	hub.Close()
}

// TestProgressFlood checks that a client that asks for progress and reads
// nothing does not fill the memory.
func TestProgressFlood(t *testing.T) {
	hub := newHub(Options{QueueItems: 10, History: newStore(), Start: 1, CompactRev: -1})
	f := hub.open()
	f.Add(1, single)
	for range 1000 {
		f.RequestProgress(core.AllWatches)
		f.RequestProgress(1)
	}
	require.LessOrEqual(t, f.count, 11)
	hub.Close()
}
