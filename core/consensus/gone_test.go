package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// tellGone tells all but a member that it is gone.
func (c *cluster) tellGone(id core.MemberID) {
	for other, d := range c.drivers {
		if other != id {
			d.Gone(id)
		}
	}
}

// A leader that is gone is followed long before the election timeout, and what is proposed
// to the next one does not wait for anything else.
func TestSuccession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			c := startCluster(t)
			old := c.leader(t)
			require.NoError(t, (<-propose(t, c.drivers[old], "before", never)).err)
			require.NoError(t, c.drivers[old].Stop())
			begun := time.Now()
			follower := old%3 + 1
			waiting := propose(t, c.drivers[follower], "after", never)
			if old%2 == 0 { // one hears it first
				c.drivers[follower].Gone(old)
				<-time.After(30 * time.Millisecond)
			}
			c.tellGone(old)
			c.leader(t, old)
			o := <-waiting
			if o.err != nil { // it was sent to the one that is gone
				require.Equal(t, core.LeaderChanged, o.err)
				o = <-propose(t, c.drivers[follower], "after", never)
			}
			require.NoError(t, o.err)
			require.Less(t, time.Since(begun), defaultElectionTimeout/2)
			for id, d := range c.drivers {
				require.NoError(t, d.Stop(), "member %d", id)
			}
		}
	})
}

// Members that start at about the same time elect a leader long before the election
// timeout, whoever of them is late.
func TestEarlyElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for late := range core.MemberID(4) { // zero is none
			c := &cluster{drivers: map[core.MemberID]*Driver{}, logs: map[core.MemberID]*memLog{}, states: map[core.MemberID]*recorder{}}
			begun := time.Now()
			add := func(id core.MemberID) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.logs[id], c.states[id] = newMemLog(1, 2, 3), &recorder{}
				c.drivers[id] = start(t, Config{ID: id, Log: c.logs[id], Applier: c.states[id], Send: c.send, EarlyElection: true})
			}
			for id := core.MemberID(1); id <= 3; id++ {
				if id != late {
					add(id)
				}
			}
			leader := c.leader(t)
			require.Less(t, time.Since(begun), defaultElectionTimeout*3/4)
			if late == 0 { // that leader may end at once
				require.NoError(t, c.drivers[leader].Stop())
				begun = time.Now()
				c.tellGone(leader)
				c.leader(t, leader)
				require.Less(t, time.Since(begun), defaultElectionTimeout/2)
			}
			if late != 0 { // and does not disturb it
				_, term, _, _ := c.drivers[leader].Status()
				add(late)
				<-time.After(2 * defaultElectionTimeout)
				require.Equal(t, leader, c.leader(t))
				_, now, _, _ := c.drivers[leader].Status()
				require.Equal(t, term, now)
			}
			for id, d := range c.drivers {
				require.NoError(t, d.Stop(), "member %d", id)
			}
		}
	})
}

// A leader that one member takes for gone stays: the others hear it.
func TestFalseNewsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		_, term, _, _ := c.drivers[leader].Status()
		follower := leader%3 + 1
		for range 100 {
			c.drivers[follower].Gone(leader)
			<-time.After(50 * time.Millisecond)
		}
		c.drivers[leader].Gone(leader) // that makes no sense at all
		require.Equal(t, leader, c.leader(t))
		_, now, _, _ := c.drivers[leader].Status()
		require.Equal(t, term, now)
	})
}

// Even if all take every leader for gone, all the time, there are no more elections than
// one in an election timeout, and what is proposed gets through.
func TestFalseNewsOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		_, term, _, _ := c.drivers[leader].Status()
		begun := time.Now()
		for i := range 400 {
			for id := range c.drivers {
				c.tellGone(id)
			}
			if i%10 == 0 {
				for id, d := range c.drivers {
					p := NewProposal([]byte(numbered(i)), time.Now().Add(defaultElectionTimeout/2))
					require.NoError(t, d.Propose(p), "member %d", id)
					go func() { _, _ = p.Wait(t.Context()) }()
				}
			}
			<-time.After(50 * time.Millisecond)
		}
		_, now, _, _ := c.drivers[leader].Status()
		timeouts := uint64(time.Since(begun) / defaultElectionTimeout)
		require.LessOrEqual(t, now-term, timeouts+1)
		require.Greater(t, c.states[leader].filled(), 20, "of 40 times three proposals")
		c.leader(t)
	})
}
