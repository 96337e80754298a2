package node

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// TestFounderThatHasForgotten: a founder that has lost its data directory is founded anew
// while nobody is there to say that it is known. It had acknowledged what a member that was
// away does not have, and gets no say with that one: a real etcd elects a leader of the two,
// and what was acknowledged is lost without a word. It ends with one line, again and again,
// and can be replaced as any other.
func TestFounderThatHasForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		c.ready()
		leader := c.waitLeader()
		wiped, away := c.followers(leader)[0], c.followers(leader)[1]
		id := c.id(wiped)
		c.waitApplied()
		c.crash(away, 100)
		putMany(t, c.nodes[leader], 0, 20)
		c.crash(wiped, 100)
		c.crash(leader, 100)

		c.configs[wiped].FS = storage.NewCrashableMemFS()
		c.start(wiped)
		for range 2 {
			if c.nodes[away] == nil {
				c.start(away)
			}
			require.Error(t, c.tryPut(away, "k", "v", 5*testElection), "there is no majority")
			require.Zero(t, c.nodes[wiped].Self().Leader)
			c.ended(wiped, ErrForgotten)
			c.start(wiped)
		}

		c.start(leader)
		leader = c.waitLeader(wiped)
		checkMany(t, c.nodes[away], 20)
		c.ended(wiped, ErrForgotten)
		_, err := c.nodes[leader].Membership().Remove(testContext(t), core.Principal{}, id)
		require.NoError(t, err)
		added := c.add(leader, true, nil)
		c.ready()
		checkMany(t, c.nodes[added], 20)
	})
}

// A founder that comes late is new, and is known to nobody; one that has voted, and hears
// of nothing more before it is killed, is known to be no newcomer.
func TestFounderThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.ready()
		for i := range c.nodes {
			c.stop(i)
			c.configs[i].FS = storage.NewCrashableMemFS()
		}
		c.start(0)
		require.True(t, c.nodes[0].disk.isNew())
		c.start(1)
		leader := c.waitLeader()
		putMany(t, c.nodes[leader], 0, 10)
		require.False(t, c.nodes[0].disk.isNew())
		c.start(2)
		c.ready()
		for range 2 { // and after the loss of whatever need not be on its disk
			c.waitApplied()
			for i := range c.nodes {
				c.crash(i, 0)
			}
			c.startAll()
			c.ready()
			checkMany(t, c.nodes[2], 10)
		}
	})
}
