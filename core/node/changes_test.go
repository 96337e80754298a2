package node

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/member"
)

// TestChangesAtTheSameTime: changes of members that are asked for at the same time, each of
// which is right by what the member that is asked knows, leave a quorum of members that
// have started (T-101): with etcd, which judges each of them where it is asked, all would
// be made, and a cluster of two that is given two more voters has lost its quorum.
func TestChangesAtTheSameTime(t *testing.T) {
	for _, loose := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newTestCluster(t, 2, func(_ int, cfg *Config) { cfg.Members.Loose = loose })
			c.ready()
			pass(2 * member.HealthInterval)
			errs := make([]error, 2)
			var asking sync.WaitGroup
			for i := range errs {
				asking.Go(func() {
					_, _, errs[i] = c.nodes[i].Membership().Add(testContext(t), core.Principal{}, []string{testURL(7 + i)}, false)
				})
			}
			asking.Wait()
			members, err := c.nodes[0].Members(testContext(t), false)
			require.NoError(t, err)
			if loose {
				require.NoError(t, errs[0])
				require.NoError(t, errs[1])
				return // as was asked for: there is no quorum any more
			}
			require.Len(t, members, 3)
			if errs[0] == nil {
				errs[0], errs[1] = errs[1], errs[0]
			}
			require.ErrorIs(t, errs[0], core.NotEnoughStarted)
			require.NoError(t, errs[1])
			require.NoError(t, c.tryPut(0, "a", "b", 5*testElection))
		})
	}
}

// TestRemovalsAtTheSameTime is the same of removals.
func TestRemovalsAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.ready()
		pass(2 * member.HealthInterval)
		leader := c.waitLeader()
		_, _, err := c.nodes[leader].Membership().Add(testContext(t), core.Principal{}, []string{testURL(7)}, false)
		require.NoError(t, err)
		c.waitApplied()
		followers := c.followers(leader)
		errs := make([]error, 2)
		var asking sync.WaitGroup
		for i := range errs { // each the other
			asking.Go(func() {
				_, errs[i] = c.nodes[followers[i]].Membership().Remove(testContext(t), core.Principal{}, c.id(followers[1-i]))
			})
		}
		asking.Wait()
		members, err := c.nodes[leader].Members(testContext(t), true)
		require.NoError(t, err)
		require.Len(t, members, 3, "%v", errs)
		require.NoError(t, c.tryPut(leader, "a", "b", 5*testElection))
	})
}
