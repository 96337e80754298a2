package node

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// loosely leaves out etcd's checks, which want links that have lasted for 5 s.
func loosely(_ int, cfg *Config) { cfg.Members.Loose = true }

// requireSame waits for all that run, and compares their states.
func (c *testCluster) requireSame() {
	c.t.Helper()
	c.waitApplied()
	hashes := map[uint32]bool{}
	for _, n := range c.nodes {
		if n != nil {
			hash, _, err := n.Hash(testContext(c.t), core.Principal{})
			require.NoError(c.t, err)
			hashes[hash] = true
		}
	}
	require.Len(c.t, hashes, 1)
}

func (c *testCluster) ready() {
	c.t.Helper()
	for i, n := range c.nodes {
		if n != nil {
			require.NoError(c.t, n.Ready(testContext(c.t)), "member %d", i)
		}
	}
}

// removed waits for a member to end because it was removed.
func (c *testCluster) removed(member int) {
	c.t.Helper()
	c.ended(member, ErrRemoved)
}

// ended waits for a member to end because of a fault.
func (c *testCluster) ended(member int, fault error) {
	c.t.Helper()
	select {
	case err := <-c.nodes[member].Failed():
		require.ErrorIs(c.t, err, fault)
		require.NotContains(c.t, err.Error(), "\n")
	case <-testContext(c.t).Done():
		require.Fail(c.t, "nothing ended the member")
	}
	require.NoError(c.t, c.nodes[member].Stop(context.Background()))
	c.nodes[member] = nil
}

// promote gives a learner its vote as soon as it is ready for it.
func (c *testCluster) promote(through int, id core.MemberID) []core.Member {
	c.t.Helper()
	var members []core.Member
	c.eventually("the learner is ready", func() bool {
		var err error
		members, err = c.nodes[through].Membership().Promote(testContext(c.t), core.Principal{}, id)
		if err != nil {
			require.ErrorIs(c.t, err, core.LearnerNotReady)
		}
		return err == nil
	})
	return members
}

// TestLifeOfACluster adds a learner, promotes it, removes the leader, replaces a dead
// member and restarts all (T-100, T-101).
func TestLifeOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		leader := c.waitLeader()
		c.ready()
		put(t, c.nodes[leader], "k0", "v")

		// A learner that has started has a name, but no client is sent to it.
		d := c.add(c.followers(leader)[0], true, func(cfg *Config) { loosely(0, cfg) })
		c.ready()
		id := c.id(d)
		members, err := c.nodes[d].Members(testContext(t), true)
		require.NoError(t, err)
		require.Equal(t, core.Member{ID: id, Name: testName(d), PeerURLs: []string{testURL(d)}, Learner: true}, *memberIn(members, id))
		require.True(t, c.nodes[d].Self().Learner)
		require.True(t, c.nodes[d].Status().Learner)
		require.ErrorIs(t, c.nodes[d].Sessions().Contact(), core.Unsupported)

		// It gets its vote through a follower, and then clients are sent to it.
		leader = c.waitLeader()
		require.False(t, memberIn(c.promote(c.followers(leader)[0], id), id).Learner)
		c.eventually("its client URLs are known", func() bool {
			m, err := c.nodes[d].Members(testContext(t), false)
			require.NoError(t, err)
			return len(memberIn(m, id).ClientURLs) == 1 && !c.nodes[d].Self().Learner
		})
		put(t, c.nodes[d], "k1", "v")
		c.requireSame()

		// The leader removes itself.
		gone := c.waitLeader()
		members, err = c.nodes[gone].Membership().Remove(testContext(t), core.Principal{}, c.id(gone))
		require.NoError(t, err)
		require.Len(t, members, 3)
		c.removed(gone)
		_, err = c.tryStart(gone)
		require.ErrorIs(t, err, ErrRemoved)

		// A dead one is replaced. It was down when it was removed, and hears of it all the same.
		leader = c.waitLeader()
		dead := c.followers(leader)[0]
		deadID := c.id(dead)
		c.crash(dead, 100)
		_, err = c.nodes[leader].Membership().Remove(testContext(t), core.Principal{}, deadID)
		require.NoError(t, err)
		c.add(leader, false, func(cfg *Config) { loosely(0, cfg) })
		c.ready()
		c.start(dead)
		c.removed(dead)

		for range 2 {
			c.requireSame()
			var left []int
			for i, n := range c.nodes {
				if n != nil {
					left = append(left, i)
					c.stop(i)
				}
			}
			for _, i := range left {
				c.start(i)
			}
			c.ready()
			put(t, c.nodes[left[0]], "k3", "v")
			require.Equal(t, "v", get(t, c.nodes[left[2]], "k0"))
		}
	})
}

// TestJoinInARow: who joins is in the state that it is sent. What another one was sent
// a moment ago need not be.
func TestJoinInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, loosely)
		c.ready()
		for range 3 {
			added := c.add(0, true, nil)
			c.ready()
			c.requireSame()
			_, err := c.nodes[0].Membership().Remove(testContext(t), core.Principal{}, c.id(added))
			require.NoError(t, err)
			c.removed(added)
		}
	})
}

// TestJoinWithAStateOfBefore: a state in which it is no member is none to begin with.
func TestJoinWithAStateOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, loosely)
		c.ready()
		o := &c.nodes[0].peers.states.outgoing
		old, err := o.take(testContext(t), 0)
		require.NoError(t, err)
		added, _, err := c.nodes[0].Membership().Add(testContext(t), core.Principal{}, []string{testURL(1)}, true)
		require.NoError(t, err)
		old.members = []core.Member{added} // which is not so
		cfg := c.config(1, peersOf(0, 1))
		cfg.Cluster.Existing = true
		c.configs, c.nodes = append(c.configs, cfg), append(c.nodes, nil)
		_, err = c.tryStart(1)
		require.ErrorContains(t, err, "the state of http://m0:2380 is from before this member was added")
		_, founded, err := readIdentity(cfg.FS, cfg.DataDir)
		require.NoError(t, err)
		require.False(t, founded)

		old.members = nil
		o.give(old, 0)
		c.start(1)
		c.ready()
		c.requireSame()
	})
}

// TestObserver: a learner that is there to serve clients is known to them.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, loosely)
		c.ready()
		o := c.add(0, true, func(cfg *Config) { cfg.Members.Observer = true })
		c.ready()
		members, err := c.nodes[0].Members(testContext(t), true)
		require.NoError(t, err)
		require.Equal(t, c.configs[o].AdvertiseClientURLs, memberIn(members, c.id(o)).ClientURLs)
		require.True(t, c.nodes[o].Self().Observer)
		put(t, c.nodes[o], "through the observer", "v")
		defer c.nodes[o].Sessions().FollowInterruptions(func(error) {})()
		c.eventually("it serves sessions", func() bool { return c.nodes[o].Sessions().Contact() == nil })
		require.Equal(t, "v", get(t, c.nodes[0], "through the observer"))
		require.Equal(t, "v", get(t, c.nodes[o], "through the observer"))

		_, _, err = c.nodes[o].Membership().Add(testContext(t), core.Principal{}, []string{"http://h:1"}, true)
		require.ErrorIs(t, err, core.TooManyLearners)
		_, _, err = c.nodes[o].Membership().Add(testContext(t), core.Principal{}, []string{testURL(0)}, false)
		require.ErrorIs(t, err, core.PeerURLExists)
		_, err = c.nodes[o].Membership().Remove(testContext(t), core.Principal{}, 1)
		require.ErrorIs(t, err, core.MemberNotFound)
		_, err = c.nodes[o].Membership().Promote(testContext(t), core.Principal{}, 1)
		require.ErrorIs(t, err, core.MemberNotFound)
		_, err = c.nodes[o].Membership().Promote(testContext(t), core.Principal{}, c.id(0))
		require.ErrorIs(t, err, core.NotLearner)

		_, err = c.nodes[o].Membership().Remove(testContext(t), core.Principal{}, c.id(o))
		require.NoError(t, err, "through itself")
		c.removed(o)
		_, err = c.nodes[0].Membership().Remove(testContext(t), core.Principal{}, c.id(0))
		require.ErrorIs(t, err, core.NotEnoughStarted, "the last voter")
	})
}

// TestStrictReconfig: a change wants links that have lasted, and says so (T-101).
func TestStrictReconfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 2, nil)
		c.ready()
		leader := c.waitLeader()
		_, _, err := c.nodes[leader].Membership().Add(testContext(t), core.Principal{}, []string{"http://h:1"}, true)
		require.ErrorIs(t, err, core.Unhealthy)
		_, err = c.nodes[leader].Membership().Remove(testContext(t), core.Principal{}, c.id(leader))
		require.ErrorIs(t, err, core.Unhealthy)
		members, err := c.nodes[leader].Members(testContext(t), true)
		require.NoError(t, err)
		require.Len(t, members, 2)
	})
}

// TestFounders: all founders begin with the same state, those without a vote included.
func TestFounders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 4, func(_ int, cfg *Config) {
			cfg.Cluster.Peers = slices.Clone(cfg.Cluster.Peers)
			cfg.Cluster.Peers[3].Learner = true
			cfg.Members.Observer = true
		})
		c.ready()
		require.True(t, c.nodes[3].Self().Observer)
		require.False(t, c.nodes[0].Self().Observer)
		put(t, c.nodes[3], "a", "b")
		c.requireSame()
		ids := map[core.MemberID]bool{}
		for i := range c.nodes {
			require.Equal(t, c.nodes[0].Self().ClusterID, c.nodes[i].Self().ClusterID)
			ids[c.id(i)] = true
		}
		require.Len(t, ids, 4)
	})
}

// What a follower has had changed it knows, also when the next change is judged there
// (etcd T-101: one voter too many that has not started is refused).
func TestAFollowerKnowsWhatItHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		c.ready()
		follower := c.nodes[c.followers(c.waitLeader())[0]]
		for i := range 20 {
			added, _, err := follower.Membership().Add(testContext(t), core.Principal{}, []string{fmt.Sprintf("http://h:%d", i)}, true)
			require.NoError(t, err)
			members, err := follower.Members(testContext(t), false)
			require.NoError(t, err)
			require.NotNil(t, memberIn(members, added.ID))
			_, err = follower.Membership().Remove(testContext(t), core.Principal{}, added.ID)
			require.NoError(t, err)
			members, err = follower.Members(testContext(t), false)
			require.NoError(t, err)
			require.Nil(t, memberIn(members, added.ID))
		}
	})
}

// A follower that has itself removed knows of it when that is answered: what it answers its
// own client comes from its state. It ends behind that (etcd T-101).
func TestAFollowerKnowsThatItHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		c.ready()
		gone := c.followers(c.waitLeader())[0]
		id := c.id(gone)
		members, err := c.nodes[gone].Membership().Remove(testContext(t), core.Principal{}, id)
		require.NoError(t, err)
		require.Len(t, members, 2)
		known, err := c.nodes[gone].Members(testContext(t), false)
		require.NoError(t, err)
		require.Equal(t, members, known)
		c.removed(gone)
	})
}
