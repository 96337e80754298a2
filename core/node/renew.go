package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
	"github.com/triglot/triglot/core/state/lease"
)

// confirmsPerElection is how many times in an election timeout a member has itself
// confirmed: a question and its answer may take the rest of it.
const confirmsPerElection = 4

// renewals is how a member that does not lead has leases renewed and sessions touched
// in the leader's deadlines, and how every member of a cluster learns that it is in
// contact with it. A member that is alone needs neither. The goroutine that runs it asks
// one question at a time.
type renewals struct {
	n *Node
	// wake has run look again; its capacity is 1.
	wake chan struct{}

	mu       sync.Mutex
	gathered *expiry.Renewals
}

func (r *renewals) init(n *Node) {
	r.n, r.wake, r.gathered = n, make(chan struct{}, 1), expiry.NewRenewals()
}

// clustered says that this member may not be alone: then there is somebody to ask.
func (n *Node) clustered() bool { return n.cfg.Peers.Dial != nil }

// run asks the leader until ctx ends.
func (r *renewals) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batch, wait := r.next()
		if batch != nil {
			r.settle(r.ask(ctx, batch))
			continue
		}
		timer.Reset(wait)
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			r.abandon()
			return
		}
	}
}

func (r *renewals) next() (*expiry.Batch, time.Duration) {
	var idle time.Duration
	if r.n.leads() || r.n.sessions.followed() {
		idle = r.n.cfg.Timing.Election / confirmsPerElection
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gathered.Next(r.n.leases.now(), idle)
}

// leads says whether this member leads, as far as it knows.
func (n *Node) leads() bool {
	leader, _, _, _ := n.driver.Status()
	return leader == n.disk.id.member
}

// leadsIn is leads, in a term.
func (n *Node) leadsIn(term uint64) bool {
	leader, now, _, _ := n.driver.Status()
	return leader == n.disk.id.member && now == term
}

// ask puts a batch to whoever leads. An answer takes no longer than a member may be out
// of contact. A leader asks the others, by a read index, whether they think so, too.
func (r *renewals) ask(ctx context.Context, b *expiry.Batch) (expiry.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.n.cfg.Timing.Election)
	defer cancel()
	if r.n.leads() {
		if _, err := r.n.driver.ReadIndex(ctx); err != nil {
			return expiry.Answer{}, err
		}
		r.n.sessions.contact.confirm(b.Sent)
		return r.n.leases.renewAll(b.Touches, b.Leases), nil
	}
	body, err := r.n.peers.askLeader(ctx, askRenew, encodeBatch(b))
	if err != nil {
		return expiry.Answer{}, err
	}
	a, err := decodeAnswer(body)
	if err == nil && a.Term != 0 && a.Confirmed {
		r.n.sessions.contact.confirm(b.Sent)
	}
	return a, err
}

// settle says what became of the batch under way. One that failed is told of by what
// becomes of it: its callers ask again, and without contact the connections are closed.
func (r *renewals) settle(a expiry.Answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.gathered.Failed(r.n.leases.now())
		return
	}
	r.gathered.Answered(r.n.leases.now(), a)
}

// abandon forgets the touches, and has the callers that wait ask again.
func (r *renewals) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathered.Abandon()
}

// touch has a session touched soon.
func (r *renewals) touch(id core.LeaseID) {
	r.mu.Lock()
	r.gathered.Touch(id)
	r.mu.Unlock()
	signal(r.wake)
}

// renew has the leader renew a lease. Without a leader the answer is NotLeading.
func (r *renewals) renew(ctx context.Context, id core.LeaseID) (expiry.Outcome, error) {
	r.mu.Lock()
	w := r.gathered.Renew(id)
	r.mu.Unlock()
	signal(r.wake)
	select {
	case <-w.Done():
		return w.Got(), nil
	case <-r.n.stopping:
		return expiry.Outcome{}, core.Stopped
	case <-ctx.Done():
		return expiry.Outcome{}, core.ContextError(ctx.Err())
	}
}

// answerRenew answers askRenew. It says that this member leads only while it is in
// contact itself: one that was held up may not know yet that it does not.
func (r *renewals) answerRenew(_ context.Context, _ core.MemberID, body []byte) ([]byte, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	return encodeAnswer(r.n.leases.renewAll(f.ids(1), f.ids(2))), nil
}

// renewAll renews what a batch asks for in this member's deadlines. The answer has no term
// if they are not current.
func (l *leases) renewAll(touches, ids []core.LeaseID) expiry.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.current() {
		return expiry.Answer{}
	}
	a := l.deadlines.RenewAll(l.now(), touches, ids)
	a.Confirmed = l.n.sessions.inContact() == nil
	for i := range a.Leases {
		if a.Leases[i].Answer == expiry.Renewed {
			l.n.metrics.renewed.Inc()
		}
	}
	return a
}

// ensure returns the outcome of a renewal in this member's deadlines once it is sure that
// no other member led before: one that did gives the lease its time from an earlier moment.
// It asks the others, unless they have answered lately.
func (l *leases) ensure(ctx context.Context, r expiry.Outcome) (expiry.Outcome, error) {
	if r.Answer != expiry.Renewed || l.n.sessions.inContact() == nil {
		return r, nil
	}
	if _, err := l.n.driver.ReadIndex(ctx); err != nil {
		return r, err
	}
	if !l.n.leadsIn(r.Term) {
		return expiry.Outcome{Answer: expiry.NotLeading}, nil
	}
	return r, nil
}

// renewByLeader renews a lease whose deadline is another member's. It fails with
// LeaseNotFound only when a linearizable view shows that the lease is gone (etcd T-62):
// until then it asks again, as the leader may be about to revoke the lease, or not have
// heard of it yet, or there may be a new one. After as long as a request may take it
// fails with Timeout.
func (l *leases) renewByLeader(ctx context.Context, id core.LeaseID) (expiry.Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.n.requestTimeout(), core.Timeout)
	defer cancel()
	for {
		r, err := l.renewals.renew(ctx, id)
		if err != nil || r.Answer == expiry.Renewed || r.Answer == expiry.Checkpointed {
			return r, timedOut(ctx, err)
		}
		v, err := l.n.view(ctx, core.Consistency{Linearizable: true})
		if err != nil {
			return r, timedOut(ctx, err)
		}
		known, err := v.Lease(id)
		v.Close()
		if err == nil && known.Session() {
			err = core.LeaseNotFound
		}
		if err != nil {
			return r, err
		}
		if l.n.leads() {
			return expiry.Outcome{Answer: expiry.NotLeading}, nil // it has the deadlines itself, or is about to
		}
		if !rested(ctx, core.TouchInterval) {
			return r, timedOut(ctx, core.ContextError(ctx.Err()))
		}
	}
}

// requestTimeout is how long a request without a deadline of its own may take (etcd
// T-04).
func (n *Node) requestTimeout() time.Duration { return 5*time.Second + 2*n.cfg.Timing.Election }

// timedOut is err, or why ctx ended if that is the reason.
func timedOut(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, core.Timeout) {
		return core.Timeout
	}
	return err
}

// remaining is what leases have left, as whoever leads knows. Where nobody has deadlines
// yet, each has the time that it is to have: full.
func (l *leases) remaining(ctx context.Context, ids []core.LeaseID, full func(i int) time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.n.requestTimeout(), core.Timeout)
	defer cancel()
	times := make([]time.Duration, len(ids))
	for from := 0; from < len(ids); from += expiry.MaxBatch {
		some := ids[from:min(from+expiry.MaxBatch, len(ids))]
		term, all := l.leftOf(some)
		if term == 0 && l.n.clustered() && !l.n.leads() {
			var err error
			if term, all, err = l.askLeft(ctx, some); err != nil {
				return nil, timedOut(ctx, err)
			}
		}
		for i := range some {
			if times[from+i] = full(from + i); term != 0 && all[i].known {
				times[from+i] = all[i].time
			}
		}
	}
	return times, nil
}

// leftOf is what this member's deadlines say of leases; a term of zero says that it has
// none.
func (l *leases) leftOf(ids []core.LeaseID) (term uint64, all []left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.current() {
		return 0, nil
	}
	now := l.now()
	all = make([]left, len(ids))
	for i, id := range ids {
		all[i].time, all[i].known = l.deadlines.Remaining(now, id)
	}
	return l.deadlines.Term(), all
}

// askLeft is leftOf of the leader.
func (l *leases) askLeft(ctx context.Context, ids []core.LeaseID) (term uint64, all []left, err error) {
	body, err := l.n.peers.askLeader(ctx, askLease, appendList(nil, 1, ids, leaseNumber))
	if err != nil {
		return 0, nil, err
	}
	term, all, err = decodeLeft(body)
	if err == nil && term != 0 && len(all) != len(ids) {
		err = core.Errorf(core.Internal, "asked of %d leases, the leader told of %d", len(ids), len(all))
	}
	return term, all, err
}

// answerLease answers askLease.
func (r *renewals) answerLease(_ context.Context, _ core.MemberID, body []byte) ([]byte, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	return encodeLeft(r.n.leases.leftOf(f.ids(1))), nil
}

// fullTime is what a lease has while nobody keeps its deadline.
func fullTime(l lease.Lease) time.Duration {
	if l.Remaining > 0 {
		return l.Remaining
	}
	return l.TTL
}
