package consensus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// follower is a member that does not lead.
func (c *cluster) follower(t *testing.T) (follower, leader core.MemberID) {
	t.Helper()
	leader = c.leader(t)
	return leader%3 + 1, leader
}

// Whoever proposes, all apply the same, and everybody is answered where he asked.
func TestFollowersPropose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		c.leader(t)
		var outcomes []<-chan outcome
		for i := range 300 {
			outcomes = append(outcomes, propose(t, c.drivers[core.MemberID(1+i%3)], numbered(i), never))
		}
		for _, o := range outcomes {
			o := <-o
			require.NoError(t, o.err)
			require.Zero(t, o.after, "it waited for a tick")
		}
		<-time.After(time.Second) // all hear of the last commit
		synctest.Wait()
		all := c.states[1].commands()
		require.Len(t, all, 300)
		require.Equal(t, all, c.states[2].commands())
		require.Equal(t, all, c.states[3].commands())
	})
}

// What is on a stream that breaks has an unknown fate, and what follows in its lane is
// not proposed. Others go on with the next stream.
func TestBrokenStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, leader := c.follower(t)
		d := c.drivers[follower]
		c.setDrop(func(m *Message) bool { return m.GetType() == raftpb.MsgProp })
		lane := new(Lane)
		first, second := NewOrdered(lane, []byte("first")), NewOrdered(lane, []byte("second"))
		require.NoError(t, d.Propose(first))
		synctest.Wait()
		require.NoError(t, d.Propose(second))
		synctest.Wait()
		d.Disconnected(leader%3 + 2) // if that is anybody, it is not the leader
		synctest.Wait()
		require.False(t, first.Done())
		d.Disconnected(leader)
		c.setDrop(nil)
		for _, p := range []*Proposal{first, second} {
			_, err := p.Wait(t.Context())
			require.Equal(t, core.LeaderChanged, err)
		}
		require.Equal(t, core.LeaderChanged, d.Propose(NewOrdered(lane, []byte("third"))))
		require.NoError(t, (<-propose(t, d, "other", never)).err)
		synctest.Wait() // the leader may apply it later
		require.Equal(t, []string{"other"}, c.states[leader].commands())
	})
}

// If nobody says that a message was lost, its stream is given up in the end.
func TestSilentLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, _ := c.follower(t)
		var lost atomic.Bool
		c.setDrop(func(m *Message) bool { return m.GetType() == raftpb.MsgProp && !lost.Swap(true) })
		d := c.drivers[follower]
		late := propose(t, d, "lost", time.Now().Add(time.Hour))
		require.Equal(t, core.LeaderChanged, (<-late).err)
		require.NoError(t, (<-propose(t, d, "next", never)).err)
	})
}

// A follower has a bounded part of its queue under way, and refuses what the queue
// cannot take.
func TestForwardWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, leader := c.follower(t)
		var sent atomic.Int64
		c.setDrop(func(m *Message) bool {
			if m.GetType() == raftpb.MsgProp {
				sent.Add(1)
			}
			return false
		})
		release := hold(c.logs[leader])
		d := c.drivers[follower]
		var outcomes []<-chan outcome
		for i := range 100 {
			outcomes = append(outcomes, propose(t, d, numbered(i), never))
			synctest.Wait()
		}
		require.EqualValues(t, 1+maxForwards, sent.Load(), "the first is committed by the two others")
		large := make([]byte, defaultQueueBytes)
		require.Equal(t, core.TooManyRequests, d.Propose(NewProposal(large, never)))
		release()
		for _, o := range outcomes {
			require.NoError(t, (<-o).err)
		}
		require.LessOrEqual(t, sent.Load(), int64(2+maxForwards), "what had gathered went together")
		require.Equal(t, 100, len(c.states[follower].commands()))
	})
}

func TestTransferLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, leader := c.follower(t)
		require.Equal(t, core.NotLeader, c.drivers[follower].TransferLeadership(t.Context(), leader))
		require.Equal(t, core.BadLeaderTransferee, c.drivers[leader].TransferLeadership(t.Context(), 9))
		require.NoError(t, c.drivers[leader].TransferLeadership(t.Context(), leader), "it leads already")
		require.NoError(t, c.drivers[leader].TransferLeadership(t.Context(), follower))
		require.Equal(t, follower, c.leader(t))
		require.NoError(t, c.drivers[follower].TransferLeadership(t.Context(), 0))
		leader = c.leader(t)
		require.NotEqual(t, follower, leader)

		// One that cannot be reached does not get it, and what is proposed meanwhile waits.
		follower = leader%3 + 1
		c.setDrop(func(m *Message) bool { return m.GetTo() == uint64(follower) })
		waiting := make(chan error, 1)
		go func() { waiting <- c.drivers[leader].TransferLeadership(context.Background(), follower) }()
		synctest.Wait()
		proposed := propose(t, c.drivers[leader], "meanwhile", never)
		require.Equal(t, core.Timeout, <-waiting)
		require.NoError(t, (<-proposed).err)
		now, _, _, _ := c.drivers[leader].Status()
		require.Equal(t, leader, now)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.drivers[leader].TransferLeadership(ended, follower), core.Canceled)
		go func() { waiting <- c.drivers[leader].TransferLeadership(context.Background(), follower) }()
		synctest.Wait()
		require.NoError(t, c.drivers[leader].Stop())
		require.Equal(t, core.Stopped, <-waiting)
		require.Equal(t, core.Stopped, c.drivers[leader].TransferLeadership(t.Context(), follower))
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, leader := c.follower(t)
		_, err := c.drivers[follower].Progress(t.Context())
		require.Equal(t, core.NotLeader, err)
		c.setDrop(func(m *Message) bool { return m.GetFrom() == uint64(follower) })
		<-time.After(3 * defaultElectionTimeout)
		o := <-propose(t, c.drivers[leader], "x", never)
		require.NoError(t, o.err)
		synctest.Wait()
		all, err := c.drivers[leader].Progress(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 3)
		for i, p := range all {
			require.EqualValues(t, i+1, p.ID)
			require.Equal(t, p.ID != follower, p.Active, "member %d", p.ID)
			require.Equal(t, p.ID != follower, p.Match == uint64(o.result.Rev), "member %d", p.ID)
			require.False(t, p.Learner || p.Installing)
		}
	})
}

// change proposes a change of the members and waits for it.
func change(t *testing.T, d *Driver, kind ChangeKind, id core.MemberID) {
	t.Helper()
	require.NoError(t, tryChange(t, d, kind, id))
}

func tryChange(t *testing.T, d *Driver, kind ChangeKind, id core.MemberID) error {
	t.Helper()
	_, term, _, _ := d.Status()
	p := NewMembership([]byte("change"), MemberChange{kind, id}, term)
	require.NoError(t, d.Propose(p))
	_, err := p.Wait(t.Context())
	return err
}

// join starts a learner behind the last entry of another one, which is the only voter.
func (c *cluster) join(t *testing.T, id, from core.MemberID) {
	t.Helper()
	log := newMemLog()
	state := c.states[from]
	state.mu.Lock()
	last := state.entries[len(state.entries)-1]
	state.mu.Unlock()
	require.NoError(t, log.Reset(last.Index, last.Term))
	log.conf = &raftpb.ConfState{Voters: []uint64{uint64(from)}, Learners: []uint64{uint64(id)}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs[id], c.states[id] = log, &recorder{}
	c.drivers[id] = start(t, Config{ID: id, Log: log, Applied: last.Index, Applier: c.states[id], Send: c.send})
}

// A lone member gets a second one, which learns, then votes, and outlives the first. While
// there is another one, the first is no sole leader.
func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{drivers: map[core.MemberID]*Driver{}, logs: map[core.MemberID]*memLog{}, states: map[core.MemberID]*recorder{}}
		c.logs[1], c.states[1] = newMemLog(1), &recorder{}
		first := start(t, Config{ID: 1, Log: c.logs[1], Applier: c.states[1], Send: c.send})
		c.drivers[1] = first
		synctest.Wait()
		require.True(t, first.SoleLeader())

		change(t, first, AddLearner, 2)
		synctest.Wait()
		require.False(t, first.SoleLeader(), "a learner acknowledges, too")
		c.join(t, 2, 1)
		second := c.drivers[2]
		c.leader(t)
		require.NoError(t, (<-propose(t, second, "of the learner", never)).err)
		_, err := second.ReadIndex(t.Context())
		require.NoError(t, err)

		require.Equal(t, core.NotLeader, tryChange(t, second, AddVoter, 2))
		change(t, first, AddVoter, 2)
		synctest.Wait()
		all, err := first.Progress(t.Context())
		require.NoError(t, err)
		require.False(t, all[1].Learner)

		change(t, first, RemoveMember, 1)
		require.EqualValues(t, 2, c.leader(t, 1))
		<-time.After(time.Second)
		require.True(t, second.SoleLeader())
		require.False(t, first.SoleLeader())
		require.NoError(t, (<-propose(t, second, "alone", never)).err)
		p := NewProposal([]byte("of one removed"), time.Now().Add(time.Second))
		require.NoError(t, first.Propose(p))
		_, err = p.Wait(t.Context())
		require.Equal(t, core.NoLeader, err)
	})
}

// What the state machine refuses leaves raft's members as they are, and the next change
// can be made.
func TestRefusedChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, state := newMemLog(1), &recorder{refuse: func(c *Committed) bool { return c.Change.ID == 2 }}
		d := start(t, Config{ID: 1, Log: log, Applier: state})
		synctest.Wait()
		change(t, d, AddLearner, 2)
		synctest.Wait()
		require.True(t, d.SoleLeader())
		change(t, d, AddLearner, 3)
		synctest.Wait()
		all, err := d.Progress(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.EqualValues(t, 3, all[1].ID)
		require.True(t, all[1].Learner)
	})
}

// A member that lacks what no log holds any more fetches a state, again if that fails,
// and goes on behind it.
func TestStateIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		last := leader%3 + 1
		require.NoError(t, c.drivers[last].Stop())
		<-time.After(time.Second)
		var o outcome
		for i := range 10 {
			o = <-propose(t, c.drivers[leader], numbered(i), never)
			require.NoError(t, o.err)
		}
		<-time.After(time.Second)
		for id := range c.logs {
			if id != last {
				c.logs[id].truncate(uint64(o.result.Rev))
			}
		}
		asked := make(chan core.MemberID, 100)
		installed := make(chan Installed, 1)
		log, state := c.logs[last], &recorder{install: func(s Installed) error { installed <- s; return nil }}
		d := start(t, Config{
			ID: last, Log: log, Applier: state, Applied: log.now.base, Send: c.send,
			Fetch: func(from core.MemberID) { asked <- from },
		})
		c.mu.Lock()
		c.drivers[last], c.states[last] = d, state
		c.mu.Unlock()

		from := <-asked
		require.Equal(t, leader, from)
		require.Empty(t, installed)
		all, err := c.drivers[leader].Progress(t.Context())
		require.NoError(t, err)
		require.True(t, all[last-1].Installing)
		d.Fetched(Installed{From: from}, errors.New("the connection broke"))
		from = <-asked
		s := Installed{
			From: from, Index: uint64(o.result.Rev), Term: c.states[leader].entries[0].Term,
			Voters: []core.MemberID{1, 2, 3}, Dir: "somewhere",
		}
		d.Fetched(s, nil)
		require.Equal(t, s, <-installed)
		require.NoError(t, (<-propose(t, d, "after", never)).err)
		require.Equal(t, []string{"after"}, state.commands())
		require.Equal(t, s.Index, log.now.base)
		d.Fetched(s, nil) // what comes twice is of no use
		synctest.Wait()
		require.Empty(t, installed)
	})
}

// A state that cannot be installed ends the member, with its log as it was: without that, the
// state that is there would lack what lies between.
func TestInstallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		follower, leader := c.follower(t)
		base := c.logs[follower].now.base
		c.states[follower].install = func(Installed) error {
			<-time.After(time.Second) // it takes a while
			return errors.New("disk")
		}
		p := NewProposal([]byte("open"), never)
		c.setDrop(func(m *Message) bool { return m.GetType() == raftpb.MsgProp })
		require.NoError(t, c.drivers[follower].Propose(p))
		synctest.Wait()
		c.drivers[follower].Fetched(Installed{From: leader, Index: 100, Term: 2, Voters: []core.MemberID{1, 2, 3}}, nil)
		require.ErrorContains(t, <-c.drivers[follower].Failed(), "install the state of entry 100: disk")
		_, err := p.Wait(t.Context())
		require.Equal(t, core.LeaderChanged, err, "it may be in the state")
		require.ErrorContains(t, c.drivers[follower].Stop(), "disk")
		require.Equal(t, base, c.logs[follower].now.base)
	})
}
