package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

// sessionLife is the shortest timeout that sessions have in a testCluster.
const sessionLife = shortestElections * testElection

// grantLease grants a lease through a member.
func grantLease(t testing.TB, n *Node, id core.LeaseID, ttl time.Duration) {
	_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: id, TTL: ttl})
	require.NoError(t, err)
}

// during calls fn, about every so often, until stop is called, which returns how often
// it was.
func during(every time.Duration, fn func()) (stop func() int64) {
	ended, calls := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for called := int64(1); ; called++ {
			fn()
			select {
			case <-tick.C:
			case <-ended:
				calls <- called
				return
			}
		}
	}()
	return func() int64 {
		close(ended)
		return <-calls
	}
}

// keepAlive keeps a lease alive through a member until stop is called.
func keepAlive(t testing.TB, n *Node, id core.LeaseID, ttl time.Duration) (stop func() int64) {
	return during(ttl/4, func() {
		got, err := n.Leases().KeepAlive(testContext(t), core.Principal{}, id)
		if err != nil || got != ttl {
			t.Errorf("lease %d: %v, %v", id, got, err)
		}
	})
}

// Leases are renewed on any member, by any number of callers at a time, and without that
// they end; what members say of them is the same.
func TestLeasesOnAnyMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		const ttl = time.Second
		follower, other := c.nodes[c.followers(leader)[0]], c.nodes[c.followers(leader)[1]]
		grantLease(t, follower, 1, ttl)
		grantLease(t, follower, 2, ttl)
		grantLease(t, follower, 3, time.Hour)
		stop, stopToo := keepAlive(t, follower, 1, ttl), keepAlive(t, other, 1, ttl)

		var callers sync.WaitGroup
		for i := range 200 {
			callers.Go(func() {
				got, err := c.nodes[i%3].Leases().KeepAlive(testContext(t), core.Principal{}, 3)
				if err != nil || got != time.Hour {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		callers.Wait()
		pass(time.Millisecond)
		for _, n := range c.nodes {
			s, err := n.Leases().Status(testContext(t), core.Principal{}, 3, false)
			require.NoError(t, err)
			require.Less(t, s.Remaining, time.Hour, "only the leader knows what is left")
			require.Greater(t, s.Remaining, time.Hour-time.Minute)
		}
		c.eventually("the lease that nobody keeps alive has ended", func() bool {
			_, err := follower.Leases().Status(testContext(t), core.Principal{}, 2, false)
			if err != nil {
				require.ErrorIs(t, err, core.LeaseNotFound)
			}
			return err != nil
		})
		for _, n := range c.nodes {
			ids, err := n.Leases().List(testContext(t), core.Principal{})
			require.NoError(t, err)
			require.Equal(t, []core.LeaseID{1, 3}, ids, "those that expire first in front")
			for _, gone := range []core.LeaseID{2, 99} {
				_, err = n.Leases().KeepAlive(testContext(t), core.Principal{}, gone)
				require.ErrorIs(t, err, core.LeaseNotFound)
			}
		}
		openSession(t, follower, 7, time.Hour)
		_, err := follower.Leases().KeepAlive(testContext(t), core.Principal{}, 7)
		require.ErrorIs(t, err, core.LeaseNotFound, "a session is kept alive by its own client")
		require.Positive(t, stop())
		require.Positive(t, stopToo())
	})
}

// Keepalives on followers go on over a change of the leader.
func TestKeepAliveOverAChangeOfLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		const ttl = 2 * time.Second
		followers := c.followers(leader)
		grantLease(t, c.nodes[leader], 1, ttl)
		stop := keepAlive(t, c.nodes[followers[0]], 1, ttl)
		stopToo := keepAlive(t, c.nodes[followers[1]], 1, ttl)
		c.crash(leader, 0)
		c.waitLeader()
		pass(2 * ttl)
		require.Positive(t, stop())
		require.Positive(t, stopToo())
		s, err := c.nodes[followers[0]].Leases().Status(testContext(t), core.Principal{}, 1, false)
		require.NoError(t, err)
		require.Positive(t, s.Remaining)
	})
}

// Who renews too late, on a follower, is not told so before the lease's keys are gone
// there (etcd T-62).
func TestLateRenewalOnAFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		follower := c.nodes[c.followers(leader)[0]]
		for id := core.LeaseID(1); id <= 10; id++ {
			grantLease(t, follower, id, 300*time.Millisecond+time.Duration(id)*7*time.Millisecond)
			_, err := follower.Do(testContext(t), core.Principal{}, &core.Put{Key: fmt.Append(nil, "k", id), Lease: id})
			require.NoError(t, err)
		}
		pass(350 * time.Millisecond)
		for id := core.LeaseID(1); id <= 10; id++ {
			if _, err := follower.Leases().KeepAlive(testContext(t), core.Principal{}, id); err != nil {
				require.ErrorIs(t, err, core.LeaseNotFound)
				require.Equal(t, "<none>", c.local(c.followers(leader)[0], fmt.Sprint("k", id)))
			}
		}
	})
}

// A lease whose remaining time is written down is given all of it before a follower's
// caller is told that it was renewed.
func TestRenewalOfACheckpointedLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		follower := c.nodes[c.followers(leader)[0]]
		grantLease(t, follower, 1, time.Hour)
		checkpoint := &core.LeaseCheckpoint{
			Leases: []core.LeaseRemaining{{ID: 1, TTL: time.Minute}}, Persist: true, Term: c.nodes[leader].Self().Term,
		}
		_, err := c.nodes[leader].do(testContext(t), checkpoint)
		require.NoError(t, err)
		ttl, err := follower.Leases().KeepAlive(testContext(t), core.Principal{}, 1)
		require.NoError(t, err)
		require.Equal(t, time.Hour, ttl)
		v, err := follower.view(testContext(t), core.Consistency{})
		require.NoError(t, err)
		defer v.Close()
		known, err := v.Lease(1)
		require.NoError(t, err)
		require.Zero(t, known.Remaining, "all of its time")
	})
}

// touching touches a session through a member, as a front end does whose client sends
// something every third of the timeout.
func touching(t testing.TB, n *Node, id core.LeaseID) (stop func() int64) {
	return during(sessionLife/3, func() {
		if err := n.Sessions().Touch(testContext(t), id); err != nil && !errors.Is(err, core.NoLeader) {
			t.Errorf("session %d: %v", id, err)
		}
	})
}

// A session lives as long as its client is heard of, on whichever member, also while the
// leader changes; and without that it ends in time, with its ephemerals, on all.
func TestSessionsOverAChangeOfLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		followers := c.followers(leader)
		for i, n := range c.nodes {
			id := core.LeaseID(i + 1)
			require.NoError(t, createEphemeral(t, n, openSession(t, n, id, sessionLife), fmt.Sprint("/live", i)))
			require.NoError(t, createEphemeral(t, n, openSession(t, n, 10+id, sessionLife), fmt.Sprint("/dead", i)))
		}
		began := time.Now()
		var clients []func() int64
		for i := range c.nodes { // those of the leader's own clients come to another member
			clients = append(clients, touching(t, c.nodes[followers[i%2]], core.LeaseID(i+1)))
		}
		gone := func() {
			t.Helper()
			for i := range 3 {
				for _, member := range followers {
					c.eventually("the ephemerals of the dead go", func() bool { return c.local(member, fmt.Sprint("/zk/dead", i)) == "<none>" })
					require.Equal(t, "me", c.local(member, fmt.Sprint("/zk/live", i)), "an ephemeral of a live client")
				}
			}
		}
		gone()
		require.GreaterOrEqual(t, time.Since(began), sessionLife, "too early")

		for i, n := range c.nodes {
			require.NoError(t, createEphemeral(t, n, openSession(t, n, core.LeaseID(20+i), sessionLife), fmt.Sprint("/dead", i)))
		}
		c.waitApplied()
		began = time.Now()
		c.crash(leader, 0)
		c.waitLeader()
		gone()
		require.GreaterOrEqual(t, time.Since(began), sessionLife, "a new leader gives all their full time")
		pass(2 * sessionLife)
		gone()
		for _, stop := range clients {
			require.Positive(t, stop())
		}
	})
}

// cutOff has a member cut off while it has a session whose client is alive, and requires
// that it closes its connections before the others have the session end.
func cutOff(t *testing.T, c *testCluster, member int) {
	t.Helper()
	n := c.nodes[member]
	require.Equal(t, sessionLife, n.Sessions().Shortest())
	var open atomic.Bool // the client's connection
	defer n.Sessions().FollowInterruptions(func(error) { open.Store(false) })()
	c.eventually("there is contact", func() bool { return n.Sessions().Contact() == nil })
	openSession(t, n, 1, sessionLife)
	// openAtEnd is what the others find when they have the session end.
	openAtEnd := make(chan bool, len(c.nodes))
	for i, other := range c.nodes {
		if i != member {
			defer other.Sessions().Follow(func(ref core.SessionRef) {
				if ref == (core.SessionRef{ID: 1}) {
					openAtEnd <- open.Load() || n.Sessions().Contact() == nil
				}
			})()
		}
	}
	stop := touching(t, n, 1)
	pass(2 * sessionLife)
	require.Empty(t, openAtEnd, "it lives")
	c.eventually("there is contact", func() bool { return n.Sessions().Contact() == nil })

	open.Store(true)
	cut := time.Now()
	c.isolate(member)
	c.eventually("the connection is closed", func() bool { return !open.Load() })
	closed := time.Since(cut)
	require.False(t, <-openAtEnd, "cut off at 0, closed after %v, ended after %v", closed, time.Since(cut))
	require.Error(t, n.Sessions().Contact())
	c.net.heal()
	c.eventually("there is contact again", func() bool { return n.Sessions().Contact() == nil })
	require.Positive(t, stop())
}

func TestAFollowerThatIsCutOffClosesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		cutOff(t, c, c.followers(c.waitLeader())[0])
	})
}

func TestALeaderThatIsCutOffClosesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		cutOff(t, c, c.waitLeader())
	})
}

// TestDeadlinesOfATermThatHasEnded: whether deadlines begin or end is told when what was
// applied before is, for which a disk may take its time; meanwhile whoever led before
// renews nothing in its own, though the next leader confirms that it is in contact.
func TestDeadlinesOfATermThatHasEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.ready()
		former := c.nodes[c.waitLeader()]
		term := former.Status().Term
		const ttl = 2 * time.Second
		grantLease(t, former, 1, ttl)
		openSession(t, former, 7, sessionLife)
		defer former.Sessions().FollowInterruptions(func(error) {})()
		require.True(t, former.handOver(testContext(t)))
		c.waitLeader()
		c.waitApplied()
		former.leases.leadership(former.Self().Member, term, true) // as if not told yet of the end
		stop := keepAlive(t, former, 1, ttl)
		stopToo := during(sessionLife/8, func() {
			if err := former.Sessions().Touch(testContext(t), 7); err != nil {
				t.Error(err)
			}
		})
		pass(4 * max(ttl, sessionLife))
		require.Positive(t, stop())
		require.Positive(t, stopToo())
		ids, err := former.Leases().List(testContext(t), core.Principal{})
		require.NoError(t, err)
		require.Contains(t, ids, core.LeaseID(1))
		require.NoError(t, former.Sessions().Touch(testContext(t), 7))
	})
}

// A leader that is cut off acknowledges no renewal later than an election timeout after it
// last had contact: the next one may have begun then, and gives the lease its TTL and an
// election timeout from that moment (etcd #15247).
func TestALeaderThatIsCutOffRenewsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		n := c.nodes[leader]
		grantLease(t, n, 1, time.Hour)
		renew := func() error {
			ctx, cancel := context.WithTimeout(testContext(t), testElection/8)
			defer cancel()
			_, err := n.Leases().KeepAlive(ctx, core.Principal{}, 1)
			return err
		}
		c.eventually("there is contact", func() bool { return n.Sessions().Contact() == nil })
		require.NoError(t, renew())
		cut := time.Now()
		c.isolate(leader)
		for time.Since(cut) < 3*testElection {
			if renew() == nil {
				require.Less(t, time.Since(cut), testElection)
			}
			pass(testElection / 20)
		}
		c.net.heal()
		c.eventually("the lease is renewed, by whoever leads", func() bool { return renew() == nil })
	})
}

// A leader that is out of contact, and does not know yet whether it is one still, answers
// another member that it cannot vouch for what it has renewed.
func TestALeaderOutOfContactConfirmsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		n := c.nodes[c.waitLeader()]
		grantLease(t, n, 1, time.Hour)
		ask := func() expiry.Answer {
			answer, err := n.leases.renewals.answerRenew(testContext(t), 0, encodeBatch(&expiry.Batch{Leases: []core.LeaseID{1}}))
			require.NoError(t, err)
			a, err := decodeAnswer(answer)
			require.NoError(t, err)
			require.Equal(t, n.Status().Term, a.Term)
			require.Equal(t, expiry.Renewed, a.Leases[0].Answer)
			return a
		}
		c.eventually("there is contact", func() bool { return n.Sessions().Contact() == nil })
		require.True(t, ask().Confirmed)
		synctest.Wait() // until time passes nobody else confirms anything
		n.sessions.contact.confirm(-testElection)
		require.Error(t, n.Sessions().Contact())
		require.False(t, ask().Confirmed)
		c.eventually("there is contact again", func() bool { return ask().Confirmed })
	})
}

// A lone member that may get company is in contact with itself, and asks for no longer
// sessions.
func TestContactOfALoneMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		c.waitLeader()
		c.eventually("it serves", func() bool { return c.nodes[0].Sessions().Contact() == nil })
		require.Zero(t, c.nodes[0].Sessions().Shortest())
		var reasons []error
		stop := c.nodes[0].Sessions().FollowInterruptions(func(err error) { reasons = append(reasons, err) })
		c.nodes[0].sessions.interrupt()
		stop()
		c.nodes[0].sessions.interrupt()
		require.Equal(t, []error{errReplaced}, reasons)
	})
}

// Order across members (design 4): what a lane on a follower has handed over is applied
// without a gap from its beginning, wherever the leader's end cuts it off.
func TestLanesAreCutWithoutAGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.waitLeader()
		followers := c.followers(leader)
		const lanes = 6
		handed := make([]int, lanes)
		var running sync.WaitGroup
		for i := range lanes {
			n := c.nodes[followers[i%2]]
			running.Go(func() { handed[i] = pipeline(n, i) })
		}
		c.eventually("all lanes are under way", func() bool {
			for i := range lanes {
				if c.local(followers[0], fmt.Sprintf("%d/%06d", i, 20)) == "<none>" {
					return false
				}
			}
			return true
		})
		c.isolate(leader)
		pass(20 * time.Millisecond) // so that something of each lane is lost: else it would just go on
		c.crash(leader, 0)
		running.Wait()
		c.waitLeader()
		v, err := c.nodes[followers[0]].View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
		require.NoError(t, err)
		defer v.Close()
		for i := range lanes {
			res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{
				Key: fmt.Appendf(nil, "%d/", i), End: fmt.Appendf(nil, "%d0", i),
			}})
			require.NoError(t, err)
			require.Less(t, handed[i], mostHanded, "the lane was not cut")
			require.LessOrEqual(t, len(res.KVs), handed[i])
			for k, kv := range res.KVs {
				require.Equal(t, fmt.Sprintf("%d/%06d", i, k), string(kv.Key), "a later write was applied without an earlier one")
			}
		}
	})
}

// mostHanded ends a pipeline which nothing breaks: a bubble's time has no end.
const mostHanded = 20_000

// pipeline hands writes over in one lane, many at a time, until one fails, or mostHanded,
// and returns how many it has handed over.
func pipeline(n *Node, lane int) (handed int) {
	const window = 50
	l := n.Lane()
	var outstanding []core.Pending
	for handed < mostHanded {
		outstanding = append(outstanding, l.Submit(core.Principal{}, &core.Put{Key: fmt.Appendf(nil, "%d/%06d", lane, handed)}))
		if handed++; len(outstanding) < window {
			continue
		}
		pass(time.Millisecond) // else none does
		_, err := outstanding[0].Wait(context.Background())
		if outstanding = outstanding[1:]; err == nil {
			continue
		}
		for _, p := range outstanding {
			_, _ = p.Wait(context.Background()) // whatever became of it: what follows must not be applied
		}
		return handed
	}
	return handed
}
