package consensus

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// checkMessage reports why a message from the network must not reach raft, which
// panics on some of what a broken or hostile peer could send.
func checkMessage(m *Message, self uint64, voters []uint64) error {
	if m.GetTo() != self {
		return fmt.Errorf("it is for member %x", m.GetTo())
	}
	known := false
	for _, v := range voters {
		known = known || v == m.GetFrom()
	}
	if !known || m.GetFrom() == self {
		return fmt.Errorf("member %x is no peer", m.GetFrom())
	}
	if len(m.GetResponses()) > 0 || m.GetSnapshot() != nil {
		return fmt.Errorf("a %v has no responses and no snapshot", m.GetType())
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
		if n := len(m.GetEntries()); n != 1 {
			return fmt.Errorf("a question to the quorum with %d entries", n)
		}
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default:
		// Proposals among them: an entry is appended by the member that stamps it.
		return fmt.Errorf("a %v does not travel between members", m.GetType())
	}
	if m.GetType() != raftpb.MsgReadIndex && m.GetTerm() == 0 {
		return fmt.Errorf("a %v without a term", m.GetType())
	}
	return nil
}

// checkAppend checks that the entries of an append follow each other.
func checkAppend(m *Message) error {
	if m.GetTerm() == 0 {
		return fmt.Errorf("an append without a term")
	}
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
