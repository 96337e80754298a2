package consensus

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// members is who takes part, as of what this member has applied.
type members struct {
	self             uint64
	voters, learners []uint64
	// removed are those that were removed since this member started.
	removed map[uint64]struct{}
	// changing says that this leader has proposed a change that is not applied.
	changing bool
	// newest is the last entry of the log that changes the members; its index is zero if
	// those that do were known to be committed at the start.
	newest  logged
	leaving farewell
	// soleFrom is the commit index at which the last of the others went. One that did
	// not know yet may have acknowledged what is committed up to there.
	soleFrom uint64
}

// logged is a change of the members in the log.
type logged struct {
	index  uint64
	change MemberChange
}

// find looks for a change in entries that are appended.
func (l *logged) find(entries []*raftpb.Entry) {
	for _, e := range entries {
		if e.GetType() == raftpb.EntryConfChange {
			l.index = e.GetIndex()
			l.change, _, _ = readChange(e.GetData()) // what is not ours ends the member when it is applied
		}
	}
}

func newMembers(self core.MemberID, at *logState) members {
	m := members{self: uint64(self), removed: map[uint64]struct{}{}, newest: at.changed}
	m.set(at.conf)
	return m
}

// set takes over another configuration.
func (m *members) set(conf *raftpb.ConfState) {
	was := slices.Concat(m.voters, m.learners)
	m.voters, m.learners = slices.Clone(conf.GetVoters()), slices.Clone(conf.GetLearners())
	for _, id := range was {
		if id != m.self && !m.peer(id) {
			m.removed[id] = struct{}{}
		}
	}
}

// peer reports whether id is another member.
func (m *members) peer(id uint64) bool {
	return id != m.self && (slices.Contains(m.voters, id) || slices.Contains(m.learners, id))
}

func (m *members) votes(id uint64) bool { return slices.Contains(m.voters, id) }

// soleVoter reports whether this member decides by itself.
func (m *members) soleVoter() bool { return len(m.voters) == 1 && m.voters[0] == m.self }

// alone reports whether there is nobody else: a learner acknowledges what it has
// forwarded and applied, possibly before the leader has applied it.
func (m *members) alone() bool { return m.soleVoter() && len(m.learners) == 0 }

// gone reports whether id was a member and is none any more.
func (m *members) gone(id uint64) bool {
	_, ok := m.removed[id]
	return ok
}

// changed takes in that an entry which changes the members has been applied.
func (r *replica) changed(c *Committed) {
	if c.Term == r.status.term {
		r.members.changing = false
	}
	if c.Refused {
		return
	}
	others := !r.members.alone()
	r.members.set(r.rn.ApplyConfChange(c.Change.confChange(nil)))
	if others && r.members.alone() {
		r.members.soleFrom = r.rn.BasicStatus().GetCommit()
	}
	r.log.Info("members changed", "voters", memberNames(r.members.voters), "learners", memberNames(r.members.learners))
}

// memberNames is memberName of several.
func memberNames(ids []uint64) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = memberName(core.MemberID(id))
	}
	return names
}

// confChange is a change as raft wants it.
func (c MemberChange) confChange(frame []byte) *raftpb.ConfChange {
	var kind raftpb.ConfChangeType
	switch c.Kind {
	case AddLearner:
		kind = raftpb.ConfChangeAddLearnerNode
	case RemoveMember:
		kind = raftpb.ConfChangeRemoveNode
	default:
		kind = raftpb.ConfChangeAddNode
	}
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: new(uint64(c.ID)), Context: frame}
}

// memberChange is the reverse of confChange; its kind is NoChange if cc is none of ours.
func memberChange(cc *raftpb.ConfChange) MemberChange {
	c := MemberChange{ID: core.MemberID(cc.GetNodeId())}
	if c.ID == 0 {
		return c
	}
	switch cc.GetType() {
	case raftpb.ConfChangeAddNode:
		c.Kind = AddVoter
	case raftpb.ConfChangeAddLearnerNode:
		c.Kind = AddLearner
	case raftpb.ConfChangeRemoveNode:
		c.Kind = RemoveMember
	default: // NoChange
	}
	return c
}

// changeEntry is the entry of a change of members.
func changeEntry(change MemberChange, frame []byte) *raftpb.Entry {
	data, err := proto.Marshal(change.confChange(frame))
	if err != nil {
		panic(err) // it has no text
	}
	return &raftpb.Entry{Type: raftpb.EntryConfChange.Enum(), Data: data}
}

// readChange takes apart what changeEntry made.
func readChange(data []byte) (MemberChange, []byte, error) {
	var cc raftpb.ConfChange
	if err := proto.Unmarshal(data, &cc); err != nil {
		return MemberChange{}, nil, fmt.Errorf("change of members: %w", err)
	}
	change := memberChange(&cc)
	if change.Kind == NoChange || len(cc.GetContext()) == 0 {
		return change, nil, fmt.Errorf("change of members: it is none of ours: %v of %x", cc.GetType(), cc.GetNodeId())
	}
	return change, cc.GetContext(), nil
}
