package expiry

import (
	"time"

	"github.com/triglot/triglot/core"
)

// MaxBatch bounds the sessions, and the leases, of a Batch: to renew so many keeps the
// leader's lock for about a millisecond.
const MaxBatch = 4096

// Renewals are what a member that does not lead has to tell the leader: sessions whose
// clients it has heard of, for which nobody waits, and leases to renew, for which
// somebody does. They go in batches of which one is under way at a time. Not safe for
// concurrent use: its owner guards it.
type Renewals struct {
	// touches holds no session twice; the face has a connection of each.
	touches map[core.LeaseID]struct{}
	// waiting are the renewals of the next batches, in order; byLease finds those whom
	// another caller can join.
	waiting []*Renewing
	byLease map[core.LeaseID]*Renewing

	// under is the batch under way.
	under *Batch
	// sent is when the last batch was sent, paused until when there is to be no other.
	sent, paused time.Duration
}

// Renewing is the renewal of a lease under way, which any number of callers share.
type Renewing struct {
	id   core.LeaseID
	done chan struct{}
	got  Outcome
}

// Done is closed when Got may be called.
func (r *Renewing) Done() <-chan struct{} { return r.done }

// Got is what became of it: NotLeading if no leader said anything.
func (r *Renewing) Got() Outcome { return r.got }

// Outcome is what became of a renewal.
type Outcome struct {
	Answer Renewal
	// TTL is what the lease has then, if Answer is Renewed.
	TTL time.Duration
	// Term is the leader's, for Undo.
	Term uint64
}

// Batch is what one question to the leader holds. Its slices are immutable.
type Batch struct {
	Touches, Leases []core.LeaseID
	// Sent is when it was made: what had been heard of by then is in it, or was in an
	// earlier one.
	Sent    time.Duration
	waiting []*Renewing
}

// Answer is what the leader makes of a Batch.
type Answer struct {
	// Term is the term of the deadlines; zero says that there are none there.
	Term uint64
	// Confirmed says that the leader, too, is in contact with the cluster, after it has
	// renewed: else another one may lead by then, and count from before it.
	Confirmed bool
	// Leases is what became of each of the batch's leases.
	Leases []Outcome
}

// NewRenewals returns renewals of which there are none.
func NewRenewals() *Renewals {
	return &Renewals{touches: map[core.LeaseID]struct{}{}, byLease: map[core.LeaseID]*Renewing{}}
}

// Touch notes that a session's client was heard of.
func (r *Renewals) Touch(id core.LeaseID) { r.touches[id] = struct{}{} }

// Renew has a lease renewed by the next batch.
func (r *Renewals) Renew(id core.LeaseID) *Renewing {
	if w := r.byLease[id]; w != nil {
		return w
	}
	w := &Renewing{id: id, done: make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.byLease[id] = w
	return w
}

// never is a long time.
const never = time.Duration(1<<63 - 1)

// Next returns the batch to send now, or how long to wait before the next look. While
// one is under way there is none. Renewals for which somebody waits go as soon as the
// batch before is back, touches every core.TouchInterval; and if there is nothing to
// send, an empty batch goes every idle, unless that is zero: its answer confirms.
func (r *Renewals) Next(now, idle time.Duration) (*Batch, time.Duration) {
	due := never
	switch {
	case r.under != nil:
		return nil, never
	case len(r.waiting) > 0:
		due = r.paused
	case len(r.touches) > 0:
		due = max(r.paused, r.sent+core.TouchInterval)
	case idle > 0:
		due = max(r.paused, r.sent+idle)
	}
	switch {
	case due == never:
		return nil, never
	case due > now:
		return nil, due - now
	}
	r.under = r.take(now)
	r.sent = now
	return r.under, 0
}

func (r *Renewals) take(now time.Duration) *Batch {
	b := &Batch{Sent: now}
	for id := range r.touches {
		if len(b.Touches) == MaxBatch {
			break
		}
		b.Touches = append(b.Touches, id)
		delete(r.touches, id)
	}
	n := min(len(r.waiting), MaxBatch)
	b.waiting = r.waiting[:n:n]
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	for _, w := range b.waiting {
		b.Leases = append(b.Leases, w.id)
		delete(r.byLease, w.id)
	}
	return b
}

// Answered says what the leader made of the batch under way. An answer that does not
// fit the batch, or comes from one who does not lead, is none.
func (r *Renewals) Answered(now time.Duration, a Answer) {
	if a.Term == 0 || len(a.Leases) != len(r.under.Leases) {
		r.Failed(now)
		return
	}
	for i, w := range r.under.waiting {
		w.got = a.Leases[i]
		w.got.Term = a.Term
		if !a.Confirmed && w.got.Answer == Renewed {
			w.got = Outcome{Answer: NotLeading} // as far as is known
		}
		close(w.done)
	}
	r.under = nil
}

// Failed says that the batch under way was not answered: its touches are kept for the
// next, which has to wait.
func (r *Renewals) Failed(now time.Duration) {
	for _, id := range r.under.Touches {
		r.touches[id] = struct{}{}
	}
	giveUp(r.under.waiting)
	r.under, r.paused = nil, now+core.TouchInterval
}

// Abandon gives up all that waits and is not under way: the connections of the sessions
// are closed, or the member stops.
func (r *Renewals) Abandon() {
	clear(r.touches)
	clear(r.byLease)
	giveUp(r.waiting)
	r.waiting = nil
}

func giveUp(all []*Renewing) {
	for _, w := range all {
		w.got = Outcome{Answer: NotLeading}
		close(w.done)
	}
}

// RenewAll is what the leader makes of the touches and leases of a Batch. That it is
// Confirmed is for the caller to say.
func (d *Deadlines) RenewAll(now time.Duration, touches, leases []core.LeaseID) Answer {
	a := Answer{Term: d.term, Leases: make([]Outcome, len(leases))}
	for _, id := range touches {
		d.Touch(now, id) // one that is gone, or overdue, is no news: its end is applied everywhere
	}
	for i, id := range leases {
		a.Leases[i].TTL, a.Leases[i].Answer = d.Renew(now, id)
	}
	return a
}
