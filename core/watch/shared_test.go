package watch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// withoutMemos is changes without what is no part of them.
func withoutMemos(changes []core.Change) []core.Change {
	out := slices.Clone(changes)
	for i := range out {
		out[i].Memo = nil
	}
	return out
}

// hollowed is rev as apply publishes it when it has deleted too much to keep.
func hollowed(rev *core.Revision) *core.Revision {
	out := &core.Revision{Rev: rev.Rev, NoPrevValues: true}
	for _, c := range rev.Changes {
		if c.Prev != nil {
			prev := *c.Prev
			prev.Value = make([]byte, len(prev.Value))
			c.Prev = &prev
		}
		out.Changes = append(out.Changes, c)
	}
	return out
}

// A watch that wants the earlier versions of a revision that comes without them has
// them from the history, in its place among the others; no other watch falls behind.
func TestRevisionWithoutPrevValues(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	everything := core.Interval{Key: []byte{0}, End: core.FromKey}
	open := func(start core.Rev, prev bool) *feed {
		f := hub.open()
		f.Add(1, core.WatchSpec{Interval: everything, Start: start, PrevKV: prev})
		require.Equal(t, core.DeliverCreated, next(t, f).Kind)
		return f
	}
	collect := func(f *feed) (got []core.Change) {
		hub.dispatchAll()
		for {
			d, ok, err := f.poll(t.Context())
			require.NoError(t, err)
			if !ok {
				return got
			}
			require.Equal(t, core.DeliverEvents, d.Kind)
			got = append(got, d.Changes...)
		}
	}
	with, without := open(0, true), open(0, false)
	publish(hub, s, edit{"a", "1"}, edit{"b", "2"})
	gone := s.write(edit{"a", ""}, edit{"b", ""})
	hub.Publish([]*core.Revision{hollowed(gone)}, gone.Rev)
	publish(hub, s, edit{"a", "3"})
	publish(hub, s, edit{"a", "4"})

	hub.dispatchAll()
	require.Equal(t, 1, hub.Stats().Behind, "only the one that needs the history")
	require.Len(t, collect(without), 6)
	require.Zero(t, s.calls)
	for _, f := range []*feed{with, open(2, true)} {
		got := collect(f)
		require.Len(t, got, 6)
		require.Equal(t, "1", string(got[2].Prev.Value))
		require.Equal(t, "2", string(got[3].Prev.Value))
		require.Equal(t, "3", string(got[5].Prev.Value))
		for i := range got[1:] {
			require.LessOrEqual(t, got[i].KV.ModRev, got[i+1].KV.ModRev)
		}
	}
	require.Equal(t, 2, s.calls, "each has read that one revision")
	require.Zero(t, hub.Stats().Behind)
	publish(hub, s, edit{"b", "5"})
	require.Len(t, collect(with), 1)
}

// Only a change that several are told of has a place for what they share, and they
// have it in common.
func TestMemos(t *testing.T) {
	s := newStore()
	hub := newHub(Options{History: s, Start: 1, CompactRev: -1})
	defer hub.Close()
	told := func(f *feed) *core.Memo {
		for {
			if d := next(t, f); d.Kind == core.DeliverEvents {
				require.Len(t, d.Changes, 1)
				return d.Changes[0].Memo
			}
		}
	}
	step := func() { require.True(t, hub.dispatcher.step()) }
	one := hub.open()
	one.Add(1, single)
	publish(hub, s, edit{"k", "1"})
	step()
	require.Nil(t, told(one))

	two := hub.open()
	two.Add(1, single)
	publish(hub, s, edit{"k", "2"})
	step()
	memo := told(one)
	require.NotNil(t, memo)
	require.Same(t, memo, told(two))
	late := hub.open()
	late.Add(1, core.WatchSpec{Interval: single.Interval, Start: 3})
	require.Same(t, memo, told(late), "from the ring, too")

	require.Nil(t, memo.Kept())
	require.Equal(t, "first", memo.Keep("first"))
	require.Equal(t, "first", memo.Keep("second"))
	require.Equal(t, "first", memo.Kept())
}
