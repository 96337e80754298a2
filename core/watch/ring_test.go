package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// TestRingModel compares the ring with a list: what it answers for is complete,
// its size is within bounds, and it answers for the newest revision.
func TestRingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			r    ring
			all  []*core.Revision
			last = core.Rev(5)
		)
		r.init(rapid.IntRange(1, 40_000).Draw(t, "max"), last, -1)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var revs []*core.Revision
				for range rapid.IntRange(0, 100).Draw(t, "revisions") {
					last += core.Rev(rapid.Int64Range(1, 3).Draw(t, "step"))
					kv := &core.KV{Value: make([]byte, rapid.IntRange(0, 500).Draw(t, "size"))}
					revs = append(revs, &core.Revision{Rev: last, Changes: []core.Change{{KV: kv}}})
				}
				all = append(all, revs...)
				current := core.Rev(rapid.Int64Range(int64(last)-1, int64(last)+2).Draw(t, "current"))
				require.False(t, r.append(revs, current), "nobody is asleep")
				last = max(last, current)
			},
			"read": func(t *rapid.T) {
				from := core.Rev(rapid.Int64Range(1, int64(last)+2).Draw(t, "from"))
				to := core.Rev(rapid.Int64Range(1, int64(last)+2).Draw(t, "to"))
				buf := make([]entry, rapid.IntRange(1, 50).Draw(t, "room"))
				n, next, ok := r.read(from, to, buf)
				if !ok {
					require.Less(t, from, next)
					_, _, ok = r.read(next, last, buf)
					require.True(t, ok, "it does not answer for what it says it does")
					return
				}
				var want []*core.Revision
				for _, rev := range all {
					if rev.Rev >= from && rev.Rev < next {
						want = append(want, rev)
					}
				}
				require.Len(t, want, n)
				for i := range want {
					require.Same(t, want[i], buf[i].rev)
				}
				if n < len(buf) {
					require.Equal(t, max(from, min(to, last)+1), next, "it stopped early")
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, last, r.published())
				require.True(t, r.bytes <= r.maxBytes || r.count == 1)
				size := 0
				for i := range r.count {
					size += r.at(i).size
				}
				require.Equal(t, size, r.bytes)
				if len(all) > 0 {
					_, _, ok := r.read(all[len(all)-1].Rev, last, make([]entry, 1))
					require.True(t, ok, "the newest revision is gone")
				}
			},
		})
	})
}

// TestRingForgets checks that revisions that left the ring are not referred to.
func TestRingForgets(t *testing.T) {
	var r ring
	r.init(1000, 1, -1)
	for rev := core.Rev(2); rev < 200; rev++ {
		r.append([]*core.Revision{{Rev: rev, Changes: []core.Change{{KV: &core.KV{}}}}}, rev)
	}
	held := 0
	for _, e := range r.entries {
		if e.rev != nil {
			held++
		}
	}
	require.Equal(t, r.count, held)
	require.Len(t, r.entries, 64, "the buffer grew although little is in it")
}

func TestPublishRefusesToGoBack(t *testing.T) {
	hub := newHub(Options{Start: 7})
	require.PanicsWithValue(t, "watch: revision 7 published after 7", func() {
		hub.Publish([]*core.Revision{{Rev: 7}}, 7)
	})
}

// TestRingWakes checks when the hub's goroutine may sleep, and what wakes it.
func TestRingWakes(t *testing.T) {
	var r ring
	r.init(1000, 5, -1)
	require.True(t, r.sleep())
	require.False(t, r.append(nil, 6), "nobody listens")
	require.Equal(t, core.Rev(6), r.heard())

	last, dispatched := r.listen()
	require.Equal(t, core.Rev(6), last)
	require.Equal(t, core.Rev(6), dispatched, "nobody missed anything")
	require.True(t, r.append(nil, 7))
	require.False(t, r.append(nil, 8), "it is awake already")
	require.Equal(t, core.Rev(6), r.heard())
	require.False(t, r.sleep(), "there is something to dispatch")
	r.setDispatched(8)
	require.True(t, r.sleep())

	require.True(t, r.compact(3))
	require.False(t, r.compact(3), "it is no news")
	require.False(t, r.sleep(), "there is a compaction to pass on")
	require.True(t, r.noticeCompaction())
	require.False(t, r.noticeCompaction())
	require.True(t, r.sleep())
}

// What readers keep with the changes that they share is part of the bound.
func TestRingCountsMemos(t *testing.T) {
	held := func(listeners, key, value int) int {
		var r ring
		r.init(1<<20, 1, -1)
		for range listeners {
			r.listen()
		}
		for i := range 2000 {
			kv := &core.KV{Key: make([]byte, key), Value: make([]byte, value)}
			r.append([]*core.Revision{{Rev: core.Rev(i + 2), Changes: []core.Change{{KV: kv}}}}, 0)
		}
		return r.count
	}
	alone, shared := held(1, 1, 256), held(2, 1, 256)
	require.Less(t, shared, alone/2)
	require.Greater(t, shared, alone/5)
	require.InDelta(t, held(1, 1, 100<<10), held(2, 1, 100<<10), 1, "large values are not copied")
	require.InDelta(t, held(1, 100<<10, 1)/3, held(2, 100<<10, 1), 1, "keys are, however long, into two encodings")
}
