package consensus

import (
	"fmt"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
)

// proposer keeps this member's proposals from their arrival until their entry is
// committed: first in a queue, in order, then in batches of which each is one
// entry of the log. Every proposal is in one place at a time, and whoever takes
// it out owes it an outcome.
type proposer struct {
	member      core.MemberID
	incarnation uint64
	timeout     time.Duration // of a proposal that has no deadline

	queue       []*Proposal
	outstanding []batch // appended, not known to be committed; sequence ascending
	sequence    uint64  // of the last batch
	unapplied   int     // bytes of the entries appended in this term, not yet applied
	released    int     // size of the proposals that left the queue since the last look

	entry    []byte        // scratch
	commands [][]byte      // scratch
	spare    [][]*Proposal // slices of former batches
}

// batch is what became of one entry's proposals. A nil one has been answered.
type batch struct {
	sequence  uint64
	proposals []*Proposal
	deadline  time.Time // not after that of any proposal
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
	}
	p.queue = append(p.queue, arrived...)
}

// next builds the next entry from the front of the queue. taken is the number of
// proposals to remove from it if the entry is appended, those whose waiter has
// left included. The data is valid until the next call, and empty if nobody
// waits.
func (p *proposer) next(now time.Time) (b batch, taken int, data []byte) {
	p.commands = p.commands[:0]
	b.proposals = p.newSlice()
	size := entryOverhead
	reached := new(times)
	stamp(&reached.appended, now)
	for _, q := range p.queue {
		if q.left() {
			taken++
			continue
		}
		add := len(q.command) + commandOverhead
		if len(b.proposals) > 0 && size+add > maxEntryBytes {
			break
		}
		size += add
		taken++
		p.commands = append(p.commands, q.command)
		if len(b.proposals) == 0 || q.deadline.Before(b.deadline) {
			b.deadline = q.deadline
		}
		q.times = reached
		b.proposals = append(b.proposals, q)
	}
	if len(b.proposals) == 0 {
		return b, taken, nil
	}
	b.sequence = p.sequence + 1
	if cap(p.entry) > maxScratchBytes {
		p.entry = nil
	}
	p.entry = command.AppendEntry(p.entry[:0], now.UnixMilli(), []command.Batch{{
		Member: p.member, Incarnation: p.incarnation, Sequence: b.sequence, Commands: p.commands,
	}})
	return b, taken, p.entry
}

// pending is how many proposals have no outcome yet and are not being applied.
func (p *proposer) pending() int {
	n := len(p.queue)
	for i := range p.outstanding {
		n += len(p.outstanding[i].proposals)
	}
	return n
}

// room reports whether another entry fits into what a leader may have appended
// and not yet applied.
func (p *proposer) room() bool {
	return p.unapplied == 0 || p.unapplied+maxEntryBytes <= maxUnappliedBytes
}

// appended records that what next returned is in the log now.
func (p *proposer) appended(b batch, taken, bytes int) {
	p.drop(taken)
	p.unapplied += bytes
	p.sequence = b.sequence
	p.outstanding = append(p.outstanding, b)
}

// drop removes the first n proposals of the queue.
func (p *proposer) drop(n int) {
	for _, q := range p.queue[:n] {
		p.released += q.size()
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
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

// sweep answers whatever is overdue: the queue with unserved, what is in the log
// already, or will be because it is ordered, with Timeout.
func (p *proposer) sweep(now time.Time, unserved error) {
	kept := p.queue[:0]
	for _, q := range p.queue {
		due := q.left() || !now.Before(q.deadline)
		switch {
		case !due:
			kept = append(kept, q)
		case q.ordered:
			kept = append(kept, q)
			q.Complete(core.Result{}, core.Timeout)
		default:
			p.released += q.size()
			q.Complete(core.Result{}, unserved)
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	for i := range p.outstanding {
		if b := &p.outstanding[i]; !now.Before(b.deadline) {
			b.sweep(now)
		}
	}
}

// sweep answers what is overdue in a batch that is in the log.
func (b *batch) sweep(now time.Time) {
	first := true
	for i, q := range b.proposals {
		switch {
		case q == nil:
		case !now.Before(q.deadline):
			q.Complete(core.Result{}, core.Timeout)
			b.proposals[i] = nil
		case first || q.deadline.Before(b.deadline):
			b.deadline, first = q.deadline, false
		}
	}
	if first { // nobody is left
		b.deadline = now.AddDate(1, 0, 0)
	}
}

// forget gives up what is in the log and not known to be committed: its outcome
// is unknown, and will not be told when it turns up after all.
func (p *proposer) forget(err error) {
	for i := range p.outstanding {
		for _, q := range p.outstanding[i].proposals {
			q.Complete(core.Result{}, err)
		}
		p.recycle(p.outstanding[i].proposals)
	}
	clear(p.outstanding)
	p.outstanding = p.outstanding[:0]
	p.unapplied = 0
}

// abandon answers everything with err.
func (p *proposer) abandon(err error) {
	for _, q := range p.queue {
		q.Complete(core.Result{}, err)
	}
	p.drop(len(p.queue))
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
