package consensus

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core/command"
)

// diskWork is what the log writer and the applier have been asked to do.
//
//  1. appending counts the appendTasks handed out that hold entries and are not
//     done. While it is not zero the replica proposes nothing.
//  2. hard is the newest hard state that raft has announced. If hardOwed, no
//     appendTask has carried it; only its commit index may be owed, which a
//     restart finds out by itself.
//  3. If unsynced, a term, a vote or an entry has been handed out in a task that
//     did not sync. The next task with responses syncs.
//  4. applying counts the applyTasks with entries that are not done.
//  5. If holding, what is for peers and for the applier waits in held and heldTasks until
//     the commit index that covers a change of the members is durable. A member
//     that is removed hears of it by that index, or from one that has applied the
//     change, and ends; if it was one of two, the other needs it as soon as it has
//     forgotten, in a crash, that the change is committed.
type diskWork struct {
	hard      *raftpb.HardState
	hardOwed  bool
	unsynced  bool
	appending int
	applying  int
	last      uint64     // entry that was handed out
	acked     ack        // what was said last, see unsaid
	told      leadership // the last one that the applier was asked to tell of
	holding   bool
	held      []*Message
	heldTasks []*applyTask
}

// planAppend makes an appendTask of raft's wish. The commit index alone is not
// worth a write: a restart finds it out, and the next write carries it.
func (r *replica) planAppend(m *Message) error {
	vital := len(m.GetEntries()) > 0 || m.GetSnapshot() != nil
	if m.Term != nil {
		hard := &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		if at := r.members.leaving.at; at != 0 {
			hard.Commit = new(min(m.GetCommit(), at-1))
		}
		vital = vital || hard.GetTerm() != r.disk.hard.GetTerm() || hard.GetVote() != r.disk.hard.GetVote()
		r.disk.hard, r.disk.hardOwed = hard, true
	}
	m.Responses = r.unsaid(m.GetResponses())
	if !vital && len(m.GetResponses()) == 0 {
		return nil
	}
	t := &appendTask{entries: m.GetEntries(), responses: m.GetResponses()}
	if m.GetSnapshot() != nil {
		if err := r.planInstall(t, m.GetSnapshot().GetMetadata()); err != nil {
			return err
		}
	}
	t.sync = t.install != nil || len(t.responses) > 0 && (vital || r.disk.unsynced)
	if (vital || t.sync) && (r.disk.hardOwed || len(t.entries) == 0) {
		t.hard, r.disk.hardOwed = r.disk.hard, false
	}
	r.disk.unsynced = (vital || r.disk.unsynced) && !t.sync
	if n := len(t.entries); n > 0 {
		r.disk.appending++
		r.disk.last = t.entries[n-1].GetIndex()
	}
	r.members.newest.find(t.entries)
	r.members.leaving.sent(t.entries)
	r.out.appends = append(r.out.appends, t)
	return nil
}

// planApply makes an applyTask of committed entries and finds the proposals that
// they answer.
func (r *replica) planApply(m *Message) error {
	t := &applyTask{entries: make([]Committed, 0, len(m.GetEntries())), response: m.GetResponses()[0]}
	r.give(t)
	r.disk.applying++
	over := false
	for _, e := range m.GetEntries() {
		c, err := readEntry(e)
		if err == nil && len(c.Data) > 0 {
			c.Local, err = r.proposer.claim(c.Entry)
		}
		t.entries = append(t.entries, c)
		if err != nil {
			return fmt.Errorf("entry %d: %w", c.Index, err)
		}
		over = over || r.members.leaving.over(&c)
		if r.leads() && c.Term == r.status.term && !r.status.ownTerm {
			r.status.ownTerm = true
			r.disk.told = leadership{r.self, r.status.term}
			t.leadership = &leadership{r.self, r.status.term}
		}
	}
	t.lazy = r.patient(t)
	switch {
	case over:
		r.release()
	case r.members.leaving.at != 0:
		// raft takes it for applied, so that it may campaign if the other one cannot.
		response := t.response
		t.response = nil
		return r.deliver([]*Message{response})
	}
	return nil
}

// patient reports whether nothing waits for a task to be applied but its callers, and
// nothing will that could not wait for a tick. What is applied counts for the bounds on
// what may be under way, so one task at a time may be lazy, and a small one.
func (r *replica) patient(t *applyTask) bool {
	bytes := 0
	for i := range t.entries {
		if t.entries[i].Change.Kind != NoChange {
			return false
		}
		bytes += len(t.entries[i].Data)
	}
	return r.disk.applying == 1 && bytes <= maxLazyBytes && r.proposer.unapplied <= maxUnappliedBytes/2 &&
		t.leadership == nil && r.members.leaving.at == 0 && r.catchUp.waiting == nil &&
		(!r.leads() || r.status.serving && (r.status.soleLeader || !r.members.alone()))
}

// readEntry takes a committed entry apart.
func readEntry(e *raftpb.Entry) (Committed, error) {
	c := Committed{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()}
	var err error
	switch e.GetType() {
	case raftpb.EntryNormal:
	case raftpb.EntryConfChange:
		if c.Change, c.Data, err = readChange(e.GetData()); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("it is of type %v, which this version cannot apply", e.GetType())
	}
	if len(c.Data) > 0 {
		c.Entry, err = command.DecodeEntry(c.Data)
	}
	return c, err
}

// deliver brings raft's responses to where they belong.
func (r *replica) deliver(responses []*Message) error {
	for _, m := range responses {
		if m.GetTo() != uint64(r.self) {
			r.out.messages = append(r.out.messages, m)
			continue
		}
		// One that was removed, and had just led, is told that it has appended.
		if err := r.rn.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
			return fmt.Errorf("take in a %v of our own: %w", m.GetType(), err)
		}
	}
	return nil
}

// post sends a message of raft's to a peer. A question that was another's raft hands on in
// the name of that one, if this member was taken for the leader and is none any more: it
// is dropped, for no member speaks for another, and whoever asked does so again.
func (r *replica) post(m *Message) {
	if m.GetFrom() != uint64(r.self) {
		return
	}
	if at := r.members.leaving.at; at != 0 && !r.members.votes(m.GetTo()) && m.GetCommit() >= at {
		m.Commit = new(at - 1)
	}
	if r.disk.holding {
		r.disk.held = append(r.disk.held, m)
		return
	}
	r.out.messages = append(r.out.messages, m)
}

// give gives the applier a task.
func (r *replica) give(t *applyTask) {
	if r.disk.holding || r.members.leaving.at != 0 {
		r.disk.heldTasks = append(r.disk.heldTasks, t)
		return
	}
	r.out.applies = append(r.out.applies, t)
}

// release lets go what was held.
func (r *replica) release() {
	r.out.messages = append(r.out.messages, r.disk.held...)
	r.out.applies = append(r.out.applies, r.disk.heldTasks...)
	r.disk.holding, r.disk.held, r.disk.heldTasks = false, nil, nil
	r.members.leaving = farewell{}
}

// planRelease makes the commit index durable, and then what is held leaves.
func (r *replica) planRelease() {
	r.out.appends = append(r.out.appends, &appendTask{hard: r.disk.hard, sync: true, release: true})
	r.disk.hardOwed, r.disk.unsynced = false, false
}

// appended takes in that a task has been done by the log writer.
func (r *replica) appended(t *appendTask) error {
	if len(t.entries) > 0 {
		r.disk.appending--
	}
	if err := r.deliver(t.responses); err != nil {
		return err
	}
	if t.install != nil {
		r.installed(t.install)
	}
	if t.release {
		r.release()
	}
	return nil
}

// applied takes in that a task's entries have been applied.
func (r *replica) applied(t *applyTask) error {
	if len(t.entries) == 0 {
		return nil // it told of a leader, or installed a state, which the log writer waits for
	}
	r.disk.applying--
	for i := range t.entries {
		c := &t.entries[i]
		if c.Term == r.status.term {
			r.proposer.unapplied = max(0, r.proposer.unapplied-len(c.Data))
		}
		r.proposer.recycle(c.Local)
		if c.Change.Kind != NoChange {
			r.changed(c)
		}
	}
	last := t.entries[len(t.entries)-1]
	if r.status.ownTerm && last.Term == r.status.term {
		r.status.serving = true
	}
	r.status.soleLeader = r.status.serving && r.members.alone() && last.Index >= r.members.soleFrom
	if t.response == nil {
		return nil // raft has it, see farewell
	}
	return r.deliver([]*Message{t.response})
}
