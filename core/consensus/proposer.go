package consensus

import (
	"fmt"
	"slices"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// proposer keeps this member's proposals from their arrival until their entry is
// committed: first in a queue, in order, then in batches. Each is in an entry of the
// log that this leader has appended, or on its way to the leader (forward.go). Every
// proposal is in one place at a time, and whoever takes it out owes it an outcome.
//
// No proposal of a broken lane is in the queue.
type proposer struct {
	member      core.MemberID
	incarnation uint64
	timeout     time.Duration // of a proposal that has no deadline

	queue       []*Proposal
	changes     []*Proposal // of members, in this leader's term: each becomes an entry of its own, in its time
	outstanding []batch     // handed on, not known to be committed; sequence ascending
	sequence    uint64      // of the last batch
	unapplied   int         // bytes of the entries appended in this term, not yet applied
	released    int         // size of the proposals that left the queue since the last look

	entry    []byte          // scratch
	batches  []command.Batch // scratch
	commands [][]byte        // scratch
	spare    [][]*Proposal   // slices of former batches
}

// batch is a run of proposals under way together. A nil one has been answered.
type batch struct {
	sequence  uint64
	proposals []*Proposal
	deadline  time.Time // not after that of any proposal
	begun     time.Time
	bytes     int // about what it takes, encoded
}

const (
	// commandOverhead bounds what an entry holds for a command besides its bytes,
	// entryOverhead what it holds besides the commands.
	commandOverhead = 8
	entryOverhead   = 64

	// maxSpare and maxScratchBytes bound what is kept for reuse.
	maxSpare        = 8
	maxScratchBytes = 4 * maxEntryBytes
)

// add queues proposals. It does not keep the slice.
func (p *proposer) add(now time.Time, arrived []*Proposal) {
	for _, a := range arrived {
		if a.deadline.IsZero() {
			a.deadline = now.Add(p.timeout)
		}
		switch {
		case a.change.Kind != NoChange:
			p.changes = append(p.changes, a)
		case a.lane != nil && a.lane.Broken():
			p.released += a.size()
			a.Complete(core.Result{}, core.LeaderChanged)
		default:
			p.queue = append(p.queue, a)
		}
	}
}

// next builds a batch of up to limit bytes from the front of the queue; with atLeastOne set it
// takes at least one proposal, whatever its size. taken is the number of proposals to
// remove from the queue if the batch is handed on, those whose waiter has left
// included. The batch has no proposals if nobody waits or nothing fits; its commands
// are in p.commands until the next call.
func (p *proposer) next(now time.Time, limit int, atLeastOne bool) (b batch, taken int) {
	p.commands = p.commands[:0]
	b.proposals, b.begun = p.newSlice(), now
	b.bytes = entryOverhead
	reached := new(times)
	stamp(&reached.appended, now)
	for _, q := range p.queue {
		if q.left() {
			taken++
			continue
		}
		add := len(q.command) + commandOverhead
		if (len(b.proposals) > 0 || !atLeastOne) && b.bytes+add > limit {
			break
		}
		b.bytes += add
		taken++
		p.commands = append(p.commands, q.command)
		if len(b.proposals) == 0 || q.deadline.Before(b.deadline) {
			b.deadline = q.deadline
		}
		q.times = reached
		b.proposals = append(b.proposals, q)
	}
	b.sequence = p.sequence + 1
	return b, taken
}

// nextChange is next for what changes the members: the batch has one proposal at most,
// and taken counts p.changes.
func (p *proposer) nextChange(now time.Time) (b batch, taken int) {
	p.commands = p.commands[:0]
	for _, q := range p.changes {
		taken++
		if q.left() {
			continue
		}
		q.times = new(times)
		stamp(&q.times.appended, now)
		p.commands = append(p.commands, q.command)
		return batch{
			sequence: p.sequence + 1, proposals: []*Proposal{q}, deadline: q.deadline,
			begun: now, bytes: entryOverhead + len(q.command),
		}, taken
	}
	return b, taken
}

// encoded is the batch whose commands are in p.commands as the log holds it.
func (p *proposer) encoded(b *batch) command.Batch {
	return command.Batch{Member: p.member, Incarnation: p.incarnation, Sequence: b.sequence, Commands: p.commands}
}

// pending is how many proposals have no outcome yet and are not being applied.
func (p *proposer) pending() int {
	n := len(p.queue) + len(p.changes)
	for i := range p.outstanding {
		n += len(p.outstanding[i].proposals)
	}
	return n
}

// underWay is the size of all that has been handed on.
func (p *proposer) underWay() (bytes int) {
	for i := range p.outstanding {
		bytes += p.outstanding[i].bytes
	}
	return bytes
}

// room reports whether another entry fits into what a leader may have appended
// and not yet applied.
func (p *proposer) room() bool {
	return p.unapplied == 0 || p.unapplied+maxEntryBytes <= maxUnappliedBytes
}

// handOn records that a batch is under way.
func (p *proposer) handOn(b batch) {
	p.sequence = b.sequence
	p.outstanding = append(p.outstanding, b)
}

// drop removes the first n proposals of the queue.
func (p *proposer) drop(n int) { p.queue = p.without(p.queue, n) }

// dropChanges removes the first n proposals of those that change the members.
func (p *proposer) dropChanges(n int) { p.changes = p.without(p.changes, n) }

// giveBack answers the changes of members that are not this leader's to make: those judged
// in another term than the one in which it leads, zero being that it does not. What has
// happened to the members since then nobody has looked at.
func (p *proposer) giveBack(leading uint64) {
	p.changes = slices.DeleteFunc(p.changes, func(q *Proposal) bool {
		if q.term == leading {
			return false
		}
		p.released += q.size()
		q.Complete(core.Result{}, core.NotLeader)
		return true
	})
}

// without removes the first n proposals of a queue.
func (p *proposer) without(queue []*Proposal, n int) []*Proposal {
	for _, q := range queue[:n] {
		p.released += q.size()
	}
	rest := copy(queue, queue[n:])
	clear(queue[rest:])
	return queue[:rest]
}

// claim takes out the batch of this incarnation that a committed entry holds. It
// is nil if there is none, or if it was given up.
func (p *proposer) claim(e command.Entry) ([]*Proposal, error) {
	for i := range e.Batches {
		b := &e.Batches[i]
		if b.Member != p.member || b.Incarnation != p.incarnation {
			continue
		}
		for j := range p.outstanding {
			if p.outstanding[j].sequence != b.Sequence {
				continue
			}
			local := p.outstanding[j].proposals
			p.outstanding = append(p.outstanding[:j], p.outstanding[j+1:]...)
			if len(local) != len(b.Commands) {
				return local, fmt.Errorf("batch %d has %d commands, %d were proposed", b.Sequence, len(b.Commands), len(local))
			}
			return local, nil
		}
		return nil, nil
	}
	return nil, nil
}

// sweep answers whatever is overdue: what is under way with Timeout, the queue with
// unserved, and what follows in the lane of either with LeaderChanged. So nothing that
// was answered in the queue takes effect later.
func (p *proposer) sweep(now time.Time, unserved error) {
	for i := range p.outstanding {
		if b := &p.outstanding[i]; !now.Before(b.deadline) {
			b.sweep(now)
		}
	}
	p.queue = p.sift(p.queue, now, unserved)
	p.changes = p.sift(p.changes, now, unserved)
}

// sift answers and removes what is overdue in a queue, or in a broken lane.
func (p *proposer) sift(queue []*Proposal, now time.Time, unserved error) []*Proposal {
	kept := queue[:0]
	for _, q := range queue {
		switch {
		case q.lane != nil && q.lane.Broken():
			q.Complete(core.Result{}, core.LeaderChanged)
		case !now.Before(q.deadline):
			q.fail(unserved)
		case !q.left():
			kept = append(kept, q)
			continue
		}
		p.released += q.size()
	}
	clear(queue[len(kept):])
	return kept
}

// sweep answers what is overdue in a batch that is under way.
func (b *batch) sweep(now time.Time) {
	first := true
	for i, q := range b.proposals {
		switch {
		case q == nil:
		case !now.Before(q.deadline):
			q.fail(core.Timeout)
			b.proposals[i] = nil
		case first || q.deadline.Before(b.deadline):
			b.deadline, first = q.deadline, false
		}
	}
	if first { // nobody is left
		b.deadline = now.AddDate(1, 0, 0)
	}
}

// forget gives up what is under way and not known to be committed: its outcome is
// unknown, and will not be told when it turns up after all. Its lanes are broken, and
// what is queued in them is not proposed.
func (p *proposer) forget(err error) {
	if len(p.outstanding) > 0 {
		for i := range p.outstanding {
			for _, q := range p.outstanding[i].proposals {
				q.fail(err)
			}
			p.recycle(p.outstanding[i].proposals)
		}
		clear(p.outstanding)
		p.outstanding = p.outstanding[:0]
		p.queue = p.sift(p.queue, time.Time{}, nil) // nothing is due at the zero time
	}
	p.unapplied = 0
}

// abandon answers everything with err.
func (p *proposer) abandon(err error) {
	for _, q := range p.queue {
		q.fail(err)
	}
	p.drop(len(p.queue))
	for _, q := range p.changes {
		q.fail(err)
	}
	p.dropChanges(len(p.changes))
	p.forget(err)
}

func (p *proposer) newSlice() []*Proposal {
	if n := len(p.spare); n > 0 {
		s := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return s
	}
	return nil
}

// recycle keeps a batch's slice for another.
func (p *proposer) recycle(s []*Proposal) {
	if cap(s) == 0 || len(p.spare) == maxSpare {
		return
	}
	clear(s)
	p.spare = append(p.spare, s[:0])
}
