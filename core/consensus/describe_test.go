package consensus

import (
	"fmt"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core/command"
)

// How transcripts show what goes to the log, the state and the others.

func describeMessage(m *Message) string {
	to := fmt.Sprintf("send %v to %d, term %d", m.GetType(), m.GetTo(), m.GetTerm())
	switch m.GetType() {
	case raftpb.MsgProp:
		c := m.GetContext()
		return fmt.Sprintf("%s, message %d of stream %d: %s", to, c[9], c[1], describeChange(m.GetEntries()[0]))
	case raftpb.MsgSnapStatus:
		return fmt.Sprintf("%s, failed %v", to, m.GetReject())
	case raftpb.MsgSnap:
		at := m.GetSnapshot().GetMetadata()
		return fmt.Sprintf("%s, the log begins behind %d/%d", to, at.GetTerm(), at.GetIndex())
	}
	return fmt.Sprintf("%s, index %d, commit %d%s", to, m.GetIndex(), m.GetCommit(), describeEntries(m.GetEntries()))
}

// describeChange shows the commands of an entry and what it does to the members.
func describeChange(e *raftpb.Entry) string {
	if e.GetType() != raftpb.EntryConfChange {
		return describeData(e.GetData())
	}
	change, frame, err := readChange(e.GetData())
	if err != nil {
		return err.Error()
	}
	return describeData(frame) + describeMembers(change)
}

func describeMembers(c MemberChange) string {
	if c.Kind == NoChange {
		return ""
	}
	what := map[ChangeKind]string{AddVoter: "voter", AddLearner: "learner", RemoveMember: "remove"}[c.Kind]
	return fmt.Sprintf("(%s %d)", what, c.ID)
}

func describeEntries(entries []*raftpb.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, " %d/%d%s", e.GetTerm(), e.GetIndex(), describeChange(e))
	}
	return b.String()
}

func describeData(data []byte) string {
	entry, err := command.DecodeEntry(data)
	if len(data) == 0 || err != nil {
		return "[]"
	}
	var all [][]byte
	for _, b := range entry.Batches {
		all = append(all, b.Commands...)
	}
	return fmt.Sprintf("%s", all)
}

func describeHard(h *raftpb.HardState) string {
	return fmt.Sprintf("term %d, vote %d, commit %d", h.GetTerm(), h.GetVote(), h.GetCommit())
}

func describeLog(s memLogState) string { return describeHard(s.hard) + describeEntries(s.entries) }

func describeAppend(a *appendTask) string {
	s := "nothing to write"
	if a.writes() {
		s = "write" + describeEntries(a.entries)
		if a.hard != nil {
			s += " (" + describeHard(a.hard) + ")"
		}
	}
	if a.install != nil {
		s = fmt.Sprintf("begin the log behind %d/%d when that is installed, ", a.install.Term, a.install.Index) + s
	}
	if a.sync {
		s += ", sync"
	}
	if a.release {
		s += ", then what is held"
	}
	for _, m := range a.responses {
		s += fmt.Sprintf(", then %v to %d", m.GetType(), m.GetTo())
	}
	return s
}

func describeApply(a *applyTask) string {
	var parts []string
	if a.install != nil {
		parts = append(parts, fmt.Sprintf("install the state of %d/%d", a.install.Term, a.install.Index))
	}
	for _, c := range a.entries {
		s := fmt.Sprintf("%d/%d%s", c.Term, c.Index, describeData(c.Data)) + describeMembers(c.Change)
		if c.Local != nil {
			s += fmt.Sprintf(" of %d waiters", len(c.Local))
		}
		parts = append(parts, s)
	}
	if a.leadership != nil {
		parts = append(parts, fmt.Sprintf("tell that %d leads in term %d", a.leadership.leader, a.leadership.term))
	}
	return strings.Join(parts, ", ")
}
