package watch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// TestIndexModel compares the index with a list of watches.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			x   index
			all []*watch
		)
		key := rapid.SliceOfN(rapid.ByteRange(0, 3), 1, 3)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				w := &watch{id: core.WatchID(len(all))}
				w.spec.Key = key.Draw(t, "key")
				if rapid.Bool().Draw(t, "range") {
					w.spec.End = key.Draw(t, "end")
				}
				x.add(w)
				all = append(all, w)
			},
			"remove": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				x.remove(all[i])
				require.Nil(t, all[i].group)
				all = slices.Delete(all, i, i+1)
			},
			"find": func(t *rapid.T) {
				k := key.Draw(t, "key")
				var got, want []*watch
				for _, g := range x.find(k, nil) {
					got = append(got, g.watches...)
				}
				for _, w := range all {
					if w.spec.Contains(k) {
						want = append(want, w)
					}
				}
				require.ElementsMatch(t, want, got)
			},
			"": func(t *rapid.T) { checkTreap(t, x.ranges) },
		})
		for _, w := range all {
			x.remove(w)
		}
		require.Nil(t, x.ranges, "ranges are left")
		require.Empty(t, x.keys, "keys are left")
	})
}

// checkTreap checks the order, the heap property and maxEnd of a tree, and
// returns its nodes in order.
func checkTreap(t *rapid.T, n *rangeNode) []*rangeNode {
	if n == nil {
		return nil
	}
	require.NotEmpty(t, n.watches)
	nodes := append(append(checkTreap(t, n.left), n), checkTreap(t, n.right)...)
	maxEnd := n.end
	for i, other := range nodes {
		require.LessOrEqual(t, other.priority, n.priority)
		if compareEnds(other.end, maxEnd) > 0 {
			maxEnd = other.end
		}
		if i > 0 {
			require.Positive(t, other.compare(other.start, other.end)+other.compare(nodes[i-1].start, nodes[i-1].end)*-1)
		}
	}
	require.Equal(t, maxEnd, n.maxEnd)
	return nodes
}

// TestIndexDepth checks that ranges added in order do not make a list: that
// would cost each event a step for each watch.
func TestIndexDepth(t *testing.T) {
	var x index
	for i := range 10_000 {
		x.add(&watch{spec: core.WatchSpec{Interval: prefix(fmt.Sprintf("/p/%05d/", i))}})
	}
	var depth func(n *rangeNode) int
	depth = func(n *rangeNode) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	require.Less(t, depth(x.ranges), 50)
}

// prefix returns the interval of the keys that begin with p.
func prefix(p string) core.Interval {
	end := []byte(p)
	end[len(end)-1]++
	return core.Interval{Key: []byte(p), End: end}
}
