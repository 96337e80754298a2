package consensus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// TestLeaderChanged cuts a leader off after it has sent an entry to others, who
// then elect one of themselves. Whether or not the entry lives on, its client
// hears LeaderChanged, and hears it once.
func TestLeaderChanged(t *testing.T) {
	for _, sent := range []bool{true, false} {
		t.Run(fmt.Sprintf("sent=%v", sent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := startCluster(t)
				old := c.leader(t)
				require.NoError(t, (<-propose(t, c.drivers[old], "before", never)).err)
				c.setDrop(func(m *Message) bool { // nothing reaches the leader any more
					return m.GetTo() == uint64(old) || !sent && m.GetFrom() == uint64(old)
				})
				p := NewProposal([]byte("open"), never)
				require.NoError(t, c.drivers[old].Propose(p))
				synctest.Wait()
				c.setDrop(func(m *Message) bool { return m.GetTo() == uint64(old) || m.GetFrom() == uint64(old) })
				now := c.leader(t, old)
				require.NotEqual(t, old, now)
				require.NoError(t, (<-propose(t, c.drivers[now], "after", never)).err)
				require.False(t, p.Done(), "the old leader cannot know")

				c.setDrop(nil)
				_, err := p.Wait(t.Context())
				require.Equal(t, core.LeaderChanged, err)
				p.state.Store(waiting) // a second outcome would be noticed below
				require.Equal(t, now, c.leader(t))
				want := []string{"before", "after"}
				if sent {
					want = []string{"before", "open", "after"}
				}
				for id, s := range c.states {
					require.Equal(t, want, s.commands(), "member %d", id)
				}
				require.False(t, p.Done(), "it was told twice")
				for _, e := range c.states[old].entries {
					if len(e.Data) > 0 && string(e.Entry.Batches[0].Commands[0]) == "open" {
						require.Nil(t, e.Local)
					}
				}
			})
		})
	}
}

// What is queued when the leader loses its place stays queued until it leads
// again, or until its deadline.
func TestQueueOutlivesLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		old := c.leader(t)
		c.setDrop(func(*Message) bool { return true })
		for leader := old; leader == old; leader, _, _, _ = c.drivers[old].Status() {
			<-time.After(100 * time.Millisecond) // until it notices that it has no quorum
		}
		waiting := propose(t, c.drivers[old], "x", never)
		_, err := c.drivers[old].ReadIndex(t.Context())
		require.Equal(t, core.NoLeader, err)
		c.setDrop(nil)
		leader := c.leader(t)
		for leader != old { // elections until it is its turn
			c.setDrop(func(m *Message) bool { return m.GetFrom() == uint64(leader) || m.GetTo() == uint64(leader) })
			leader = c.leader(t, leader)
			c.setDrop(nil)
		}
		require.NoError(t, (<-waiting).err)
	})
}

func TestReadIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		o := <-propose(t, c.drivers[leader], "x", never)
		require.NoError(t, o.err)
		for id, d := range c.drivers {
			index, err := d.ReadIndex(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, index, uint64(o.result.Rev), "member %d", id)
			require.False(t, d.SoleLeader())
		}
	})
}

// All readers that come while one question is under way share the next, and a
// question that is lost is asked again.
func TestReadsShareQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		follower := leader%3 + 1
		questions := 0
		lose := true
		c.setDrop(func(m *Message) bool {
			if m.GetType() == raftpb.MsgReadIndex {
				questions++
				return lose
			}
			return false
		})
		var answered sync.WaitGroup
		read := func() {
			answered.Go(func() {
				_, err := c.drivers[follower].ReadIndex(t.Context())
				require.NoError(t, err)
			})
		}
		read()
		synctest.Wait()
		require.Equal(t, 1, questions)
		for range 100 {
			read()
		}
		synctest.Wait()
		require.Equal(t, 1, questions, "one question at a time")
		c.mu.Lock()
		lose = false
		c.mu.Unlock()
		begun := time.Now()
		answered.Wait()
		require.LessOrEqual(t, time.Since(begun), defaultElectionTimeout)
		require.Equal(t, 3, questions, "the first again, and one for the others")
	})
}

func TestReadIndexOfLoneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(1)
		release := hold(log)
		d := start(t, Config{ID: 1, Log: log, Applier: &recorder{}})
		got := make(chan uint64, 1)
		go func() {
			index, err := d.ReadIndex(context.Background())
			require.NoError(t, err)
			got <- index
		}()
		ended, cancel := context.WithTimeoutCause(t.Context(), time.Second, context.DeadlineExceeded)
		defer cancel()
		_, err := d.ReadIndex(ended)
		require.ErrorIs(t, err, core.Deadline, "no entry of its own term is committed")
		release()
		require.EqualValues(t, 2, <-got, "the entry with which the term begins")
	})
}

func TestOnLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type told struct {
			leader core.MemberID
			term   uint64
			self   bool
		}
		var mu sync.Mutex
		var all []told
		var d *Driver
		proposed := NewProposal([]byte("by the callback"), never)
		log, state := newMemLog(1), &recorder{}
		release := hold(log)
		d = start(t, Config{ID: 1, Log: log, Applier: state, OnLeadership: func(leader core.MemberID, term uint64, self bool) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, told{leader, term, self})
			if self {
				require.Len(t, state.entries, 1, "the term's first entry is applied by then")
				require.NoError(t, d.Propose(proposed))
			}
		}})
		release()
		_, err := proposed.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, []told{{0, 2, false}, {1, 2, true}}, all)
	})
}
