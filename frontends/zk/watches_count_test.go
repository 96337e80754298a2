package zk

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// Whom events are for is counted as ZooKeeper does (3.9 WatchManager.triggerWatch): each
// watcher once for the watches of a znode, and once for those of its children. A ZooKeeper
// 3.9.5 gave these figures when this ran against it.
func TestWatchersAreCounted(t *testing.T) { watchersAreCounted(t, startServer(t, allWords)) }

func watchersAreCounted(t *testing.T, s *server) {
	one, two, other := s.connect(), s.connect(), s.connect()
	other.create("/p", "", wire.Persistent)
	for _, c := range []*client{one, two} {
		c.exists("/p/c", true)
		c.children("/p", true)
	}
	add := func(c *client, path string, mode wire.AddWatchMode) {
		c.ok(wire.OpAddWatch, &wire.AddWatchRequest{Path: path, Mode: mode}, new(wire.ErrorResponse))
	}
	add(one, "/p", wire.AddPersistentRecursive)
	add(one, "/p/c", wire.AddPersistent)
	other.create("/p/c", "", wire.Persistent)
	for _, c := range []*client{one, two} {
		require.Equal(t, event(wire.EventNodeCreated, "/p/c"), c.recv().event(t))
		require.Equal(t, event(wire.EventNodeChildrenChanged, "/p"), c.recv().event(t))
	}
	other.set("/p/c", "x")
	require.Equal(t, event(wire.EventNodeDataChanged, "/p/c"), one.recv().event(t))
	two.children("/p/c", true)
	other.remove("/p/c")
	for _, c := range []*client{one, two} {
		require.Equal(t, event(wire.EventNodeDeleted, "/p/c"), c.recv().event(t))
	}
	other.create("/q", "", wire.Persistent) // which nobody watches
	mntr := s.word("mntr")
	for name, want := range map[string]string{ // as a ZooKeeper 3.9.5 tells of the same
		"created": "avg 2.0 min 2 max 2 cnt 1 sum 2", "children": "avg 2.0 min 2 max 2 cnt 1 sum 2",
		"changed": "avg 1.0 min 1 max 1 cnt 1 sum 1", "deleted": "avg 1.5 min 1 max 2 cnt 2 sum 3",
	} {
		fields := strings.Fields(want)
		for i := 0; i < len(fields); i += 2 {
			require.Contains(t, mntr, "\nzk_"+fields[i]+"_node_"+name+"_watch_count\t"+fields[i+1]+"\n")
		}
	}
}

// However the times fall, what mntr and srvr tell of them fits together, as with
// ZooKeeper: all of it is whole milliseconds (3.9 AvgMinMaxCounter).
func TestMeansAreBetween(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var stats stats
		for range 1 + random.IntN(3) {
			var tally tally
			for range random.IntN(5) {
				tally.replied(16)
				tally.add(&request{op: &opPing, received: time.Duration(random.IntN(1 + random.IntN(1e7)))})
			}
			stats.settle(&tally, 10*time.Millisecond)
		}
		least, mean, most := stats.latency.milliseconds()
		require.LessOrEqual(t, float64(least), mean)
		require.LessOrEqual(t, mean, float64(most))
		f := stats.summaries[readLatency].figures()
		require.LessOrEqual(t, float64(int64(f.least)), f.mean())
		require.LessOrEqual(t, f.mean(), float64(int64(f.most)))
	}
	f := ofHistogram(10, 0.004, []bucket{{0.0005, 10}})
	require.Zero(t, f.mean(), "the longest is half a millisecond")
}
