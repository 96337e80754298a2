package watch

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// witness is a core.Follower that checks what it is told against all the revisions
// that there ever were, and knows who listens.
type witness struct {
	t      require.TestingT
	hub    *Hub
	traces []*core.Revision // all that left a trace, in order
	// listeners is the model's count; told the last revision told, lost or skipped.
	listeners int
	told      core.Rev
	lost      []core.Rev
	calls     int
	following core.Following
}

func (w *witness) follow(hub *Hub) { w.hub, w.following = hub, hub.Follow(w) }

func (w *witness) Revisions(revs []*core.Revision, upTo core.Rev) {
	require.Positive(w.t, w.listeners, "nobody listens")
	require.Greater(w.t, upTo, w.told)
	var want []*core.Revision
	for _, rev := range w.traces {
		if rev.Rev > w.told && rev.Rev <= upTo {
			want = append(want, rev)
		}
	}
	require.Len(w.t, revs, len(want), "told %d, now up to %d", w.told, upTo)
	for i := range want {
		require.Same(w.t, want[i], revs[i])
	}
	w.told = upTo
	w.calls++
}

func (w *witness) Lost(upTo core.Rev) {
	require.Positive(w.t, w.listeners, "nobody listens")
	require.Greater(w.t, upTo, w.told)
	require.Equal(w.t, w.hub.ring.base, upTo, "the ring has it still")
	w.told = upTo
	w.lost = append(w.lost, upTo)
}

// listen is the model of Listen: published is what Publish was last called with.
func (w *witness) listen(published core.Rev) {
	before := w.listeners
	rev := w.following.Listen()
	if before == 0 {
		w.told = rev
	}
	require.Equal(w.t, published, rev)
	require.Equal(w.t, w.told, rev)
	w.listeners++
}

func (w *witness) unlisten() {
	w.following.Unlisten()
	w.listeners--
}

// trace notes a revision that is about to be published.
func (w *witness) trace(rev *core.Revision) {
	if len(rev.Changes)+len(rev.Steps) > 0 {
		w.traces = append(w.traces, rev)
	}
}

func drawSteps(t *rapid.T) []core.ZnodeStep {
	var steps []core.ZnodeStep
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		steps = append(steps, core.ZnodeStep{
			Event: rapid.SampledFrom([]core.ZnodeEvent{core.ZnodeCreated, core.ZnodeDeleted, core.ZnodeDataChanged}).Draw(t, "event"),
			Path:  rapid.SampledFrom([]string{"/", "/a", "/a/b"}).Draw(t, "path"),
		})
	}
	return steps
}

// Every sequence of five of: a revision of a change, one of steps alone, an
// empty one, a step of the dispatcher, a listener who comes, one who goes; on a ring
// with room for one revision and on one with room for all, with and without a watch
// that keeps the dispatcher moving when nobody listens.
func TestAllInterleavingsOfFollowing(t *testing.T) {
	const length, moves = 5, 6
	for _, ringBytes := range []int{1, 1 << 20} {
		for _, watched := range []bool{false, true} {
			t.Run(fmt.Sprintf("ring=%d,watched=%v", ringBytes, watched), func(t *testing.T) {
				sequences := 1
				for range length {
					sequences *= moves
				}
				for s := range sequences {
					followThrough(t, s, length, moves, ringBytes, watched)
				}
			})
		}
	}
}

// followThrough makes the moves that are the digits of s.
func followThrough(t *testing.T, s, length, moves, ringBytes int, watched bool) {
	history := newStore()
	hub := newHub(Options{Start: 1, CompactRev: -1, RingBytes: ringBytes, History: history})
	defer hub.Close()
	f := hub.open()
	if watched {
		f.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("other")}})
	}
	w := &witness{t: t}
	w.follow(hub)
	rev := core.Rev(1)
	publish := func(r *core.Revision) {
		w.trace(r)
		hub.Publish([]*core.Revision{r}, r.Rev)
	}
	for range length {
		switch s % moves {
		case 0:
			rev++
			publish(&core.Revision{Rev: rev, Changes: []core.Change{{KV: &core.KV{Key: []byte("k"), ModRev: rev, Version: 1}}}})
		case 1:
			rev++
			publish(&core.Revision{Rev: rev, Steps: []core.ZnodeStep{{Event: core.ZnodeDeleted, Path: "/a"}}})
		case 2:
			rev++
			hub.Publish(nil, rev)
		case 3:
			hub.dispatcher.step()
		case 4:
			w.listen(rev)
		case 5:
			if w.listeners > 0 {
				w.unlisten()
			}
		}
		s /= moves
	}
	hub.dispatchAll()
	if w.listeners > 0 {
		require.Equal(t, rev, w.told)
	}
	history.rev = rev
	_, ok, err := f.poll(t.Context()) // the watch's creation
	require.NoError(t, err)
	require.Equal(t, watched, ok)
	_, ok, err = f.poll(t.Context())
	require.NoError(t, err)
	require.False(t, ok, "an event of a key that is not watched")
}

// A step that ends before the revisions that it has read, because there were many
// deliveries, tells a follower only of those that it dispatched.
func TestFollowerOfASplitStep(t *testing.T) {
	const watches, revisions = stepDeliveries/stepRevisions + 10, stepRevisions
	hub := newHub(Options{Start: 1, CompactRev: -1, QueueItems: 1 << 20, QueueBytes: 1 << 30})
	defer hub.Close()
	f := hub.open()
	for id := range watches {
		f.Add(core.WatchID(id), single)
	}
	w := &witness{t: t}
	w.follow(hub)
	w.listen(1)
	for rev := core.Rev(2); rev < revisions+2; rev++ {
		r := revisionOf(rev, single.Key)
		w.trace(r)
		hub.Publish([]*core.Revision{r}, rev)
	}
	hub.dispatchAll()
	require.EqualValues(t, revisions+1, w.told)
	require.Equal(t, 2, w.calls)
	require.Empty(t, w.lost)
}

// A listener who has seen a view waits until the view's revisions are published,
// and is not told of them.
func TestListenAwaitsWhatIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(Options{Start: 1, CompactRev: -1, Current: func() core.Rev { return 3 }})
		defer hub.Close()
		w := &witness{t: t, listeners: 1}
		w.follow(hub)
		listened := make(chan core.Rev)
		go func() { listened <- w.following.Listen() }()
		synctest.Wait()
		select {
		case rev := <-listened:
			t.Fatalf("listens from %d on, though revision 3 is under way", rev)
		default:
		}
		hub.Publish([]*core.Revision{revisionOf(2, single.Key)}, 2)
		hub.Publish([]*core.Revision{revisionOf(3, single.Key)}, 3)
		require.EqualValues(t, 3, <-listened)
		require.Zero(t, w.calls)
	})
}

// After Close, of the following or of the hub, the follower is told nothing, and
// what is called too late does nothing.
func TestFollowingEnds(t *testing.T) {
	hub := newHub(Options{Start: 1, CompactRev: -1})
	var ws [3]*witness
	for i := range ws {
		ws[i] = &witness{t: t}
		ws[i].follow(hub)
		ws[i].listen(1)
	}
	ws[0].listen(1)
	require.Equal(t, Stats{}, hub.Stats(), "followers are no watches")
	ws[0].following.Close()
	ws[0].listeners = 0
	ws[1].unlisten()
	r := revisionOf(2, single.Key)
	ws[2].trace(r)
	hub.Publish([]*core.Revision{r}, 2)
	hub.dispatchAll()
	require.EqualValues(t, 2, ws[2].told)
	ws[0].following.Unlisten()
	require.EqualValues(t, 2, ws[0].following.Listen())
	ws[0].following.Close()

	hub.Close()
	ws[2].listeners = 0
	hub.Publish([]*core.Revision{revisionOf(3, single.Key)}, 3)
	hub.dispatchAll()
	ws[2].following.Unlisten()
	ws[1].following.Listen()
	ws[2].following.Close()
	require.Zero(t, hub.ring.listeners)
}

func TestRingCountsSteps(t *testing.T) {
	empty := sizeOf(&core.Revision{Rev: 1})
	steps := sizeOf(&core.Revision{Rev: 1, Steps: []core.ZnodeStep{{Path: "/a"}, {Path: "/a/b"}}})
	require.Equal(t, empty+2*24+6, steps)
}

// lagging is a follower that keeps what it was told.
type lagging struct {
	mu    sync.Mutex
	rev   core.Rev
	steps []core.Rev
	lost  bool
	moved chan struct{}
}

func (l *lagging) Revisions(revs []*core.Revision, upTo core.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range revs {
		l.steps = append(l.steps, r.Rev)
	}
	l.rev = upTo
	l.move()
}

func (l *lagging) Lost(upTo core.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.rev = true, upTo
	l.move()
}

func (l *lagging) move() {
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// Listeners come and go while apply publishes: each hears of all from its own
// beginning on, in order, once.
func TestConcurrentListeners(t *testing.T) {
	const revisions, listeners = 3000, 4
	hub := New(Options{Start: 1, CompactRev: -1})
	var all sync.WaitGroup
	for range listeners {
		all.Go(func() {
			l := &lagging{moved: make(chan struct{}, 1)}
			g := hub.Follow(l)
			defer g.Close()
			for next := core.Rev(0); next <= revisions; {
				from := g.Listen()
				if from < next-1 {
					t.Errorf("listens from %d on, but was told up to %d", from, next-1)
					return
				}
				until := min(from+50, revisions+1)
				for reached := from; reached < until; {
					<-l.moved
					l.mu.Lock()
					reached = l.rev
					l.mu.Unlock()
				}
				g.Unlisten()
				want := from + 1
				for _, rev := range l.steps {
					if rev != want {
						t.Errorf("told of revision %d, not of %d", rev, want)
						return
					}
					want++
				}
				next, l.steps = max(from, l.rev)+1, nil
			}
			if l.lost {
				t.Error("lost something from a ring that has room")
			}
		})
	}
	for rev := core.Rev(2); rev <= revisions+1; rev++ {
		hub.Publish([]*core.Revision{{Rev: rev, Steps: []core.ZnodeStep{{Path: "/a"}}}}, rev)
	}
	all.Wait()
	hub.Close()
	require.Zero(t, hub.ring.listeners)
}
