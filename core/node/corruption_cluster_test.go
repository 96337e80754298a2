package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// watched has members compare their states many times a second.
func watched(_ int, cfg *Config) { cfg.Corruption.Interval = 40 * time.Millisecond }

// spoil changes the row of a znode in a member's engine behind its back, durably, and
// returns what undoes it.
func spoil(t *testing.T, n *Node) (undo func()) {
	t.Helper()
	db := n.disk.engine().db
	row := keys.AppendZnode(nil, "/spoilt")
	set := func(value []byte) {
		b := db.NewBatch()
		b.Set(row, value)
		require.NoError(t, b.Commit())
		require.NoError(t, b.Close())
		require.NoError(t, db.Flush())
	}
	was, err := db.Get(row)
	require.NoError(t, err)
	require.NotEmpty(t, was)
	changed := slices.Clone(was)
	changed[len(changed)-1]++ // its ACL, or another number
	set(changed)
	return func() { set(was) }
}

// populate writes something of each kind through each member, and waits until all have it.
func populate(t *testing.T, c *testCluster) {
	put(t, c.nodes[0], "/zk/spoilt", "1")
	for i, n := range c.nodes {
		_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: core.LeaseID(i + 1), TTL: time.Hour})
		require.NoError(t, err)
		putMany(t, n, 0, 20)
	}
	c.waitApplied()
}

// marks is how many marks a member has seen lately.
func marks(n *Node) int {
	n.corruption.mu.Lock()
	defer n.corruption.mu.Unlock()
	return len(n.corruption.marks)
}

// compared waits until the members have been compared some more times.
func (c *testCluster) compared() {
	c.t.Helper()
	n := c.nodes[c.waitLeader()]
	last := func() *hashMark {
		n.corruption.mu.Lock()
		defer n.corruption.mu.Unlock()
		if len(n.corruption.marks) == 0 {
			return nil
		}
		return n.corruption.marks[len(n.corruption.marks)-1]
	}
	for range 3 {
		was := last()
		c.eventually("the members are compared", func() bool { return last() != was })
	}
}

func corruptAlarms(n *Node) (of []core.MemberID) {
	for _, a := range n.Status().Alarms {
		if a.Type == core.AlarmCorrupt {
			of = append(of, a.Member)
		}
	}
	return of
}

// TestCorruptMemberIsFound changes a row of a member behind its back, of the leader too:
// the alarm names it, both faces' writes are refused on all members, reads go on; the
// alarm can be disarmed, and comes back for as long as the members differ (etcd T-75).
func TestCorruptMemberIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, leads := range []bool{false, true} {
			c := newTestCluster(t, 3, watched)
			leader := c.waitLeader()
			populate(t, c)
			c.compared()
			require.Empty(t, corruptAlarms(c.nodes[leader]), "nobody is corrupt yet")

			victim := c.followers(leader)[0]
			if leads {
				victim = leader
			}
			undo := spoil(t, c.nodes[victim])
			for i, n := range c.nodes {
				c.eventually("the alarm is raised", func() bool { return len(corruptAlarms(n)) > 0 })
				require.Equal(t, []core.MemberID{c.id(victim)}, corruptAlarms(n), "member %d", i)
				for _, cmd := range []core.Command{
					&core.Put{Key: []byte("a")},
					&core.ZnodeWrite{Session: core.SessionRef{ID: 1, Epoch: 1}, Ops: []core.ZnodeOp{{Path: "/a"}}},
					&core.LeaseGrant{ID: 77, TTL: time.Hour},
				} {
					_, err := n.Do(testContext(t), core.Principal{}, cmd)
					require.ErrorIs(t, err, core.Corrupt)
				}
				require.Equal(t, "19", get(t, n, "k0019"))
			}
			disarm := func() {
				_, err := c.nodes[0].Do(testContext(t), core.Principal{}, &core.SetAlarm{Alarm: core.Alarm{Member: c.id(victim), Type: core.AlarmCorrupt}})
				require.NoError(t, err)
			}
			disarm()
			c.eventually("the alarm is raised again", func() bool { return len(corruptAlarms(c.nodes[leader])) > 0 })
			undo()
			c.compared() // what was marked before is over
			disarm()
			c.compared()
			require.Empty(t, corruptAlarms(c.nodes[leader]))
			put(t, c.nodes[victim], "a", "1")
		}
	})
}

// TestCorruptionOfTwo: with one member away there is no majority to say who is right.
func TestCorruptionOfTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, watched)
		leader := c.waitLeader()
		populate(t, c)
		followers := c.followers(leader)
		c.stop(followers[1])
		spoil(t, c.nodes[followers[0]])
		c.eventually("the alarm is raised", func() bool { return len(corruptAlarms(c.nodes[leader])) > 0 })
		require.Equal(t, []core.MemberID{0}, corruptAlarms(c.nodes[leader]))
	})
}

// TestCompactionHashCheck compares after a compaction, and not before.
func TestCompactionHashCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(_ int, cfg *Config) {
			cfg.Corruption = Corruption{AfterCompaction: true, CompactionInterval: 50 * time.Millisecond}
		})
		leader := c.waitLeader()
		populate(t, c)
		victim := c.followers(leader)[1]
		spoil(t, c.nodes[victim])
		require.Zero(t, marks(c.nodes[leader]))
		_, err := c.nodes[victim].Do(testContext(t), core.Principal{}, &core.Compact{Rev: 10})
		require.NoError(t, err)
		c.eventually("the alarm is raised", func() bool { return len(corruptAlarms(c.nodes[victim])) > 0 })
		require.Equal(t, []core.MemberID{c.id(victim)}, corruptAlarms(c.nodes[victim]))
		require.LessOrEqual(t, marks(c.nodes[leader]), 2, "once a compaction, unless the leader changed")
	})
}

// TestInitialCorruptCheck: a corrupt member does not serve, and says why; the others may
// be restarted meanwhile.
func TestInitialCorruptCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(_ int, cfg *Config) { cfg.Corruption.AtStart = true })
		leader := c.waitLeader()
		populate(t, c)
		victim := c.followers(leader)[0]
		spoil(t, c.nodes[victim])
		for i := range c.nodes {
			c.stop(i)
		}
		c.startAll()
		for i, n := range c.nodes {
			if i == victim {
				err := <-n.Failed()
				require.ErrorContains(t, err, "found data inconsistency with peers")
				require.ErrorContains(t, err, "remove this member and add it again")
				select {
				case <-n.introduced:
					require.Fail(t, "it serves")
				default:
				}
				continue
			}
			require.NoError(t, n.Ready(testContext(t)))
		}
		require.NoError(t, c.nodes[victim].Stop(t.Context()))
		c.nodes[victim] = nil
		put(t, c.nodes[(victim+1)%3], "a", "1")
	})
}
