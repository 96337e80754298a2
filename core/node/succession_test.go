package node

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/member"
)

// A leader whose process ends is followed long before the election timeout: the followers
// are told by their connections, as the kernel does it, and need no silence. With the
// election timeout that is the default, a client that writes in the meantime waits for as
// long as this measures.
func TestLeaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds, election = 20, time.Second
		c := newTestCluster(t, 3, func(_ int, cfg *Config) {
			cfg.Timing = Timing{Heartbeat: 100 * time.Millisecond, Election: election}
		})
		var gaps []time.Duration
		for round := range rounds {
			leader := c.waitLeader()
			c.waitApplied()
			through := c.followers(leader)[round%2]
			began := time.Now()
			c.net.end(leader)
			for c.tryPut(through, "round", fmt.Sprint(round), election) != nil {
				require.Less(t, time.Since(began), 20*time.Second)
			}
			gaps = append(gaps, time.Since(began))
			require.NotEqual(t, leader, c.leader())
			c.net.heal()
			c.eventually("the former leader follows", func() bool { return c.nodes[leader].Self().Leader == c.id(c.leader()) })
			<-time.After(election) // news is heard once in an election timeout
		}
		slices.Sort(gaps)
		t.Logf("of %d rounds: median %v, longest %v of an election timeout of %v", rounds, gaps[rounds/2], gaps[rounds-1], election)
		require.Less(t, gaps[rounds-1], election/2, "%v", gaps)
	})
}

// A leader that is to be removed gives the leadership away before, whoever asks for it:
// nobody waits for an election timeout, and no ZooKeeper client loses its connection to a
// member that hears of no leader.
func TestLeaderIsRemoved(t *testing.T) {
	for _, by := range []string{"itself", "a follower"} {
		t.Run("by "+by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const election = time.Second
				c := newTestCluster(t, 3, func(_ int, cfg *Config) {
					cfg.Timing = Timing{Heartbeat: 100 * time.Millisecond, Election: election}
				})
				leader := c.waitLeader()
				c.waitApplied()
				<-time.After(2 * member.HealthInterval)
				rest := c.followers(leader)
				at := c.nodes[leader]
				if by != "itself" {
					at = c.nodes[rest[1]]
				}
				began := time.Now()
				members, err := at.Membership().Remove(testContext(t), core.Principal{}, c.id(leader))
				require.NoError(t, err)
				require.Len(t, members, 2)
				for _, i := range rest {
					require.NoError(t, c.tryPut(i, "k", "v", election))
				}
				require.Less(t, time.Since(began), election/4)
			})
		})
	}
}

// A leader that one follower takes for gone goes on: the other one hears it.
func TestLeaderSeemsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		term := c.nodes[leader].Self().Term
		follower := c.followers(leader)[0]
		for range 100 {
			c.nodes[follower].driver.Gone(c.id(leader))
			<-time.After(testElection / 10)
		}
		c.eventually("it is followed", func() bool { return c.nodes[follower].Self().Leader == c.id(leader) })
		require.Equal(t, term, c.nodes[leader].Self().Term)
		require.NoError(t, c.tryPut(follower, "k", "v", testElection))
	})
}
