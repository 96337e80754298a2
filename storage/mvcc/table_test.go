package mvcc

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// A table holds what was put in and not taken out, whatever the tags: few of them, so
// that many entries share one, and near the end, so that searches go around it.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table[int32]
		model := map[int32]uint32{}
		next := int32(0)
		find := func(e int32) int {
			i := tab.first(model[e])
			for i >= 0 && tab.slots[i].entry != e {
				i = tab.after(i)
			}
			return i
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				next++
				model[next] = rapid.OneOf(rapid.Uint32Range(0, 3), rapid.Uint32Range(13, 17), rapid.Uint32()).Draw(t, "tag")
				tab.add(model[next], next)
			},
			"remove": func(t *rapid.T) {
				e := rapid.Int32Range(1, max(1, next)).Draw(t, "entry")
				if _, ok := model[e]; ok {
					tab.remove(find(e))
					delete(model, e)
				}
			},
			"reset": func(t *rapid.T) {
				if rapid.IntRange(0, 19).Draw(t, "really") == 0 {
					tab.reset(rapid.SampledFrom([]int{0, 100}).Draw(t, "keep"))
					clear(model)
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), tab.count)
				full := 0
				for _, s := range tab.slots {
					if s.entry != 0 {
						full++
						require.Equal(t, model[s.entry], s.tag)
					}
				}
				require.Equal(t, len(model), full)
				for e := range model {
					require.GreaterOrEqual(t, find(e), 0)
				}
				absent := uint32(1 << 20)
				for slices.Contains(slices.Collect(maps.Values(model)), absent) {
					absent++
				}
				require.Equal(t, -1, tab.first(absent), "a tag that nobody has")
			},
		})
	})
}

// What the cache counts is what it holds: as much heap, within the slack of the
// allocator's sizes and of tables that have just grown.
func TestCacheCountsItsMemory(t *testing.T) {
	for _, size := range []int{16, 256, 3000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			before := heapInUse()
			c := NewCache(16 << 20)
			for i := range 2 * (16 << 20) / (size + 128) {
				// Replaced by one of another size, as a put does.
				for _, n := range []int{size / 2, size} {
					kv := &core.KV{ModRev: 1, Version: 1}
					buf := make([]byte, 16+n)
					copy(buf, fmt.Sprintf("key-%012d", i))
					kv.Key, kv.Value = buf[:16:16], buf[16:]
					c.write(hashOf(kv.Key), kv, nil, 1)
				}
			}
			held, counted := heapInUse()-before, c.Stats().Bytes
			require.Greater(t, counted, int64(12<<20))
			require.InEpsilon(t, counted, held, 0.15, "counted and held")
			runtime.KeepAlive(c)
		})
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A small batch after a large one must not go over what that needed; one of a usual size
// finds the memory of the one before.
func TestTableResetCostsWhatItHeld(t *testing.T) {
	var tab table[int32]
	fill := func(n int) int {
		for i := range n {
			tab.add(uint32(i), int32(i+1))
		}
		slots := len(tab.slots)
		tab.reset(maxKept)
		return slots
	}
	require.Equal(t, maxKept, fill(maxKept/2))
	require.Len(t, tab.slots, maxKept)
	fill(1)
	require.Empty(t, tab.slots)
	fill(wideSlots / 2)
	for range 2 {
		require.Equal(t, wideSlots, fill(1))
	}
}
