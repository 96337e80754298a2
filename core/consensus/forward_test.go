package consensus

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// forwarded is a message as a follower sends it.
func forwarded(from core.MemberID, incarnation, stream, number uint64, commands ...string) *Message {
	b := command.Batch{Member: from, Incarnation: incarnation, Sequence: number}
	for _, c := range commands {
		b.Commands = append(b.Commands, []byte(c))
	}
	o := outbound{number: stream, sent: number - 1}
	return &Message{
		Type: raftpb.MsgProp.Enum(), From: new(uint64(from)), Context: o.context(),
		Entries: []*raftpb.Entry{{Data: command.AppendEntry(nil, 0, []command.Batch{b})}},
	}
}

// taken are the first commands of what a relay holds.
func taken(l *relay) (all string) {
	for _, in := range l.queue {
		all += string(in.Commands[0])
	}
	return all
}

// What is late, doubled, behind a gap, or of an older stream is not taken. A new stream
// makes the leader drop what waits of the old one, as its member has given it up.
func TestRelayTakesEachOnceAndInOrder(t *testing.T) {
	var l relay
	for _, c := range []struct {
		incarnation, stream, number uint64
		command, holds              string
	}{
		{1, 1, 2, "a", ""}, // its first message is lost
		{1, 1, 1, "b", "b"},
		{1, 1, 1, "c", "b"},
		{1, 1, 3, "d", "b"},
		{1, 1, 2, "e", "be"},
		{1, 3, 2, "f", "be"},
		{1, 3, 1, "g", "g"},
		{1, 2, 1, "h", "g"},
		{1, 1, 3, "i", "g"},
		{1, 3, 2, "j", "gj"},
		{2, 1, 1, "k", "k"},  // the member has started again
		{1, 3, 3, "l", "kl"}, // a late message of its former life
		{1, 3, 2, "m", "kl"},
		{2, 1, 2, "n", "kln"},
	} {
		err := l.take(forwarded(2, c.incarnation, c.stream, c.number, c.command))
		if strings.HasSuffix(c.holds, c.command) {
			require.NoError(t, err, c.command)
		} else {
			require.Equal(t, errOutOfTurn, err, c.command)
		}
		require.Equal(t, c.holds, taken(&l), c.command)
	}
	require.NoError(t, l.take(forwarded(3, 1, 1, 1, "o")))
	require.Equal(t, "klno", taken(&l))
	l.reset()
	require.Empty(t, taken(&l))
}

// An entry has one batch of an incarnation, so that its answers find their way.
func TestRelayPicksOneBatchOfEach(t *testing.T) {
	var l relay
	for i, m := range []struct{ from, number uint64 }{{2, 1}, {2, 2}, {3, 1}, {2, 3}, {4, 1}} {
		require.NoError(t, l.take(forwarded(core.MemberID(m.from), 1, 1, m.number, numbered(i))))
	}
	picked := func() (all []string) {
		batches, _ := l.pick(nil, maxEntryBytes, true)
		for _, b := range batches {
			all = append(all, string(b.Commands[0]))
		}
		l.drop()
		return all
	}
	require.Equal(t, []string{numbered(0), numbered(2), numbered(4)}, picked())
	require.Equal(t, []string{numbered(1)}, picked())
	require.Equal(t, []string{numbered(3)}, picked())
	require.Empty(t, picked())
	require.Zero(t, l.bytes[2])
}

// A member that does not keep to its window is not served beyond it.
func TestRelayIsBounded(t *testing.T) {
	var l relay
	large := strings.Repeat("x", maxForwardBytes/2)
	require.NoError(t, l.take(forwarded(2, 1, 1, 1, large+large)), "one may be larger")
	require.ErrorContains(t, l.take(forwarded(2, 1, 1, 2, "x")), "of the member wait")
	require.NoError(t, l.take(forwarded(3, 1, 1, 1, large)))
	require.ErrorContains(t, l.take(forwarded(3, 1, 1, 2, large)), "of the member wait")
	require.NoError(t, l.take(forwarded(3, 1, 1, 2, "x")))

	for i := range uint64(maxStreams) {
		require.NoError(t, l.take(forwarded(4, 1+i, 1, 1, "x")))
	}
	require.Len(t, l.streams, maxStreams)
	require.Equal(t, errOutOfTurn, l.take(forwarded(4, maxStreams, 1, 1, "x")))
}

func TestRelayRefuses(t *testing.T) {
	message := func(change func(m *Message)) *Message {
		m := forwarded(2, 1, 1, 1, "a")
		change(m)
		return m
	}
	frame := func(batches ...command.Batch) func(m *Message) {
		return func(m *Message) { m.Entries[0].Data = command.AppendEntry(nil, 0, batches) }
	}
	one := command.Batch{Member: 2, Incarnation: 1, Sequence: 1, Commands: [][]byte{[]byte("a")}}
	for want, change := range map[string]func(m *Message){
		"a version that this one does not know": func(m *Message) { m.Context[0] = 2 },
		"of a version":                          func(m *Message) { m.Context = m.Context[:16] },
		"with 0 entries":                        func(m *Message) { m.Entries = nil },
		"with 2 entries":                        func(m *Message) { m.Entries = append(m.Entries, m.Entries[0]) },
		"of type EntryConfChangeV2":             func(m *Message) { m.Entries[0].Type = raftpb.EntryConfChangeV2.Enum() },
		"of type EntryConfChange":               func(m *Message) { m.Entries[0] = changeEntry(MemberChange{AddVoter, 4}, m.Entries[0].GetData()) },
		"malformed command":                     func(m *Message) { m.Entries[0].Data = []byte("x") },
		"with 0 batches":                        frame(),
		"with 2 batches":                        frame(one, one),
		"with 1 batches":                        frame(command.Batch{Member: 2, Incarnation: 1}),
		"a batch of member 3":                   func(m *Message) { m.From = new(uint64(2)); *m = *forwarded(3, 1, 1, 1, "a"); m.From = new(uint64(2)) },
		"a batch of member 2":                   frame(command.Batch{Member: 2, Commands: one.Commands}),
	} {
		var l relay
		require.ErrorContains(t, l.take(message(change)), want)
		require.Empty(t, l.queue)
	}
}

// Neither the leader's own clients nor the followers' keep the others out, however large
// what they propose is.
func TestEntriesAreShared(t *testing.T) {
	large := strings.Repeat("x", maxEntryBytes)
	for name, c := range map[string]struct{ own, relayed string }{
		"small":         {"own", "relayed"},
		"large own":     {large, "relayed"},
		"large relayed": {"own", large},
		"large":         {large, large},
	} {
		r := &replica{self: 1, proposer: proposer{member: 1, incarnation: 1, timeout: time.Hour}}
		for i := range uint64(4) {
			r.proposer.add(time.Now(), []*Proposal{NewProposal([]byte(c.own), never)})
			require.NoError(t, r.relay.take(forwarded(core.MemberID(2+i), 1, 1, 1, c.relayed)))
		}
		var own, relayed int
		for range 4 {
			b, taken := r.share(true)
			r.proposer.drop(taken)
			r.relay.drop()
			own += len(b.proposals)
			relayed += len(r.proposer.batches)
			size := 0
			if len(b.proposals) > 0 {
				r.proposer.batches = append(r.proposer.batches, r.proposer.encoded(&b))
			}
			data := command.AppendEntry(nil, 0, r.proposer.batches)
			size = len(data)
			require.True(t, size <= maxEntryBytes+entryOverhead || bytes.Count(data, []byte("x")) == maxEntryBytes, name)
		}
		require.GreaterOrEqual(t, own, 2, name)
		require.GreaterOrEqual(t, relayed, 2, name)
	}
}

// newFollower makes a replica that follows member 2 in term 2.
func newFollower(t *testing.T, at time.Time) *replica {
	t.Helper()
	config := Config{ID: 1, Log: newMemLog(1, 2, 3), Applied: 1, Applier: noApplier{}, Logger: quiet()}.withDefaults()
	r, err := newReplica(&config)
	require.NoError(t, err)
	heartbeat := &Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2))}
	out, err := r.step(at, &inputs{messages: []*Message{heartbeat}})
	require.NoError(t, err)
	require.Equal(t, core.MemberID(2), out.status.leader)
	return r
}

// What one member forwards to another that does not lead is not kept.
func TestFollowersTakeNothing(t *testing.T) {
	r := newFollower(t, time.UnixMilli(0))
	m := forwarded(3, 1, 1, 1, "a")
	m.To, m.Term = new(uint64(1)), new(uint64(2))
	_, err := r.step(time.UnixMilli(1), &inputs{messages: []*Message{m}})
	require.NoError(t, err)
	require.Empty(t, r.relay.queue)
}

// A question of a member that takes this one for the leader goes no further: raft would
// hand it on to the leader in that member's name, in which nobody else may speak. Its
// member asks anew once it knows who leads.
func TestQuestionsOfOthersAreNotHandedOn(t *testing.T) {
	r := newFollower(t, time.UnixMilli(0))
	asked := &Message{
		Type: raftpb.MsgReadIndex.Enum(), From: new(uint64(3)), To: new(uint64(1)),
		Entries: []*raftpb.Entry{{Data: []byte("question")}},
	}
	out, err := r.step(time.UnixMilli(1), &inputs{messages: []*Message{asked}})
	require.NoError(t, err)
	require.Empty(t, out.messages)
	r.disk.holding = true
	_, err = r.step(time.UnixMilli(2), &inputs{messages: []*Message{asked}})
	require.NoError(t, err)
	require.Empty(t, r.disk.held)
}

// As long as there is no way to the leader, what is proposed waits, in order.
func TestNothingIsForwardedWithoutAWay(t *testing.T) {
	now := time.UnixMilli(0)
	r := newFollower(t, now)
	forwardedBy := func(in *inputs) (commands []string) {
		out, err := r.step(now, in)
		require.NoError(t, err)
		for _, m := range out.messages {
			if m.GetType() == raftpb.MsgProp {
				in, err := readForward(m)
				require.NoError(t, err)
				for _, c := range in.Commands {
					commands = append(commands, string(c))
				}
			}
		}
		return commands
	}
	proposal := func(command string) []*Proposal { return []*Proposal{NewProposal([]byte(command), never)} }
	require.Equal(t, []string{"a"}, forwardedBy(&inputs{proposals: proposal("a")}))
	require.Empty(t, forwardedBy(&inputs{events: []event{connected{2, false}, disconnected(2)}, proposals: proposal("b")}))
	require.Empty(t, forwardedBy(&inputs{events: []event{connected{3, true}}, proposals: proposal("c")}))
	require.False(t, r.hungry())
	require.Equal(t, []string{"b", "c"}, forwardedBy(&inputs{events: []event{connected{2, true}}}))
}

// What does not fit into the window waits, or the leader would not take it; but one that
// is larger than the window is sent when nothing else is under way.
func TestLargeForwardsWait(t *testing.T) {
	now := time.UnixMilli(0)
	r := newFollower(t, now)
	in := inputs{}
	for _, size := range []int{maxForwardBytes * 3 / 4, maxForwardBytes / 2, maxForwardBytes + 1} {
		in.proposals = append(in.proposals, NewProposal(make([]byte, size), never))
	}
	for sent := 1; sent <= len(in.proposals); sent++ {
		out, err := r.step(now, &in)
		require.NoError(t, err)
		forwards := 0
		for _, m := range out.messages {
			if m.GetType() == raftpb.MsgProp {
				forwards++
			}
		}
		require.Equal(t, 1, forwards)
		require.Len(t, r.proposer.outstanding, 1)
		r.proposer.outstanding = nil // it is committed
		in = inputs{}
	}
}
