package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// bigTree is a rig with a session, 10, and so many znodes of two bytes below /bench, at
// two levels.
func bigTree(t tester, znodes int) *rig {
	r := newRigOn(t)
	var ops []core.ZnodeOp
	create := func(path, data string) {
		ops = append(ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: path, Data: []byte(data)})
	}
	create("/bench", "")
	for i := range znodes {
		if i%4 == 0 {
			create(fmt.Sprintf("/bench/%06d", i), "ab")
		} else {
			create(fmt.Sprintf("/bench/%06d/%d", i/4*4, i), "ab")
		}
	}
	create("/zookeeper/quota/bench", "")
	create("/zookeeper/quota/bench/zookeeper_limits", "count=1")
	w := znodeWrite(ops...)
	w.Multi = true
	r.must(&core.SessionOpen{ID: 10, Timeout: time.Second}, w)
	return r
}

const benchStats = "/zookeeper/quota/bench/zookeeper_stats"

func (r *rig) used() string {
	z, err := r.view.Znodes().Znode(benchStats, 0)
	require.NoError(r.t, err)
	return string(z.Data)
}

// usedInTheEnd goes on with entries that do nothing.
func (r *rig) usedInTheEnd() string {
	for range 100 {
		counting, err := r.view.Counting()
		require.NoError(r.t, err)
		if !counting {
			return r.used()
		}
		r.must(&core.ZnodeReap{Term: 2})
	}
	require.Fail(r.t, "it does not end")
	return ""
}

// A quota on a large tree is counted over several entries, across restarts, and shows
// what was counted so far; what is written meanwhile counts once.
func TestQuotaOnALargeTree(t *testing.T) {
	r := bigTree(t, 9000)
	defer r.close()
	rev := r.view.Rev()
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}))
	require.Equal(t, rev+1, r.view.Rev())
	require.Equal(t, "count=4096,bytes=8190", r.used())
	r.must(
		znodeWrite(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/bench/000000", Data: []byte("abc")}),          // counted
		znodeWrite(core.ZnodeOp{Type: core.ZnodeSetData, Path: "/bench/008996/8999", Data: []byte("abc")}),     // not yet
		znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/bench/000000/1x", Data: []byte("abc")}),        // counted
		znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: "/bench/008996/8999/deep", Data: []byte("abc")}), // not yet
		znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/bench/000000/1"}),
		znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: "/bench/008996/8998"}),
	)
	require.Equal(t, "count=5120,bytes=10240", r.used())
	require.NoError(t, r.db.Flush())
	r.crash()
	require.Equal(t, "count=9001,bytes=18004", r.usedInTheEnd())
	r.checkIndex()
}

// What somebody writes as the numbers ends the counting, as it would be overwritten by it.
func TestQuotaNumbersOverwritten(t *testing.T) {
	r := bigTree(t, 5000)
	defer r.close()
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}))
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeSetData, Path: benchStats, Data: []byte("count=7,bytes=8")}))
	require.Equal(t, "count=7,bytes=8", r.usedInTheEnd())
}

// However often a command makes the numbers of a quota, and however much data there is,
// an entry reads so much, and no more (a multi of a megabyte once stopped all members for
// half an hour).
func TestQuotaCountsABoundedNumber(t *testing.T) {
	r := bigTree(t, 9000)
	defer r.close()
	var ops []core.ZnodeOp
	for range 1000 {
		ops = append(ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}, core.ZnodeOp{Type: core.ZnodeDelete, Path: benchStats})
	}
	w := znodeWrite(append(ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats})...)
	w.Multi = true
	r.must(w)
	require.Equal(t, "count=0,bytes=0", r.used(), "all of the room of the entry was taken")
	require.Equal(t, "count=9001,bytes=18000", r.usedInTheEnd())

	var big []core.Command
	for i := range 10 {
		big = append(big, znodeWrite(core.ZnodeOp{Type: core.ZnodeSetData, Path: fmt.Sprintf("/bench/%06d", 4*i), Data: make([]byte, 1<<20)}))
	}
	r.must(big...)
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: benchStats}))
	r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}))
	require.Equal(t, "count=5,bytes=4194304", r.used())
	require.Equal(t, fmt.Sprintf("count=9001,bytes=%d", 18000-20+10<<20), r.usedInTheEnd())
}

// Whatever is written while a quota is being counted, by both faces, is counted once.
func TestQuotaCountedMeanwhile(t *testing.T) {
	r := bigTree(t, 7000) // for all: it takes a while to make
	defer r.close()
	rapid.Check(t, func(t *rapid.T) {
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}))
		for range rapid.IntRange(1, 6).Draw(t, "entries") {
			var cmds []core.Command
			for range rapid.IntRange(0, 5).Draw(t, "commands") {
				at := rapid.SampledFrom([]int{0, 4, 2000, 4000, 6992}).Draw(t, "at")
				path := fmt.Sprintf("/bench/%06d/%d", at, at+rapid.IntRange(1, 4).Draw(t, "child"))
				data := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "data")
				cmds = append(cmds, rapid.SampledFrom([]core.Command{
					&core.Put{Key: []byte("/zk" + path), Value: data},
					&core.Put{Key: []byte("/zk" + path + "/a/b"), Value: data},
					&core.DeleteRange{Interval: core.Interval{Key: []byte("/zk" + path), End: []byte("/zk" + path + "0")}},
					znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: path, Data: data}),
					znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: path}),
				}).Draw(t, "command"))
			}
			r.apply(cmds...)
			r.commit()
		}
		got := r.usedInTheEnd()
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: benchStats}))
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeCreate, Path: benchStats}))
		require.Equal(t, r.usedInTheEnd(), got)
		r.must(znodeWrite(core.ZnodeOp{Type: core.ZnodeDelete, Path: benchStats}))
		lower, upper := keys.ZnodeIndexBounds(keys.IndexCounting)
		require.NoError(t, rowScanner{r.view.snap}.ScanRows(lower, upper, func(key, _ []byte) bool {
			require.Fail(t, "it is counted", "%s", key)
			return true
		}))
	})
}
