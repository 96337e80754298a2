package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
)

// A write of a lone client of three members is six messages: the entry to each of the
// others, what each confirms, and to each that it is committed.
func TestMessagesOfALoneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		var sent []string
		c.setDrop(func(m *Message) bool {
			switch m.GetType() {
			case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
			default:
				sent = append(sent, m.GetType().String())
			}
			return false
		})
		for i := range 5 {
			require.NoError(t, (<-propose(t, c.drivers[leader], numbered(i), never)).err)
			synctest.Wait()
		}
		c.setDrop(nil)
		require.Len(t, sent, 5*6)
		for _, s := range c.states {
			require.Len(t, s.commands(), 5)
		}
	})
}

// What a follower has confirmed it confirms again behind a heartbeat, or a broken
// connection, if it is asked: what it has said may be lost.
func TestConfirmationsAreSaidAgain(t *testing.T) {
	r := &replica{self: 1}
	response := func(index uint64) *Message {
		return &Message{Type: raftpb.MsgAppResp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(3)), Index: &index}
	}
	said := func(m *Message) bool { return len(r.unsaid([]*Message{m})) == 1 }
	require.True(t, said(response(5)))
	require.False(t, said(response(5)))
	require.True(t, said(response(6)))
	require.True(t, said(response(5)), "another one in between")

	rejects := response(5)
	rejects.Reject = new(true)
	require.True(t, said(rejects))
	local := response(5)
	local.To = new(uint64(1))
	require.True(t, said(local), "this member waits for it itself")
	later := response(5)
	later.Term = new(uint64(4))
	require.True(t, said(later))
	for range 2 {
		require.True(t, said(response(0)), "it confirms nothing, and shows a term")
	}

	require.True(t, said(response(7)))
	disconnected(2).happen(r)
	require.True(t, said(response(7)))
	require.False(t, said(response(7)))
}

// A leader that missed a confirmation, and has no more to send, hears it again.
func TestLostConfirmationIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		c.setDrop(func(m *Message) bool { return m.GetType() == raftpb.MsgAppResp })
		written := propose(t, c.drivers[leader], "x", never)
		synctest.Wait()
		require.Empty(t, written)
		c.setDrop(nil)
		o := <-written
		require.NoError(t, o.err)
		require.LessOrEqual(t, o.after, 3*defaultTickInterval)
	})
}

func TestThin(t *testing.T) {
	message := func(to, index, commit uint64, entries ...*raftpb.Entry) *Message {
		return &Message{Type: raftpb.MsgApp.Enum(), To: &to, Term: new(uint64(2)), Index: &index, Commit: &commit, Entries: entries}
	}
	bare, full := message(2, 5, 5), message(2, 5, 5, &raftpb.Entry{})
	for name, c := range map[string]struct {
		messages []*Message
		kept     int
	}{
		"covered":               {[]*Message{bare, full}, 1},
		"twice the same":        {[]*Message{bare, bare}, 1},
		"of another":            {[]*Message{message(3, 5, 5), full}, 2},
		"after":                 {[]*Message{full, bare}, 2},
		"commits more":          {[]*Message{message(2, 5, 6), full}, 2},
		"begins later":          {[]*Message{message(2, 6, 5), full}, 2},
		"is no append":          {[]*Message{bare, {Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(2)), Term: new(uint64(2)), Commit: new(uint64(9))}}, 2},
		"both have entries":     {[]*Message{full, full}, 2},
		"of an earlier term":    {[]*Message{{Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), Term: new(uint64(1))}, full}, 2},
		"others are in between": {[]*Message{bare, message(3, 5, 5), full, message(3, 5, 5, &raftpb.Entry{})}, 2},
	} {
		r := &replica{self: 1, status: status{leader: 1}}
		r.out.messages = c.messages
		r.thin()
		require.Len(t, r.out.messages, c.kept, name)
	}
}

// A confirmation that tells a leader nothing wakes nobody; the next step takes it in.
func TestIdleConfirmations(t *testing.T) {
	log := newMemLog(1)
	c := Config{ID: 1, Log: log, Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&c)
	require.NoError(t, err)
	r.status = status{leader: 1, term: 2, committed: 7}
	r.disk.last = 7
	a := r.appetite()
	require.EqualValues(t, 7, a.full)
	confirms := func(term, index uint64) *Message {
		return &Message{Type: raftpb.MsgAppResp.Enum(), Term: &term, Index: &index}
	}
	require.False(t, a.pressing(confirms(2, 7)))
	require.True(t, a.pressing(confirms(2, 6)), "there is more to send to it")
	require.True(t, a.pressing(confirms(3, 7)))
	rejects := confirms(2, 7)
	rejects.Reject = new(true)
	require.True(t, a.pressing(rejects))
	require.True(t, a.pressing(&Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(uint64(2)), Index: new(uint64(7))}))

	r.disk.last = 8
	require.True(t, r.appetite().pressing(confirms(2, 8)), "it is to be committed")
	r.disk.last = 7
	r.duties.handing = []*transfer{{}}
	require.True(t, r.appetite().pressing(confirms(2, 7)), "leadership goes to who has all")
	r.duties.handing, r.status.leader = nil, 2
	require.True(t, r.appetite().pressing(confirms(2, 7)))

	calls := 0
	m := newMailbox(1, func() { calls++ })
	require.False(t, m.settle(0, a))
	m.receive(confirms(2, 7), 10)
	require.Zero(t, calls)
	require.False(t, m.settle(0, a))
	m.receive(confirms(2, 8), 10)
	require.Equal(t, 1, calls)
	var in inputs
	require.True(t, m.take(&in))
	require.Len(t, in.messages, 2)
}

// The last of the confirmations of a write is heard at the next tick at the latest.
func TestIdleConfirmationsAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startCluster(t)
		leader := c.leader(t)
		require.NoError(t, (<-propose(t, c.drivers[leader], "x", never)).err)
		<-time.After(2 * defaultTickInterval)
		all, err := c.drivers[leader].Progress(t.Context())
		require.NoError(t, err)
		for _, p := range all {
			require.EqualValues(t, 3, p.Match, p.ID)
		}
	})
}
