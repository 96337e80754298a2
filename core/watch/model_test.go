package watch

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// The model test drives a hub without a goroutine, with a ring and queues of a
// few entries, through random publishes, adds, removes, requests, compactions,
// replaced states and consumers of random speed, and checks every delivery against the naive
// store:
//
//   - created first, nothing after canceled or compacted;
//   - the events are the next ones of the list, whole revisions, none missing;
//   - a delivery's revision is that of its one revision, or the current one;
//   - compacted only if the watch may have wanted something that is gone;
//   - progress never before the events it covers, never in the future, and for
//     all watches only if each is synced;
//   - followers are told what witness says, while somebody listens;
//   - in the end, when all is consumed, nothing is outstanding.
func TestModel(t *testing.T) {
	for range 12 { // rapid's hundred runs are too few for so many actions
		rapid.Check(t, checkModel)
	}
}

func checkModel(t *rapid.T) {
	w := newWorld(t)
	t.Repeat(map[string]func(*rapid.T){
		"write":    w.write,
		"write2":   w.write,
		"publish":  w.publish,
		"step":     w.step,
		"add":      w.add,
		"remove":   w.remove,
		"consume":  w.consume,
		"consume2": w.consume,
		"progress": w.progress,
		"compact":  w.compact,
		"tell":     w.tell,
		"fail":     w.fail,
		"cancel":   w.cancel,
		"reopen":   w.reopen,
		"reset":    w.reset,
		"listen":   w.listen,
		"unlisten": w.unlisten,
	})
	w.finish(t)
}

// world is the hub under test with what the model knows.
type world struct {
	store *store
	hub   *Hub
	// unpublished are the revisions that the store, and so the History, shows
	// and that the hub has not been given yet; published is the hub's revision.
	unpublished []*core.Revision
	published   core.Rev
	// told is the compaction that the hub knows of.
	told    core.Rev
	readers []*reader
	// witnesses follow the hub.
	witnesses []*witness
	// impatient says that the next calls come with a context that has ended.
	impatient bool
}

// reader is a feed with the model of each of its watches.
type reader struct {
	feed    *feed
	watches map[core.WatchID]*expectation
	nextID  core.WatchID
	// asked counts requests for progress of all watches.
	asked int
}

// expectation is what the model knows of a watch.
type expectation struct {
	spec core.WatchSpec
	// from is the first revision wanted, next the first whose events have not
	// been delivered; clean the revision at which the watch was last known to
	// have been told everything.
	from, next, clean core.Rev
	created           bool
	removed           bool
	// owed says that progress was asked for and has not come.
	owed bool
	// last is the last revision that the reader was shown.
	last core.Rev
}

func newWorld(t *rapid.T) *world {
	w := &world{store: newStore(), published: 1}
	w.store.chunk = rapid.IntRange(0, 3).Draw(t, "history chunk")
	w.hub = newHub(Options{
		RingBytes:  rapid.SampledFrom([]int{1, 600, 3000, 1 << 20}).Draw(t, "ring"),
		QueueBytes: rapid.SampledFrom([]int{1, 600, 3000, 1 << 20}).Draw(t, "queue bytes"),
		QueueItems: rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "queue items"),
		History:    w.store,
		Start:      1,
		CompactRev: -1,
	})
	for range 3 {
		w.readers = append(w.readers, w.newReader())
	}
	for range 2 {
		f := &witness{t: t}
		f.follow(w.hub)
		w.witnesses = append(w.witnesses, f)
	}
	return w
}

func (w *world) newReader() *reader {
	return &reader{feed: w.hub.open(), watches: make(map[core.WatchID]*expectation)}
}

var modelKeys = []string{"a", "a/1", "a/2", "b", "b/1", "c"}

func (w *world) write(t *rapid.T) {
	var edits []edit
	picked := rapid.SliceOfNDistinct(rapid.SampledFrom(modelKeys), 0, 4, rapid.ID[string]).Draw(t, "keys")
	for _, key := range picked {
		edits = append(edits, edit{key, rapid.SampledFrom([]string{"", "v", "w"}).Draw(t, "value")})
	}
	rev := w.store.write(edits...)
	rev.Steps = drawSteps(t)
	for _, f := range w.witnesses {
		f.trace(rev)
	}
	if len(rev.Changes)+len(rev.Steps) > 0 {
		w.unpublished = append(w.unpublished, rev)
	}
}

// publish hands over a part of what was written, then perhaps the empty
// revisions after it.
func (w *world) publish(t *rapid.T) {
	n := rapid.IntRange(0, len(w.unpublished)).Draw(t, "publish")
	revs := w.unpublished[:n]
	w.unpublished = w.unpublished[n:]
	end := w.store.rev
	if len(w.unpublished) > 0 {
		end = w.unpublished[0].Rev - 1
	}
	if n == 0 && len(w.unpublished) > 0 {
		end = w.published // nothing new
	}
	w.hub.Publish(revs, end)
	w.published = max(w.published, end)
}

// reset replaces the state by one that has all that was written.
func (w *world) reset(*rapid.T) {
	w.unpublished, w.published, w.told = nil, w.store.rev, max(w.told, w.store.compacted)
	w.hub.Reset(w.store.rev, w.store.compacted)
}

func (w *world) listen(t *rapid.T) {
	rapid.SampledFrom(w.witnesses).Draw(t, "follower").listen(w.published)
}

func (w *world) unlisten(t *rapid.T) {
	if f := rapid.SampledFrom(w.witnesses).Draw(t, "follower"); f.listeners > 0 {
		f.unlisten()
	}
}

func (w *world) step(*rapid.T) { w.hub.dispatcher.step() }

func (w *world) add(t *rapid.T) {
	r := rapid.SampledFrom(w.readers).Draw(t, "reader")
	spec := core.WatchSpec{
		Interval: drawInterval(t),
		PrevKV:   rapid.Bool().Draw(t, "prev"),
		NoPut:    rapid.IntRange(0, 5).Draw(t, "noput") == 0,
		NoDelete: rapid.IntRange(0, 5).Draw(t, "nodelete") == 0,
	}
	if rapid.Bool().Draw(t, "start given") {
		spec.Start = core.Rev(rapid.Int64Range(1, int64(w.published)+4).Draw(t, "start"))
	}
	r.nextID++
	e := &expectation{spec: spec, from: spec.Start, last: w.published}
	if e.from == 0 {
		e.from = w.published + 1
	}
	e.next, e.clean = e.from, e.from-1
	r.watches[r.nextID] = e
	r.feed.Add(r.nextID, spec)
}

func drawInterval(t *rapid.T) core.Interval {
	key := []byte(rapid.SampledFrom(modelKeys).Draw(t, "key"))
	switch rapid.IntRange(0, 4).Draw(t, "interval") {
	case 0:
		return core.Interval{Key: key, End: core.FromKey}
	case 1:
		return core.Interval{Key: []byte{0}, End: core.FromKey}
	case 2:
		return core.Interval{Key: key, End: []byte(rapid.SampledFrom(modelKeys).Draw(t, "end"))}
	default:
		return core.Interval{Key: key}
	}
}

func (w *world) drawWatch(t *rapid.T) (*reader, core.WatchID) {
	r := rapid.SampledFrom(w.readers).Draw(t, "reader")
	if r.nextID == 0 {
		t.Skip("no watch")
	}
	return r, core.WatchID(rapid.Int64Range(1, int64(r.nextID)).Draw(t, "id"))
}

func (w *world) remove(t *rapid.T) {
	r, id := w.drawWatch(t)
	e := r.watches[id]
	removed := r.feed.Remove(id)
	if e == nil || e.removed {
		require.False(t, removed, "removed watch %d, which is gone", id)
		return
	}
	require.True(t, removed, "watch %d is gone", id)
	e.removed = true
}

func (w *world) progress(t *rapid.T) {
	r, id := w.drawWatch(t)
	if rapid.Bool().Draw(t, "all") {
		r.feed.RequestProgress(core.AllWatches)
		r.asked++
		return
	}
	r.feed.RequestProgress(id)
	if e := r.watches[id]; e != nil && !e.removed {
		e.owed = true
	}
}

// compact gives up history in the store; the hub may hear of it only later.
func (w *world) compact(t *rapid.T) {
	if w.published <= w.store.compacted {
		t.Skip("nothing to compact")
	}
	w.store.compact(core.Rev(rapid.Int64Range(int64(w.store.compacted)+1, int64(w.published)).Draw(t, "compact")))
	if rapid.Bool().Draw(t, "tell") {
		w.tell(t)
	}
}

func (w *world) tell(*rapid.T) {
	w.told = max(w.told, w.store.compacted)
	w.hub.Compacted(w.store.compacted)
}

var errModel = errors.New("disk on fire")

// canceled is a context that has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (w *world) cancel(*rapid.T) { w.impatient = true }

func (w *world) fail(*rapid.T) { w.store.fail = errModel }

func (w *world) reopen(t *rapid.T) {
	i := rapid.IntRange(0, len(w.readers)-1).Draw(t, "reader")
	closed := w.readers[i].feed
	closed.Close()
	_, err := closed.Next(context.Background())
	require.ErrorIs(t, err, core.Stopped)
	closed.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("a")}})
	require.False(t, closed.Remove(1))
	w.readers[i] = w.newReader()
}

func (w *world) consume(t *rapid.T) {
	r := rapid.SampledFrom(w.readers).Draw(t, "reader")
	for range rapid.IntRange(1, 8).Draw(t, "consume") {
		if !w.poll(t, r) {
			w.rested(r)
			return
		}
	}
}

// rested notes that all watches of r have been told all that was dispatched.
func (w *world) rested(r *reader) {
	if len(r.feed.behind) > 0 {
		return // they wait for the hub to hear of a compaction
	}
	for _, e := range r.watches {
		e.clean = max(e.clean, w.hub.Dispatched())
	}
}

// poll takes one delivery, if there is one.
func (w *world) poll(t *rapid.T, r *reader) bool {
	ctx := context.Background()
	if w.impatient {
		ctx = canceled
	}
	d, ok, err := r.feed.poll(ctx)
	if err != nil {
		require.True(t, errors.Is(err, errModel) || w.impatient && errors.Is(err, context.Canceled), err)
		w.impatient = false
		return true // the next call goes on
	}
	if ok {
		w.check(t, r, d)
	}
	return ok
}

// check compares a delivery with the model.
func (w *world) check(t *rapid.T, r *reader, d core.Delivery) {
	if d.Kind == core.DeliverProgress && d.Watch == core.AllWatches {
		require.Positive(t, r.asked, "progress that nobody asked for")
		r.asked--
		for id, e := range r.watches {
			if e.created {
				w.checkProgress(t, id, e, d.Rev)
			}
		}
		return
	}
	e := r.watches[d.Watch]
	require.NotNil(t, e, "%v for a watch that is gone", d)
	require.Equal(t, d.Kind != core.DeliverCreated, e.created, "created comes first and once: %v", d)
	switch d.Kind {
	case core.DeliverCreated:
		e.created = true
	case core.DeliverCanceled:
		require.True(t, e.removed)
		delete(r.watches, d.Watch)
	case core.DeliverCompacted:
		require.Equal(t, w.told, d.CompactRev)
		require.False(t, e.removed)
		require.Less(t, max(e.next, e.clean+1), w.told, "watch %d from %d lost nothing", d.Watch, e.from)
		delete(r.watches, d.Watch)
		return
	case core.DeliverProgress:
		require.True(t, e.owed, "progress that nobody asked for")
		e.owed = false
		w.checkProgress(t, d.Watch, e, d.Rev)
	case core.DeliverEvents:
		w.checkEvents(t, e, d)
	}
	require.GreaterOrEqual(t, d.Rev, e.last, "the revision went back: %v", d)
	require.LessOrEqual(t, d.Rev, w.published)
	e.last = d.Rev
}

func (w *world) checkProgress(t *rapid.T, id core.WatchID, e *expectation, rev core.Rev) {
	require.GreaterOrEqual(t, rev, e.spec.Start, "progress before the start of %d", id)
	require.LessOrEqual(t, rev, w.published)
	missing := w.store.between(e.spec, e.next, rev)
	require.Empty(t, missing, "progress %d overtook events of watch %d", rev, id)
	e.next = max(e.next, rev+1)
}

func (w *world) checkEvents(t *rapid.T, e *expectation, d core.Delivery) {
	require.NotEmpty(t, d.Changes)
	last := d.Changes[len(d.Changes)-1].KV.ModRev
	want := w.store.between(e.spec, e.next, last)
	require.Len(t, d.Changes, len(want), "watch %d from %d: %v", d.Watch, e.next, d.Changes)
	revisions := 1
	for i, c := range d.Changes {
		require.Equal(t, want[i].KV, c.KV)
		if i > 0 && c.KV.ModRev != d.Changes[i-1].KV.ModRev {
			revisions++
		}
		if !e.spec.PrevKV {
			continue
		}
		if c.KV.ModRev-1 < w.told {
			require.Nil(t, c.Prev, "earlier state of %q at %d is compacted", c.KV.Key, c.KV.ModRev)
		} else {
			require.Equal(t, want[i].Prev, c.Prev)
		}
	}
	if revisions > 1 {
		require.GreaterOrEqual(t, d.Rev, last)
	}
	require.GreaterOrEqual(t, d.Rev, last)
	e.next = last + 1
}

// finish publishes and consumes everything, and checks that all was delivered.
func (w *world) finish(t *rapid.T) {
	w.tell(t)
	w.store.fail, w.impatient = nil, false
	w.hub.Publish(w.unpublished, w.store.rev)
	w.unpublished, w.published = nil, w.store.rev
	w.hub.dispatchAll()
	for _, r := range w.readers {
		w.drain(t, r)
		for id, e := range r.watches {
			name := fmt.Sprintf("watch %d from %d", id, e.from)
			require.True(t, e.created, name)
			require.False(t, e.removed, "%s was not canceled", name)
			require.Empty(t, w.store.between(e.spec, e.next, w.published), name)
			require.False(t, e.owed && e.spec.Start <= w.published, "%s was not told its progress", name)
		}
		w.finishProgress(t, r)
	}
	require.Equal(t, w.published, w.hub.Dispatched())
	for _, f := range w.witnesses {
		if f.listeners > 0 {
			require.Equal(t, w.published, f.told)
		}
	}
	w.finishStats(t)
	w.hub.Close()
}

func (w *world) drain(t *rapid.T, r *reader) {
	for range 100_000 {
		if !w.poll(t, r) {
			return
		}
	}
	t.Fatal("the feed does not come to rest")
}

// finishProgress checks that, with everything consumed, a request for the
// progress of all watches is answered exactly if none lies in the future.
func (w *world) finishProgress(t *rapid.T, r *reader) {
	want := len(r.watches) > 0
	for _, e := range r.watches {
		want = want && e.spec.Start <= w.published
	}
	r.asked = 1
	r.feed.RequestProgress(core.AllWatches)
	require.Equal(t, want, w.poll(t, r), "progress of all watches: %v", r.watches)
	if want {
		require.Zero(t, r.asked, "the delivery was no progress")
	}
}

func (w *world) finishStats(t *rapid.T) {
	watches := 0
	for _, r := range w.readers {
		watches += len(r.watches)
	}
	stats := w.hub.Stats()
	require.Equal(t, len(w.readers), stats.Feeds)
	require.Equal(t, watches, stats.Watches)
	require.Zero(t, stats.Behind)
}
