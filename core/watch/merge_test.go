package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// A late reader is told several revisions of a watch at once, as many as the bounds
// allow, whichever other watches are told of them too.
func TestLateReaderIsToldTogether(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	f := hub.open()
	for id := range core.WatchID(3) {
		f.Add(id, single)
		require.Equal(t, core.DeliverCreated, next(t, f).Kind)
	}
	const revisions = mergeRevisions + 5
	for range revisions {
		publish(hub, s, edit{"k", "v"})
	}
	hub.dispatchAll()
	type told struct {
		watch core.WatchID
		n     int
		last  core.Rev
		more  bool
	}
	var got []told
	for range 6 {
		d := next(t, f)
		first := d.Changes[0].KV.ModRev
		require.Equal(t, s.between(single, first, d.Rev), withoutMemos(d.Changes))
		got = append(got, told{d.Watch, len(d.Changes), d.Rev, d.More})
	}
	require.Equal(t, []told{
		{0, mergeRevisions, 1 + mergeRevisions, true},
		{1, mergeRevisions, 1 + mergeRevisions, true},
		{2, mergeRevisions, 1 + mergeRevisions, true},
		{0, 5, 1 + revisions, true},
		{1, 5, 1 + revisions, true},
		{2, 5, 1 + revisions, false},
	}, got)
	_, ok, err := f.poll(t.Context())
	require.NoError(t, err)
	require.False(t, ok)

	publish(hub, s, edit{"k", "v"}) // and not what is already told
	hub.dispatchAll()
	require.Len(t, next(t, f).Changes, 1)
}

// Large events are not gathered, nor is anything told before a progress delivery that
// was queued behind it, or behind one that precedes it.
func TestWhatIsNotToldTogether(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	f := hub.open()
	f.Add(1, single)
	require.Equal(t, core.DeliverCreated, next(t, f).Kind)
	large := string(make([]byte, mergeBytes/2))
	for range 2 {
		publish(hub, s, edit{"k", large})
	}
	hub.dispatchAll()
	for range 2 {
		require.Len(t, next(t, f).Changes, 1)
	}
	for range 2 {
		for range 2 {
			publish(hub, s, edit{"k", "v"})
		}
		f.RequestProgress(core.AllWatches)
	}
	for range 2 {
		require.Len(t, next(t, f).Changes, 2)
		require.Equal(t, core.DeliverProgress, next(t, f).Kind)
	}
}

// What goes with a watch that ends is told before its end, together or not.
func TestToldTogetherBeforeTheEnd(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	f := hub.open()
	f.Add(1, single)
	f.Add(2, single)
	for range 3 {
		publish(hub, s, edit{"k", "v"})
	}
	require.True(t, f.Remove(1))
	publish(hub, s, edit{"k", "v"})
	hub.dispatchAll()
	var kinds []core.DeliveryKind
	var events []int
	for range 6 {
		d := next(t, f)
		kinds = append(kinds, d.Kind)
		if d.Kind == core.DeliverEvents {
			events = append(events, len(d.Changes))
		}
	}
	require.Equal(t, []core.DeliveryKind{
		core.DeliverCreated, core.DeliverCreated, core.DeliverEvents, core.DeliverEvents, core.DeliverCanceled, core.DeliverEvents,
	}, kinds)
	require.Equal(t, []int{3, 3, 1}, events)
}

// A watch of the past may have nothing to tell: that it is to be brought forward is not
// said to be more, for which one who gathers would wait.
func TestNoMoreThanIsThere(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	publish(hub, s, edit{"other", "v"})
	hub.dispatchAll()
	f := hub.open()
	f.Add(1, core.WatchSpec{Interval: single.Interval, Start: 1})
	d := next(t, f)
	require.Equal(t, core.DeliverCreated, d.Kind)
	require.False(t, d.More)
	_, ok, err := f.poll(t.Context())
	require.NoError(t, err)
	require.False(t, ok)
}
