package node

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/failpoint"
	"github.com/triglot/triglot/core/state"
)

// applier feeds committed entries to the state machine and tells everyone who
// follows the state. It runs on the apply goroutine.
type applier struct {
	n           *Node
	incarnation uint64
	replies     []state.Reply // reused
	ahead       *readAhead
	settled     bool // see replayed
}

func newApplier(n *Node) *applier {
	a := &applier{n: n, ahead: newReadAhead(n)}
	for a.incarnation == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		a.incarnation = binary.LittleEndian.Uint64(b[:])
	}
	a.replayed() // there may be nothing to do
	return a
}

func (a *applier) own(member core.MemberID, incarnation uint64) bool {
	return incarnation == a.incarnation && member == a.n.disk.id.member
}

// Apply implements consensus.Applier. The order matters: the deadlines know of a
// lease before a view shows it, see nextDue; a view must show a write before anyone
// hears of it; and watchers hear of it before its own caller may act on the answer.
func (a *applier) Apply(batch []consensus.Committed) error {
	a.ahead.replay(batch)
	defer a.replayed()
	for len(batch) > 0 {
		n, err := a.applySome(batch)
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// replayed lets the engine compact once all that the log held at the start is applied.
func (a *applier) replayed() {
	if a.settled {
		return
	}
	if index, _ := a.n.disk.engine().machine.Applied(); index >= a.ahead.replayed {
		a.settled = true
		a.n.disk.settle()
	}
}

// maxCommit is the size of an engine batch that takes no further entry: a few bytes
// can delete a million keys.
const maxCommit = 64 << 20

// applySome applies entries from the front of batch, as many as one engine batch takes,
// and returns their number.
func (a *applier) applySome(batch []consensus.Committed) (int, error) {
	began := time.Now()
	machine := a.n.disk.engine().machine
	replies := a.replies[:0]
	commands := 0
	for i := range batch {
		c := &batch[i]
		for j := range c.Entry.Batches {
			commands += len(c.Entry.Batches[j].Commands)
		}
		e := stateEntry(c)
		if c.Local != nil {
			e.Own = a.own
		}
		var err error
		if replies, err = machine.Apply(e, replies); err != nil {
			return 0, err
		}
		c.Refused = machine.MembershipRefused()
		if machine.BatchSize() >= maxCommit || machine.Marked() {
			batch = batch[:i+1]
			break
		}
	}
	committing := time.Now()
	view, delta, err := a.commit()
	if err != nil {
		return 0, err
	}
	committed := time.Now()
	rev := view.Rev()
	a.n.leases.changed(delta.Leases, delta.Checkpoints)
	a.n.auth.changed(delta.Tokens)
	a.n.corruption.note(view, delta.Marks)
	a.n.published.publish(view)
	if delta.Members {
		a.n.membersChanged(view)
	}
	a.n.hub.Publish(delta.Revisions, rev)
	if delta.Compacted != 0 {
		a.n.hub.Compacted(delta.Compacted)
	}
	a.n.sessions.changed(delta.Leases)
	ended := time.Now()
	consensus.Applied(batch, began, ended)
	a.answer(batch, replies)
	a.n.metrics.applied(batch, &delta, began, committing, committed, ended)
	a.ahead.applied(machine.TakeReads())
	if a.n.upkeep.flushed.Swap(false) {
		machine.ForgetLooked()
	}
	a.n.upkeep.applied(ended, commands, machine.TakeLooked(), delta.Compacted != 0)
	clear(replies) // drop the references, keep the room
	a.replies = replies
	return len(batch), nil
}

// Install implements consensus.Applier.
func (a *applier) Install(s consensus.Installed) error { return a.n.install(s) }

// commit makes what was applied visible in the state.
func (a *applier) commit() (*state.View, state.Delta, error) {
	machine := a.n.disk.engine().machine
	compacting := machine.Compacting()
	failpoint.Hit(failpoint.BeforeCommit)
	if compacting {
		failpoint.Hit(failpoint.CompactBeforeCommitScheduled)
	}
	view, delta, err := machine.Commit()
	if compacting && err == nil {
		failpoint.Hit(failpoint.CompactAfterCommitScheduled)
	}
	failpoint.Hit(failpoint.AfterCommit)
	return view, delta, err
}

// answer completes the callers' proposals: first all, then it wakes who waits, so that one
// wake-up does for a connection that waits for many.
func (a *applier) answer(batch []consensus.Committed, replies []state.Reply) {
	for i := range batch {
		for _, p := range batch[i].Local {
			p.Settle(replies[0].Result, replies[0].Err)
			replies = replies[1:]
		}
	}
	for i := range batch {
		for _, p := range batch[i].Local {
			p.Wake()
		}
	}
}
