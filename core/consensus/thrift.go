package consensus

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// Messages cost the members more than what is in them. What tells its receiver nothing is
// not sent, or not looked at at once. All of it may be lost on the way as well, and
// heartbeats make up for that: so none of this can do harm, but at worst cost a tick.

// ack is what a MsgAppResp confirms.
type ack struct{ to, term, index uint64 }

// unsaid are those of raft's responses that are not known already: raft answers each
// append, also one without entries that only moves the commit index on. A heartbeat has
// everything said again, for its sender may have missed it.
func (r *replica) unsaid(responses []*Message) []*Message {
	return slices.DeleteFunc(responses, func(m *Message) bool {
		if m.GetType() != raftpb.MsgAppResp || m.GetTo() == uint64(r.self) || m.GetReject() || m.GetIndex() == 0 {
			return false
		}
		a := ack{m.GetTo(), m.GetTerm(), m.GetIndex()}
		said := a == r.disk.acked
		r.disk.acked = a
		return said
	})
}

// sayAgain forgets what was said.
func (r *replica) sayAgain() { r.disk.acked = ack{} }

// thin takes out of a step's messages the appends without entries whose commit index
// another append of the step brings as well.
func (r *replica) thin() {
	messages := r.out.messages
	if !r.leads() || len(messages) < 2 {
		return
	}
	kept := messages[:0]
	for i, m := range messages {
		if !isBareAppend(m) || !slices.ContainsFunc(messages[i+1:], func(later *Message) bool { return covers(later, m) }) {
			kept = append(kept, m)
		}
	}
	clear(messages[len(kept):])
	r.out.messages = kept
}

func isBareAppend(m *Message) bool {
	return m.GetType() == raftpb.MsgApp && len(m.GetEntries()) == 0
}

// covers reports whether an append tells all that a bare one does.
func covers(later, bare *Message) bool {
	return later.GetType() == raftpb.MsgApp && later.GetTo() == bare.GetTo() && later.GetTerm() == bare.GetTerm() &&
		later.GetIndex() >= bare.GetIndex() && later.GetCommit() >= bare.GetCommit()
}

// appetite is what a replica has use for.
type appetite struct {
	// proposals are taken as soon as they come, see replica.hungry.
	proposals bool
	// Whoever confirms the entry full, of this leader's term, tells it nothing of use: it is
	// the last of the log, and committed. Zero is none.
	term, full uint64
}

// appetite is what there is use for until the next step.
func (r *replica) appetite() appetite {
	a := appetite{proposals: r.hungry()}
	if r.leads() && r.status.committed == r.disk.last && len(r.duties.handing) == 0 {
		a.term, a.full = r.status.term, r.disk.last
	}
	return a
}

// pressing reports whether a message is to be looked at at once.
func (a appetite) pressing(m *Message) bool {
	return a.full == 0 || m.GetType() != raftpb.MsgAppResp || m.GetReject() || m.GetTerm() != a.term || m.GetIndex() != a.full
}
