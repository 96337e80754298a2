package consensus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// simCluster is what the state machines of all members hold, as far as one of them has
// applied it.
type simCluster struct {
	order   []Committed // by index: what every member must apply
	confs   []simConf   // by index: the members then
	leaders map[uint64]core.MemberID
	lanes   map[string]int // how many of a lane are applied
	sent    map[simBatch]uint64
	judged  map[string]uint64 // the terms of changes of members, by their commands
}

// simBatch is a batch that was forwarded, in the term that simCluster.sent tells.
type simBatch struct {
	member                core.MemberID
	incarnation, sequence uint64
}

// simConf is the members that a state knows.
type simConf struct{ voters, learners, removed []uint64 }

// newSimCluster begins at index 1, as a new log does.
func newSimCluster(voters []uint64) simCluster {
	first := simConf{voters: voters}
	return simCluster{
		order: make([]Committed, 2), confs: []simConf{first, first},
		leaders: map[uint64]core.MemberID{}, lanes: map[string]int{}, sent: map[simBatch]uint64{}, judged: map[string]uint64{},
	}
}

func (c *simCluster) last() uint64 { return uint64(len(c.order) - 1) }

// conf is the newest members.
func (c *simCluster) conf() simConf { return c.confs[c.last()] }

// gone reports whether a member was removed.
func (c *simCluster) gone(id core.MemberID) bool {
	return slices.Contains(c.conf().removed, uint64(id))
}

func (c simConf) member(id core.MemberID) bool {
	return slices.Contains(c.voters, uint64(id)) || slices.Contains(c.learners, uint64(id))
}

func (c simConf) state() *raftpb.ConfState {
	return &raftpb.ConfState{Voters: slices.Clone(c.voters), Learners: slices.Clone(c.learners)}
}

var errRefused = errors.New("refused")

// change is the state machine's judgement: the members after a change, and whether it is
// refused.
func (c simConf) change(m MemberChange) (simConf, bool) {
	id := uint64(m.ID)
	voter, learner := slices.Contains(c.voters, id), slices.Contains(c.learners, id)
	without := func(ids []uint64) []uint64 {
		return slices.DeleteFunc(slices.Clone(ids), func(i uint64) bool { return i == id })
	}
	switch {
	case slices.Contains(c.removed, id):
		return c, true
	case m.Kind == AddVoter && !voter:
		return simConf{append(slices.Clone(c.voters), id), without(c.learners), c.removed}, false
	case m.Kind == AddLearner && !voter && !learner:
		return simConf{c.voters, append(slices.Clone(c.learners), id), c.removed}, false
	case m.Kind == RemoveMember && (learner || voter && len(c.voters) > 1):
		return simConf{without(c.voters), without(c.learners), append(slices.Clone(c.removed), id)}, false
	}
	return c, true
}

// send notes in which term a batch is forwarded.
func (s *sim) send(m *Message) {
	if m.GetType() != raftpb.MsgProp {
		return
	}
	in, err := readForward(m)
	require.NoError(s.t, err, "seed %d", s.seed)
	b := simBatch{in.Member, in.Incarnation, in.Sequence}
	require.Zero(s.t, s.sent[b], "seed %d: %v is sent twice", s.seed, b)
	s.sent[b] = m.GetTerm()
}

// first takes in an entry that no member has applied before: a lane's commands are
// applied in their order, and none is left out; what was forwarded was appended in the
// term that it was forwarded in, and a change of members in that in which it was judged.
func (s *sim) first(c Committed) {
	conf := s.conf()
	if c.Change.Kind != NoChange {
		conf, c.Refused = conf.change(c.Change)
		if !c.Refused {
			s.counts["changed"]++
		}
		require.Equal(s.t, s.judged[string(c.Entry.Batches[0].Commands[0])], c.Term, "seed %d: judged in another term", s.seed)
	}
	s.order = append(s.order, c)
	s.confs = append(s.confs, conf)
	for _, b := range c.Entry.Batches {
		if term, ok := s.sent[simBatch{b.Member, b.Incarnation, b.Sequence}]; ok {
			require.Equal(s.t, term, c.Term, "seed %d: forwarded in another term", s.seed)
		}
		for _, command := range b.Commands {
			var lane string
			var n int
			if _, err := fmt.Sscanf(string(command), "%s %d", &lane, &n); err == nil && lane[0] == 'L' {
				require.Equal(s.t, s.simCluster.lanes[lane]+1, n, "seed %d: lane %s", s.seed, lane)
				s.simCluster.lanes[lane] = n
			}
		}
		if len(c.Entry.Batches) > 1 {
			s.counts["shared"]++
		}
	}
	if c.Change.Kind == AddVoter || c.Change.Kind == AddLearner {
		if !c.Refused && int(c.Change.ID) == len(s.nodes)+1 {
			s.nodes = append(s.nodes, &simNode{s: s, id: c.Change.ID, simPeer: simPeer{joins: c.Index}})
		}
	}
}

// join gives a new member a state and a log behind it, of one that knows it.
func (n *simNode) join() bool {
	from := n.s.any()
	if from.r == nil || from.applied < n.joins || from == n {
		return false
	}
	n.log = newMemLog()
	n.applied, n.flushed = from.applied, from.applied
	_ = n.log.Reset(n.flushed, n.s.order[n.flushed].Term) // it never fails
	n.joins = 0
	return true
}

// proposeChange proposes one of the changes that make sense, or one that does not: mostly
// through the leader, the only one that can.
func (n *simNode) proposeChange() {
	if l := n.s.leader(); l != nil && n.s.chance(80) {
		n = l
	}
	if n.r == nil {
		return
	}
	s, conf := n.s, n.s.conf()
	next := uint64(len(s.nodes) + 1)
	c := MemberChange{Kind: RemoveMember, ID: s.any().id}
	switch p := s.rng.IntN(10); {
	case p < 4 && len(conf.voters)+len(conf.learners) < simMembers:
		c = MemberChange{Kind: AddLearner, ID: core.MemberID(next)}
	case p < 5 && len(conf.voters)+len(conf.learners) < simMembers:
		c = MemberChange{Kind: AddVoter, ID: core.MemberID(next)}
	case p < 8 && len(conf.learners) > 0:
		c = MemberChange{Kind: AddVoter, ID: core.MemberID(conf.learners[s.rng.IntN(len(conf.learners))])}
	case p == 8:
		c = MemberChange{Kind: AddLearner, ID: s.any().id}
	}
	id := fmt.Sprintf("change %d", s.proposed)
	s.judged[id] = n.r.status.term
	n.submit(&Proposal{change: c, term: n.r.status.term}, id)
}

// handOver asks the member to give leadership to another one.
func (n *simNode) handOver() {
	if l := n.s.leader(); l != nil {
		n = l
	}
	if n.r == nil {
		return
	}
	t := &transfer{done: make(chan error, 1)}
	if n.s.chance(50) {
		t.to = n.s.any().id
	}
	n.transfers = append(n.transfers, t)
	n.s.transfers = append(n.s.transfers, t)
	n.in.events = append(n.in.events, t)
	n.maybeStep()
}

// truncate lets entries of the log go that the state machine's durable state holds.
func (n *simNode) truncate() {
	if n.r == nil {
		return
	}
	n.flushed += uint64(n.s.rng.IntN(int(n.applied-n.flushed) + 1))
	// A state that was just installed is ahead of the log.
	if base, upTo := n.log.now.base, min(n.flushed, n.log.now.last()); upTo > base {
		n.log.truncate(base + 1 + uint64(n.s.rng.IntN(int(upTo-base))))
	}
}

// fetch ends the member's fetch, if there is one.
func (n *simNode) fetch(faults bool) {
	if n.fetching == 0 {
		return
	}
	from := n.s.nodes[n.fetching-1]
	f := fetched{state: Installed{From: from.id}}
	if from.r == nil || n.s.network.cut(from, n) || faults && n.s.chance(20) {
		f.err = errors.New("the connection broke")
	} else {
		f.state.Index, f.state.Term = from.applied, n.s.order[from.applied].Term
		for _, id := range n.s.confs[from.applied].voters {
			f.state.Voters = append(f.state.Voters, core.MemberID(id))
		}
		for _, id := range n.s.confs[from.applied].learners {
			f.state.Learners = append(f.state.Learners, core.MemberID(id))
		}
	}
	n.fetching = 0
	n.arriving = append(n.arriving, f)
	n.arrive()
}

// arrive hands over a state that was fetched some time ago.
func (n *simNode) arrive() {
	if len(n.arriving) == 0 || n.s.chance(50) {
		return
	}
	n.in.events = append(n.in.events, n.arriving[0])
	n.arriving = n.arriving[1:]
	n.maybeStep()
}

// hearGone tells the member, and sometimes the others, that the leader is gone, or anybody
// else: whether or not it is.
func (n *simNode) hearGone() {
	if n.r == nil {
		return
	}
	about := n.r.status.leader
	if about == 0 || n.s.chance(20) {
		about = n.s.any().id
	}
	everybody := n.s.chance(50)
	for _, m := range n.s.nodes {
		if m.r == nil || m != n && !everybody {
			continue
		}
		if m.r.status.leader == about && m != n.s.nodes[about-1] {
			n.s.counts["succession"]++
		}
		m.in.events = append(m.in.events, gone(about))
		m.maybeStep()
	}
}
