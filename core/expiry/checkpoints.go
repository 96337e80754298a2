package expiry

import (
	"time"

	"github.com/triglot/triglot/core"
)

// checkpoint says when to write down what a lease has left. As all wait for the same
// time, they are due in the order in which they were scheduled: but for one that was
// scheduled in a gap, behind which others wait for up to MaxGap too long.
type checkpoint struct {
	at    time.Duration
	lease *lease
}

// schedule has what a lease has left written down in a while, if it has that long. A
// lease is scheduled once at a time.
func (d *Deadlines) schedule(now time.Duration, l *lease) {
	if d.interval == 0 || l.Session || l.scheduled || l.Left() <= d.interval {
		return
	}
	l.scheduled = true
	d.checkpoints = append(d.checkpoints, checkpoint{after(d.at(now), d.interval), l})
}

// DueCheckpoints returns a command that writes down what up to limit leases have left,
// in whole seconds, rounded up, or nil if there is nothing to write. The next is due
// once Checkpointed says that the command was applied, or Unwritten that it was not.
func (d *Deadlines) DueCheckpoints(now time.Duration, limit int) *core.LeaseCheckpoint {
	if d.resumed {
		return nil
	}
	var due []core.LeaseRemaining
	clock := d.at(now)
	for len(d.checkpoints) > 0 && d.checkpoints[0].at <= clock && len(due) < limit {
		l := d.checkpoints[0].lease
		d.checkpoints[0].lease = nil // which the slice holds on to for a while
		d.checkpoints = d.checkpoints[1:]
		l.scheduled = false
		if d.leases[l.ID] != l || l.index == pending || l.deadline <= clock {
			continue
		}
		left := (l.deadline - clock + time.Second - 1).Truncate(time.Second)
		if left >= l.TTL { // it was renewed just now
			d.schedule(now, l)
			continue
		}
		l.writing = true
		due = append(due, core.LeaseRemaining{ID: l.ID, TTL: left})
	}
	if due == nil {
		return nil
	}
	return &core.LeaseCheckpoint{Leases: due, Persist: true, Term: d.term}
}

// Checkpointed says that it is written down what a lease has left, zero being all of
// it. The lease need not be known.
func (d *Deadlines) Checkpointed(now time.Duration, c core.LeaseRemaining) {
	if l := d.leases[c.ID]; l != nil {
		l.Remaining = c.TTL
		l.writing = l.writing && c.TTL == 0 // an Undo may overtake what it is to undo
		d.schedule(now, l)
	}
}

// Unwritten says that the command of a DueCheckpoints of this leadership did not take
// effect, or may not have.
func (d *Deadlines) Unwritten(now time.Duration, due []core.LeaseRemaining) {
	for _, c := range due {
		if l := d.leases[c.ID]; l != nil {
			l.writing = false
			d.schedule(now, l)
		}
	}
}

// Undo returns a command that undoes a lease's checkpoint under the leader of a term: that
// it has its full time is written down.
func Undo(id core.LeaseID, term uint64) *core.LeaseCheckpoint {
	return &core.LeaseCheckpoint{Leases: []core.LeaseRemaining{{ID: id}}, Persist: true, Term: term}
}
