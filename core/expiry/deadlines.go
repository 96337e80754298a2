package expiry

import (
	"cmp"
	"slices"
	"time"

	"github.com/triglot/triglot/core"
)

// Options are the parameters of Deadlines.
type Options struct {
	// MaxGap is the longest time between two ticks that counts as time passed;
	// a few ticks is right. Zero is one second.
	MaxGap time.Duration
	// SpreadPerSecond bounds how many of the leases that a leader begins with
	// fall due within one second, so that a failure of all clients does not end
	// in one burst of revocations. Zero is 750, three quarters of etcd's rate of
	// revocation (T-63).
	SpreadPerSecond int
	// SessionSlack is how much later the deadlines of sessions are than those of
	// leases: what the front ends may keep a touch back. Zero is core.TouchInterval.
	SessionSlack time.Duration
	// CheckpointInterval is how often what a longer lease has left is to be written
	// down (etcd T-63, behind a gate). Zero is never.
	CheckpointInterval time.Duration
}

// Deadlines are the deadlines of the leases on the leader. A member that does not
// lead has none. Not safe for concurrent use: its owner guards it.
type Deadlines struct {
	maxGap time.Duration
	spread int
	slack  time.Duration

	// term is the term led in, zero if none.
	term   uint64
	leases map[core.LeaseID]*lease
	queue  queue

	// interval is Options.CheckpointInterval, checkpoints the leases to write down, in
	// order of time.
	interval    time.Duration
	checkpoints []checkpoint

	// clock is the package's own time at the last tick, which came at ticked.
	clock, ticked time.Duration
	// resumed says that the last tick ended a gap.
	resumed bool
}

// lease is a lease with its deadline, on the clock that stands still in gaps.
type lease struct {
	Lease
	deadline time.Duration
	// index is its place in the queue; negative while its revocation is pending.
	index int
	// scheduled says that it is among the checkpoints, writing that what it has left
	// is being written down.
	scheduled, writing bool
}

const pending = -1

// Lease is a lease as the state knows it.
type Lease struct {
	ID  core.LeaseID
	TTL time.Duration
	// Session says that it is one, which is renewed by Touch alone.
	Session bool
	// Remaining is what it had left when that was last written down; zero is all of
	// its TTL, or that it was renewed since.
	Remaining time.Duration
}

// Left is the time that the lease has when its deadline is set.
func (l *Lease) Left() time.Duration {
	if l.Remaining > 0 {
		return l.Remaining
	}
	return l.TTL
}

// New returns deadlines that follow: there are none.
func New(o Options) *Deadlines {
	if o.MaxGap <= 0 {
		o.MaxGap = time.Second
	}
	if o.SpreadPerSecond <= 0 {
		o.SpreadPerSecond = 750
	}
	if o.SessionSlack <= 0 {
		o.SessionSlack = core.TouchInterval
	}
	d := &Deadlines{maxGap: o.MaxGap, spread: o.SpreadPerSecond, slack: o.SessionSlack, interval: o.CheckpointInterval}
	d.Follow()
	return d
}

// Lead begins a leadership in term, which must not be zero, with the leases that
// exist. Each has its full TTL again, or what was written down, and grace; where too
// many would fall due in one second, the later ones, by deadline and id, get more. What was known of
// earlier deadlines is forgotten.
func (d *Deadlines) Lead(now time.Duration, term uint64, leases []Lease, grace time.Duration) {
	d.term, d.ticked, d.resumed = term, now, false
	d.leases = make(map[core.LeaseID]*lease, len(leases))
	d.checkpoints = nil
	entries := make([]lease, len(leases)) // one allocation for all
	sorted := make([]*lease, len(leases))
	for i, l := range leases {
		entries[i] = lease{Lease: l, deadline: after(d.deadline(l, d.clock), grace)}
		sorted[i] = &entries[i]
		d.leases[l.ID] = sorted[i]
		d.schedule(now, sorted[i])
	}
	slices.SortFunc(sorted, compareLeases)
	for i := d.spread; i < len(sorted); i++ {
		sorted[i].deadline = max(sorted[i].deadline, after(sorted[i-d.spread].deadline, time.Second))
	}
	slices.SortFunc(sorted, compareLeases) // those that now share a deadline
	d.queue = make(queue, len(sorted))     // a sorted slice is a heap
	for i, l := range sorted {
		l.index = i
		d.queue[i] = slot{l.deadline, l}
	}
}

// Follow ends a leadership. All deadlines are forgotten.
func (d *Deadlines) Follow() {
	d.term, d.leases, d.queue, d.checkpoints = 0, nil, nil, nil
}

// Tick reports that the caller runs at now. The caller ticks at a steady pace
// while it leads. Tick returns the length of the gap that it ends, by which all
// deadlines have been moved, or zero. After a gap nothing is due until the next
// tick, so that the caller can first read what its clients have sent.
func (d *Deadlines) Tick(now time.Duration) (gap time.Duration) {
	elapsed := now - d.ticked
	d.clock, d.ticked, d.resumed = d.at(now), now, elapsed > d.maxGap
	if d.resumed {
		return elapsed
	}
	return 0
}

// Granted adds a lease that was granted, with its full TTL. A session that is
// known, and was attached, begins anew.
func (d *Deadlines) Granted(now time.Duration, granted Lease) {
	if d.term == 0 {
		return
	}
	d.Revoked(granted.ID)
	l := &lease{Lease: granted, deadline: d.deadline(granted, d.at(now))}
	d.leases[l.ID] = l
	d.queue.push(l)
	d.schedule(now, l)
}

// Revoked drops a lease that is gone, however it went. It need not be known.
func (d *Deadlines) Revoked(id core.LeaseID) {
	l := d.leases[id]
	if l == nil {
		return
	}
	if l.index != pending {
		d.queue.remove(l.index)
	}
	delete(d.leases, id)
}

// Renewal is the answer to Renew.
type Renewal uint8

// The answers.
const (
	// Renewed: the lease has its full TTL again.
	Renewed Renewal = iota
	// Overdue: the lease is past its deadline. It is not renewed; the caller
	// waits for it to be revoked, or for the leadership to end.
	Overdue
	// Unknown: there is no such lease, or it is not renewed this way.
	Unknown
	// NotLeading: another member has the deadlines.
	NotLeading
	// Checkpointed: it is written down, or about to be, that the lease has less than its
	// full TTL. The caller has that undone first, by Undo, and renews again: else a new leader would
	// give the lease less than its client was promised.
	Checkpointed
)

// Renew gives a lease its full TTL again and returns that. A session is Unknown to
// it.
func (d *Deadlines) Renew(now time.Duration, id core.LeaseID) (time.Duration, Renewal) {
	return d.renew(now, id, false)
}

// Touch is Renew for sessions. A lease that is none is Unknown to it.
func (d *Deadlines) Touch(now time.Duration, id core.LeaseID) Renewal {
	_, answer := d.renew(now, id, true)
	return answer
}

func (d *Deadlines) renew(now time.Duration, id core.LeaseID, session bool) (time.Duration, Renewal) {
	if d.term == 0 {
		return 0, NotLeading
	}
	l := d.leases[id]
	if l == nil || l.Session != session {
		return 0, Unknown
	}
	clock := d.at(now)
	if l.index == pending || l.deadline <= clock {
		return 0, Overdue
	}
	if l.Remaining > 0 || l.writing {
		return 0, Checkpointed
	}
	l.deadline = d.deadline(l.Lease, clock)
	// A deadline that moves out leaves the queue as it is: the lease is put in
	// its place when it comes to the front. Only after the grace of a new
	// leadership can a renewal bring it nearer.
	if l.deadline < d.queue[l.index].deadline {
		d.queue.advance(l.index)
	}
	return l.TTL, Renewed
}

// Remaining returns the time that a lease has left, zero or less if it may be
// overdue. ok is false if the lease is unknown, as all are on a member that does
// not lead.
func (d *Deadlines) Remaining(now time.Duration, id core.LeaseID) (left time.Duration, ok bool) {
	l := d.leases[id]
	if l == nil {
		return 0, false
	}
	return l.deadline - d.slackOf(l.Lease) - d.at(now), true
}

// Due returns a command that revokes up to limit leases that are overdue, in the
// order of their deadlines, or nil if there are none. Their revocation is then
// pending: they are not returned again unless by Retry.
func (d *Deadlines) Due(now time.Duration, limit int) *core.LeaseExpire {
	if d.resumed {
		return nil
	}
	var ids []core.LeaseID
	clock := d.at(now)
	for len(d.queue) > 0 && d.queue[0].deadline <= clock && len(ids) < limit {
		l := d.queue[0].lease
		if l.deadline > d.queue[0].deadline { // it was renewed
			d.queue.postpone()
			continue
		}
		d.queue.remove(0)
		l.index = pending
		ids = append(ids, l.ID)
	}
	if ids == nil {
		return nil
	}
	return &core.LeaseExpire{IDs: ids, Term: d.term}
}

// Retry says that the command of a Due of this leadership did not take effect,
// may not have, or not on all leases: those that still exist are due again. It returns
// their number.
func (d *Deadlines) Retry(ids []core.LeaseID) (again int) {
	for _, id := range ids {
		if l := d.leases[id]; l != nil && l.index == pending {
			d.queue.push(l)
			again++
		}
	}
	return again
}

// Sessions returns how many of ids are sessions that exist.
func (d *Deadlines) Sessions(ids []core.LeaseID) (n int) {
	for _, id := range ids {
		if l := d.leases[id]; l != nil && l.Session {
			n++
		}
	}
	return n
}

// Len returns the number of leases.
func (d *Deadlines) Len() int { return len(d.leases) }

// Leading reports whether a leadership has begun and not ended: else there are no
// deadlines.
func (d *Deadlines) Leading() bool { return d.term != 0 }

// Term is the term led in, zero if none.
func (d *Deadlines) Term() uint64 { return d.term }

// Expiry is when a lease expires, on any clock.
type Expiry struct {
	ID       core.LeaseID
	Deadline time.Duration
}

// SortExpiries puts those that expire first in front.
func SortExpiries(all []Expiry) {
	slices.SortFunc(all, func(a, b Expiry) int {
		return cmp.Or(cmp.Compare(a.Deadline, b.Deadline), cmp.Compare(a.ID, b.ID))
	})
}

// deadline is that of a lease whose time begins at t.
func (d *Deadlines) deadline(l Lease, t time.Duration) time.Duration {
	return after(after(t, l.Left()), d.slackOf(l))
}

func (d *Deadlines) slackOf(l Lease) time.Duration {
	if l.Session {
		return d.slack
	}
	return 0
}

// at returns the package's own time at now. In a gap that has not been reported
// yet it stands still.
func (d *Deadlines) at(now time.Duration) time.Duration {
	elapsed := now - d.ticked
	if elapsed > d.maxGap {
		return d.clock
	}
	return d.clock + elapsed
}

// after returns t + d, or the end of time: a TTL may be 285 years.
func after(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t || d < 0 {
		return sum
	}
	return 1<<63 - 1
}

func compareLeases(a, b *lease) int {
	return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.ID, b.ID))
}
