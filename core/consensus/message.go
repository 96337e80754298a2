package consensus

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
)

// maxTermsAhead bounds how far a peer can be ahead: terms that run out make raft panic. It
// is more elections than there can be in a hundred years.
const maxTermsAhead = 1 << 40

// receive takes in a message from a peer. It fails if the peer had no business to send
// it; one that comes too late is dropped.
func (r *replica) receive(m *Message) error {
	if err := checkMessage(m, &r.members); err != nil {
		return err
	}
	if m.GetTerm() > r.status.term+maxTermsAhead {
		return fmt.Errorf("a term, %d, that there can have been no elections for since term %d", m.GetTerm(), r.status.term)
	}
	r.duties.heardOf(m.GetFrom())
	if m.GetType() == raftpb.MsgHeartbeat {
		r.sayAgain()
	}
	var err error
	switch {
	case m.GetType() == raftpb.MsgProp:
		if !r.leads() || m.GetTerm() != r.status.term {
			err = errOutOfTurn
		} else if err = r.relay.take(m); !errors.Is(err, errOutOfTurn) {
			return err
		}
	case m.GetType() == raftpb.MsgSnap:
		err = r.snapshotOffered(m)
	case m.GetType() == raftpb.MsgSnapStatus:
		r.snapshotEnded(m)
	case m.GetType() == raftpb.MsgReadIndex && r.members.soleVoter() && !r.status.ownTerm:
		// raft would answer a sole voter's peers with what it knows to be committed, before
		// it knows what an earlier term has committed.
	case r.staleNotice(m):
	default:
		err = r.rn.Step(m)
	}
	if err != nil {
		r.log.Debug("message from a peer dropped", "type", m.GetType(), "from", memberName(core.MemberID(m.GetFrom())), "error", err)
	}
	return nil
}

// refusedPause is the least time between two lines of messages that are refused.
const refusedPause = 10 * time.Second

// complain logs that a message is refused, now and then.
func (r *replica) complain(m *Message, err error) {
	if r.now.Sub(r.duties.complained) >= refusedPause {
		r.duties.complained = r.now
		r.log.Warn("message from a peer refused", "type", m.GetType(), "from", memberName(core.MemberID(m.GetFrom())), "error", err)
	}
}

// staleNotice recognises what a member answers to a message of a former term: an
// append response that confirms nothing and only shows the newer term. If we have
// reached that term ourselves there is nothing to learn from it; and raft, if we
// lead and do not know yet where the member's log ends, would take it for a
// confirmation of index 0 and send the whole log again, or a snapshot. A log of
// ours begins after index 1, so no confirmation is of index 0.
func (r *replica) staleNotice(m *Message) bool {
	return m.GetType() == raftpb.MsgAppResp && m.GetIndex() == 0 && !m.GetReject() && m.GetTerm() <= r.status.term
}

// checkMessage reports why a message from the network must not reach raft, which
// panics on some of what a broken or hostile peer could send.
//
// Who may speak at all, the transport decides by the state that is applied. Here those
// count that raft knows: a message of a leader or candidate that was added by an entry
// which this member has yet to apply must reach raft, or this member would never get
// that entry; raft itself drops the answers of those that it does not know.
func checkMessage(m *Message, known *members) error {
	if m.GetTo() != known.self {
		return fmt.Errorf("it is for member %x", m.GetTo())
	}
	from := m.GetFrom()
	if from == 0 || from == known.self || raft.IsLocalMsgTarget(from) || known.gone(from) {
		return fmt.Errorf("member %x is no peer", from)
	}
	if len(m.GetResponses()) > 0 || m.GetSnapshot() != nil && m.GetType() != raftpb.MsgSnap {
		return fmt.Errorf("a %v has no responses and no snapshot", m.GetType())
	}
	if question := m.GetType() == raftpb.MsgReadIndex; question != (m.GetTerm() == 0) {
		return fmt.Errorf("a %v of term %d", m.GetType(), m.GetTerm())
	}
	switch m.GetType() {
	case raftpb.MsgApp:
		return checkAppend(m)
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
		// The context counts reads: nothing, or eight bytes.
		if n := len(m.GetContext()); n != 0 && n != 8 {
			return fmt.Errorf("a context of %d bytes", n)
		}
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		if m.GetType() == raftpb.MsgReadIndex && !known.peer(from) {
			return fmt.Errorf("member %x is no peer", from)
		}
		if n := len(m.GetEntries()); n != 1 {
			return fmt.Errorf("a question to the quorum with %d entries", n)
		}
	case raftpb.MsgProp, raftpb.MsgSnapStatus:
		if !known.peer(from) {
			return fmt.Errorf("member %x is no peer", from)
		}
	case raftpb.MsgSnap:
		return checkSnapshot(m.GetSnapshot())
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default:
		return fmt.Errorf("a %v does not travel between members", m.GetType())
	}
	return nil
}

// checkSnapshot checks the notice that the log no longer holds what a member lacks.
func checkSnapshot(s *raftpb.Snapshot) error {
	if s.GetMetadata().GetIndex() == 0 || s.GetMetadata().GetTerm() == 0 || len(s.GetData()) > 0 {
		return fmt.Errorf("a snapshot of entry (term %d, index %d) with %d bytes",
			s.GetMetadata().GetTerm(), s.GetMetadata().GetIndex(), len(s.GetData()))
	}
	return nil
}

// checkAppend checks that the entries of an append follow each other.
func checkAppend(m *Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		index++
		if e.GetIndex() != index || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("entry (term %d, index %d) does not follow (%d, %d) in term %d",
				e.GetTerm(), e.GetIndex(), term, index-1, m.GetTerm())
		}
		term = e.GetTerm()
	}
	return nil
}
