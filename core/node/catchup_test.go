package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
)

// shortLog has members keep little of their log, and send states at once.
func shortLog(_ int, cfg *Config) {
	cfg.Limits.CatchUpEntries = 10
	cfg.Limits.FlushCommands = 50
	cfg.Limits.TransferBytesPerSecond = -1
}

// awaitTruncated waits until a leader's log no longer holds what a member lacks that has
// applied all up to index.
func awaitTruncated(c *testCluster, leader int, index uint64) {
	c.t.Helper()
	c.eventually("the log is truncated", func() bool {
		first, err := c.nodes[leader].disk.log.FirstIndex()
		require.NoError(c.t, err)
		return first > index+1
	})
}

// writing writes until stop, and returns how many writes were acknowledged.
func writing(n *Node) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	acknowledged := 0
	done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := n.Do(ctx, core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "w/%04d", i%500), Value: fmt.Append(nil, i)}); err == nil {
				acknowledged++
			}
			pass(time.Millisecond) // else none does
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return acknowledged
	}
}

// installs is how many states a member has installed since it was founded.
func installs(t testing.TB, n *Node) uint64 {
	number, ok, err := n.disk.dir.newestState()
	require.NoError(t, err)
	require.True(t, ok)
	return number
}

// TestCatchUpByState: a follower that was down while the log was given up takes over the
// leader's state, with history, leases, znodes and ACLs, while writes go on; after that
// it is a follower as any other, and leads as one.
func TestCatchUpByState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, shortLog)
		leader := c.waitLeader()
		fillAll(t, "one")(c.nodes[leader])
		c.waitApplied()
		down := c.followers(leader)[0]
		applied := c.nodes[down].Status().Applied
		c.stop(down)
		fillAll(t, "second")(c.nodes[leader])
		putMany(t, c.nodes[leader], 0, 200)
		awaitTruncated(c, leader, applied)

		stop := writing(c.nodes[leader])
		c.start(down)
		c.eventually("the follower has caught up", func() bool { return c.local(down, "k0199") == "199" })
		require.NoError(t, c.nodes[down].Ready(testContext(t)))
		require.Positive(t, stop())
		put(t, c.nodes[leader], "end", "") // behind the write whose caller gave up
		c.waitApplied()
		require.EqualValues(t, 1, installs(t, c.nodes[down]))
		for _, follower := range c.followers(leader) {
			sameState(t, c.nodes[leader], c.nodes[follower])
		}

		// It goes on, also after a restart, and is needed for a majority.
		for _, other := range c.followers(leader) {
			if other != down {
				c.stop(other)
			}
		}
		put(t, c.nodes[down], "after", "1")
		c.stop(down)
		c.start(down)
		put(t, c.nodes[down], "after", "2")
		require.Equal(t, "2", get(t, c.nodes[leader], "after"))
		require.EqualValues(t, 1, installs(t, c.nodes[down]))
	})
}

// fillRandom writes so many bytes that cannot be compressed, and flushes them.
func fillRandom(t testing.TB, n *Node, bytes int) {
	const size = 64 << 10
	value := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range bytes / size {
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "random/%04d", i), Value: value})
		require.NoError(t, err)
	}
	require.NoError(t, n.disk.engine().db.Flush())
}

// received is how much there is of the state that a member is being sent.
func received(t testing.TB, cfg Config) (bytes int64) {
	fs, dir := cfg.FS, cfg.FS.PathJoin(cfg.DataDir, incomingName)
	all, err := fs.List(dir)
	if err != nil {
		return 0
	}
	for _, name := range all {
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// TestCatchUpKilledInBetween: a member that is killed while it receives a state, or
// whose connection breaks, goes on where it was.
func TestCatchUpKilledInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20
		c := newTestCluster(t, 3, func(member int, cfg *Config) {
			shortLog(member, cfg)
			cfg.Limits.TransferBytesPerSecond = size / 2
		})
		leader := c.waitLeader()
		down := c.followers(leader)[0]
		c.waitApplied()
		applied := c.nodes[down].Status().Applied
		c.stop(down)
		fillRandom(t, c.nodes[leader], size)
		awaitTruncated(c, leader, applied)
		c.start(down)
		for part := int64(1); part <= 3; part++ {
			c.eventually("a part is received", func() bool { return received(t, c.configs[down]) > part*size/4 })
			if part == 2 {
				c.net.cut(func(from, to int) bool { return from == down && to == leader })
				continue
			}
			c.crash(down, 100)
			c.start(down)
		}
		c.eventually("the follower has caught up", func() bool { return c.local(down, "random/0063") != "<none>" })
		c.waitApplied()
		sameState(t, c.nodes[leader], c.nodes[down])
		o := &c.nodes[leader].peers.states.outgoing
		o.mu.Lock()
		defer o.mu.Unlock()
		require.Greater(t, o.sent, int64(size))
		// What was under way each time: what the network holds, and one message or two.
		require.Less(t, o.sent, int64(size+3*(1<<20)))
	})
}

// TestCatchUpUnderWatches: a follower is cut off and takes over a state. Its watches see
// every event, once and in order; what reads at it never goes back.
func TestCatchUpUnderWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, shortLog)
		leader := c.waitLeader()
		cut := c.followers(leader)[0]
		f, err := c.nodes[cut].Watch(t.Context())
		require.NoError(t, err)
		defer f.Close()
		all := core.Interval{Key: []byte("k"), End: []byte("l")}
		f.Add(1, core.WatchSpec{Interval: all})
		f.Add(2, core.WatchSpec{Interval: all, Start: 20})
		putMany(t, c.nodes[leader], 0, 50)
		c.waitApplied()
		applied := c.nodes[cut].Status().Applied
		undo := c.isolate(cut)
		putMany(t, c.nodes[leader], 50, 300)
		awaitTruncated(c, leader, applied)
		c.net.cut(func(from, to int) bool { return from == cut || to == cut }) // else what is on its way arrives now
		undo()
		putMany(t, c.nodes[c.waitLeader()], 300, 350)
		seen := map[core.WatchID][]string{}
		for len(seen[1]) < 350 {
			d, err := f.Next(testContext(t))
			require.NoError(t, err)
			for _, change := range d.Changes {
				seen[d.Watch] = append(seen[d.Watch], string(change.KV.Key))
			}
		}
		for i, key := range seen[1] {
			require.Equal(t, fmt.Sprintf("k%04d", i), key)
		}
		require.EqualValues(t, 1, installs(t, c.nodes[cut]))
		c.waitApplied()
		rev := c.nodes[cut].published.rev()
		for seen[2] == nil || seen[2][len(seen[2])-1] != "k0349" {
			d, err := f.Next(testContext(t))
			require.NoError(t, err)
			require.LessOrEqual(t, d.Rev, rev)
			for _, change := range d.Changes {
				seen[d.Watch] = append(seen[d.Watch], string(change.KV.Key))
			}
		}
		for i := range seen[2] {
			require.Equal(t, seen[1][len(seen[1])-len(seen[2])+i], seen[2][i])
		}
	})
}

// TestSlowFollowerKeepsTheLogShort: a follower that is down, and a learner that is, do
// not make the log grow; one that is only a little behind is not sent a state.
func TestSlowFollowerKeepsTheLogShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(member int, cfg *Config) {
			shortLog(member, cfg)
			cfg.Limits.CatchUpEntries = 200
		})
		leader := c.waitLeader()
		down := c.followers(leader)[0]
		c.waitApplied()
		c.stop(down)
		putMany(t, c.nodes[leader], 0, 100)
		c.start(down)
		c.waitApplied()
		require.EqualValues(t, 0, installs(t, c.nodes[down]), "the log held what it lacked")
		c.stop(down)
		putMany(t, c.nodes[leader], 0, 1000)
		for _, member := range []int{leader, c.followers(leader)[0]} {
			c.eventually("the log is short", func() bool {
				log := c.nodes[member].disk.log
				first, err1 := log.FirstIndex()
				last, err2 := log.LastIndex()
				durable, err3 := state.DurableIndex(c.nodes[member].disk.engine().db)
				require.NoError(t, err1)
				require.NoError(t, err2)
				require.NoError(t, err3)
				return first+300 > last || first > durable
			})
		}
		c.start(down)
		c.eventually("the follower has caught up", func() bool {
			return c.nodes[down].published.rev() == c.nodes[leader].published.rev()
		})
		require.EqualValues(t, 1, installs(t, c.nodes[down]))
	})
}

// TestCatchUpWithoutAMajority: the leader is lost while it sends its state. The member
// that needs one is needed for a majority: it takes over the next leader's, which can
// commit nothing before it has.
func TestCatchUpWithoutAMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2 << 20
		c := newTestCluster(t, 3, func(member int, cfg *Config) {
			shortLog(member, cfg)
			cfg.Limits.TransferBytesPerSecond = size / 2
		})
		leader := c.waitLeader()
		down := c.followers(leader)[0]
		c.waitApplied()
		applied := c.nodes[down].Status().Applied
		c.stop(down)
		fillRandom(t, c.nodes[leader], size)
		other := c.followers(leader)[0]
		c.waitApplied()
		awaitTruncated(c, leader, applied)
		awaitTruncated(c, other, applied)
		c.start(down)
		c.eventually("a part is received", func() bool { return received(t, c.configs[down]) > size/4 })
		c.crash(leader, 100)
		require.Equal(t, other, c.waitLeader())
		put(t, c.nodes[down], "after", "1")
		c.start(leader)
		c.waitApplied()
		require.Equal(t, "1", get(t, c.nodes[leader], "after"))
		sameState(t, c.nodes[other], c.nodes[down])
	})
}
