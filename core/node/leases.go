package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/state/lease"
)

// expiryInterval is how often overdue leases are looked for. A lease ends at most
// this much after its deadline, and never before it.
const expiryInterval = 100 * time.Millisecond

// expiryBatch bounds the leases that one command revokes, so that a wave of them
// does not hold up the writes of others.
const expiryBatch = 500

// checkpointInterval is how often what a lease has left is written down, and
// checkpointBatch how many leases one command writes down (etcd: lease/lessor.go).
const (
	checkpointInterval = 5 * time.Minute
	checkpointBatch    = 1000
)

// clusterSlack is how much later than its timeout the leader of several members lets a
// session end: a front end may keep a touch back for core.TouchInterval, its member for as
// long again (renewals), and for the way there is as much.
const clusterSlack = 3 * core.TouchInterval

// leases keeps the deadlines of leases, sessions among them, while this member
// leads. It implements core.Leases.
type leases struct {
	n     *Node
	start time.Time // the zero of the deadlines' clock
	// due wakes the goroutine that revokes; its capacity is 1.
	due chan struct{}

	mu        sync.Mutex
	deadlines *expiry.Deadlines

	// renewals goes to the leader while that is another member.
	renewals renewals
}

func (l *leases) init(n *Node) {
	l.n, l.start, l.due = n, time.Now(), make(chan struct{}, 1)
	l.renewals.init(n)
	n.sessions.contact.init(l, n.cfg.Timing.Election)
	o := expiry.Options{SessionSlack: core.TouchInterval}
	if n.clustered() {
		o.SessionSlack = clusterSlack
	}
	if n.cfg.Leases.Checkpoint {
		o.CheckpointInterval = checkpointInterval
	}
	l.deadlines = expiry.New(o)
}

// now is the monotonic time since start.
func (l *leases) now() time.Duration { return time.Since(l.start) }

// leadership is told of every change of leader, on the apply goroutine: the
// published view is what the deadlines begin from, and what is applied later
// comes to changed.
func (l *leases) leadership(leader core.MemberID, term uint64, self bool) {
	if leader != 0 {
		l.n.metrics.leaderChanges.Inc()
	}
	var all []expiry.Lease
	if self {
		view := l.n.published.hold()
		var err error
		all, err = leasesIn(view)
		view.Close()
		if err != nil {
			l.n.fail(err)
			return
		}
	}
	l.mu.Lock()
	if self {
		l.deadlines.Lead(l.now(), term, all, l.n.cfg.Timing.Election)
	} else {
		l.deadlines.Follow()
	}
	l.mu.Unlock()
	l.n.published.wake()
	signal(l.renewals.wake)
}

// leasesIn are the leases that a view shows, as the deadlines take them.
func leasesIn(v *state.View) ([]expiry.Lease, error) {
	var all []expiry.Lease
	err := v.EachLease(func(id core.LeaseID, l lease.Lease) {
		all = append(all, expiry.Lease{ID: id, TTL: l.TTL, Session: l.Session(), Remaining: l.Remaining})
	})
	return all, err
}

// changed is told by apply which leases came and went, and what they have left, before
// the view that shows it is published.
func (l *leases) changed(changes []state.LeaseChange, checkpoints []core.LeaseRemaining) {
	if len(changes)+len(checkpoints) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		if c.TTL == 0 {
			l.deadlines.Revoked(c.ID)
			l.n.metrics.revoked.Inc()
			continue
		}
		l.deadlines.Granted(l.now(), expiry.Lease{ID: c.ID, TTL: c.TTL, Session: c.Epoch != 0})
		if c.Epoch <= 1 { // else it was there, and is attached to another connection
			l.n.metrics.granted.Inc()
		}
	}
	for _, c := range checkpoints {
		l.deadlines.Checkpointed(l.now(), c)
	}
}

// keepTime ticks the deadlines' clock until ctx ends. It does nothing else: were
// it to wait for a revocation, a slow disk would look like a process held up.
func (l *leases) keepTime(ctx context.Context) {
	tick := time.NewTicker(expiryInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		l.mu.Lock()
		gap := l.deadlines.Tick(l.now())
		l.mu.Unlock()
		if gap > 0 {
			l.n.cfg.Logger.Warn("the process was held up: all leases are given the time that it missed", "gap", gap)
			continue
		}
		signal(l.due)
	}
}

// expireOverdue revokes overdue leases until ctx ends.
func (l *leases) expireOverdue(ctx context.Context) {
	var sessions expiredSessions
	for {
		select {
		case <-l.due:
			l.expireDue(ctx, &sessions)
			sessions.tell(l.now(), l.n.cfg.Logger)
			l.checkpointDue(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// expireDue revokes what is due now.
func (l *leases) expireDue(ctx context.Context, ended *expiredSessions) {
	for {
		cmd, sessions := l.nextDue()
		if cmd == nil {
			return
		}
		_, err := l.n.do(ctx, cmd)
		// Whatever became of it, a lease that is still there is due again: its
		// revocation failed, or passed it over.
		l.mu.Lock()
		again := l.deadlines.Retry(cmd.IDs)
		sessions -= l.deadlines.Sessions(cmd.IDs)
		l.mu.Unlock()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, core.LeaderChanged) {
				l.n.cfg.Logger.Warn("revoking overdue leases failed; it is tried again", "leases", len(cmd.IDs), "error", err)
			}
			return
		}
		l.n.metrics.expired.Add(float64(len(cmd.IDs) - again))
		ended.add(sessions)
	}
}

// checkpointDue has written down what leases have left, as far as it is due now.
func (l *leases) checkpointDue(ctx context.Context) {
	for {
		l.mu.Lock()
		cmd := l.deadlines.DueCheckpoints(l.now(), checkpointBatch)
		l.mu.Unlock()
		if cmd == nil {
			return
		}
		if _, err := l.n.do(ctx, cmd); err != nil {
			l.mu.Lock()
			l.deadlines.Unwritten(l.now(), cmd.Leases)
			l.mu.Unlock()
			if ctx.Err() == nil && !errors.Is(err, core.LeaderChanged) {
				l.n.cfg.Logger.Warn("writing down what leases have left failed; it is tried again", "leases", len(cmd.Leases), "error", err)
			}
			return
		}
	}
}

// nextDue returns a command that revokes what is overdue, or nil, and how many sessions
// are among that. It says as of
// when, by a view from before the look at the deadlines, which know all that the
// view shows: a lease that is granted under the same id later, or a session that is
// attached, is not meant. While the CORRUPT alarm stands nothing is due: apply would
// refuse it.
func (l *leases) nextDue() (cmd *core.LeaseExpire, sessions int) {
	view := l.n.published.hold()
	if view == nil {
		return nil, 0
	}
	defer view.Close()
	if view.Corrupt() {
		return nil, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	cmd = l.deadlines.Due(l.now(), expiryBatch)
	if cmd != nil {
		cmd.AsOf = view.Index()
		sessions = l.deadlines.Sessions(cmd.IDs)
	}
	return cmd, sessions
}

// KeepAlive implements core.Leases.
func (l *leases) KeepAlive(ctx context.Context, who core.Principal, id core.LeaseID) (time.Duration, error) {
	if err := l.mayRenew(who, id); err != nil {
		return 0, err
	}
	for {
		r, err := l.renewAnywhere(ctx, id)
		switch {
		case err != nil:
			return 0, err
		case r.Answer == expiry.Renewed:
			return r.TTL, nil
		case r.Answer == expiry.NotLeading:
			continue // another member leads now, or this one
		}
		_, err = l.n.do(ctx, expiry.Undo(id, r.Term))
		if err != nil && (!l.n.clustered() || !errors.Is(err, core.LeaderChanged)) {
			return 0, err
		}
	}
}

// renewAnywhere renews a lease in the deadlines of whoever has them. The answer is
// Renewed, Checkpointed, or NotLeading if they went elsewhere meanwhile.
func (l *leases) renewAnywhere(ctx context.Context, id core.LeaseID) (expiry.Outcome, error) {
	r := l.renew(id)
	switch {
	case r.Answer == expiry.Renewed || r.Answer == expiry.Checkpointed:
		return l.ensure(ctx, r)
	case r.Answer == expiry.NotLeading && l.n.clustered() && !l.n.leads():
		return l.renewByLeader(ctx, id)
	}
	err := l.renewUncertain(ctx, id, false, func() expiry.Renewal {
		r = l.renew(id)
		return r.Answer
	})
	if l.n.clustered() && errors.Is(err, core.NoLeader) && !l.n.leads() {
		return expiry.Outcome{Answer: expiry.NotLeading}, nil
	}
	if err != nil {
		return r, err
	}
	return l.ensure(ctx, r)
}

// renewUncertain renews a lease of which the deadlines did not know that it can
// be: it may be gone, or going, or this member may be too new a leader, or the lease
// is overdue.
// It fails with LeaseNotFound only when a view shows that the lease is gone: that
// view is linearizable, so that a stale member tells nobody that his lease has
// ended; and who renews too late is not told so before its keys are gone
// (etcd T-62). It does not fail with a lease that is Checkpointed.
func (l *leases) renewUncertain(ctx context.Context, id core.LeaseID, session bool, renew func() expiry.Renewal) error {
	v, err := l.n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return err
	}
	v.Close()
	var readErr error
	var answer expiry.Renewal
	v, err = l.n.published.await(ctx, func(v *state.View) bool {
		var known lease.Lease
		if known, readErr = v.Lease(id); readErr == nil && known.Session() != session {
			readErr = core.LeaseNotFound
		}
		if readErr != nil {
			return true
		}
		answer = renew()
		return answer == expiry.Renewed || answer == expiry.Checkpointed || answer == expiry.NotLeading
	})
	if err != nil {
		return err
	}
	v.Close()
	if readErr == nil && answer == expiry.NotLeading {
		return core.NoLeader
	}
	return readErr
}

func (l *leases) renew(id core.LeaseID) (r expiry.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.current() {
		return expiry.Outcome{Answer: expiry.NotLeading}
	}
	r.TTL, r.Answer = l.deadlines.Renew(l.now(), id)
	r.Term = l.deadlines.Term()
	if r.Answer == expiry.Renewed {
		l.n.metrics.renewed.Inc()
	}
	return r
}

func (l *leases) touch(id core.LeaseID) expiry.Renewal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.current() {
		return expiry.NotLeading
	}
	return l.deadlines.Touch(l.now(), id)
}

// current says whether the deadlines are those of the term in which this member leads.
// That a term has ended they are told only when what came before is applied, and what they
// renew until then nobody else hears of. mu is held.
func (l *leases) current() bool {
	return l.deadlines.Leading() && l.n.leadsIn(l.deadlines.Term())
}

// Status implements core.Leases.
func (l *leases) Status(ctx context.Context, who core.Principal, id core.LeaseID, keys bool) (core.LeaseStatus, error) {
	v, err := l.n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return core.LeaseStatus{}, err
	}
	defer v.Close()
	if err := maySeeLease(v, who, id, keys); err != nil {
		return core.LeaseStatus{}, err
	}
	known, err := v.Lease(id)
	if err != nil {
		return core.LeaseStatus{}, err
	}
	s := core.LeaseStatus{ID: id, Session: known.Session(), Granted: known.TTL}
	left, err := l.remaining(ctx, []core.LeaseID{id}, func(int) time.Duration { return fullTime(known) })
	if err != nil {
		return core.LeaseStatus{}, err
	}
	s.Remaining = max(left[0], 0)
	if !keys {
		return s, nil
	}
	if s.Keys, err = v.LeaseKeys(id); err != nil {
		return core.LeaseStatus{}, err
	}
	s.Keys, err = v.VisibleKeys(who, s.Keys)
	return s, err
}

// List implements core.Leases.
func (l *leases) List(ctx context.Context, who core.Principal) ([]core.LeaseID, error) {
	v, err := l.n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if err := maySeeLeases(v, who); err != nil {
		return nil, err
	}
	all, err := leasesIn(v)
	if err != nil {
		return nil, err
	}
	ids := make([]core.LeaseID, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	left, err := l.remaining(ctx, ids, func(i int) time.Duration { return all[i].Left() })
	if err != nil {
		return nil, err
	}
	expiries := make([]expiry.Expiry, len(all))
	for i := range all {
		expiries[i] = expiry.Expiry{ID: ids[i], Deadline: left[i]}
	}
	expiry.SortExpiries(expiries)
	for i := range expiries {
		ids[i] = expiries[i].ID
	}
	return ids, nil
}
