package consensus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

const (
	simElection = 10 * simTick
	// simSlack is core/node's clusterSlack.
	simSlack = 3 * core.TouchInterval
	// simConfirms is core/node's confirmsPerElection.
	simConfirms = 4
)

// simLeases is what a member does for leases and sessions, with core/expiry, as core/node
// does it: the zero value is that of one that is down.
type simLeases struct {
	began     time.Time // the zero of its clock
	deadlines *expiry.Deadlines
	renewals  *expiry.Renewals
	contact   *expiry.Contact
	asking    *simAsk
	expiring  bool
	leases    simState
}

// simState is the leases that a state machine knows; it does not change.
type simState map[core.LeaseID]simLease

type simLease struct {
	ttl     time.Duration
	session bool
	index   uint64 // of the grant, or of the newest attachment
}

// simAsk is a batch of renewals under way.
type simAsk struct {
	*expiry.Batch
	to    *simNode
	read  *readBatch                 // of a leader, which asks itself
	heard map[core.LeaseID]time.Time // when the sessions' touches were passed on
	when  time.Time                  // the leader took it
}

// simAnswer is an answer on its way.
type simAnswer struct {
	ask    *simAsk
	answer *expiry.Answer
}

// simOwner is whose lease it is.
type simOwner interface {
	// granted says that the lease was granted, or attached, by a command of that time.
	granted(at time.Time)
	// expired checks that the lease may have been found overdue at a time, and ended at
	// this moment.
	expired(decided time.Time)
	// ended says that the lease has ended on a member.
	ended(on *simNode)
}

func (n *simNode) startLeases() {
	n.simLeases = simLeases{
		began: n.s.now, renewals: expiry.NewRenewals(), leases: n.s.states[n.applied],
		deadlines: expiry.New(expiry.Options{SessionSlack: simSlack}),
		contact: expiry.NewContact(simElection, func() bool { return n.sole }, func() {
			n.s.counts["contactLost"]++
			n.interrupt()
		}),
	}
}

// stopLeases ends the connections, and what is on them.
func (n *simNode) stopLeases() {
	n.simLeases = simLeases{}
	n.interrupt()
}

// clock is the member's own.
func (n *simNode) clock() time.Duration { return n.s.now.Sub(n.began) }

// keepTime is what the member's clock has it do.
func (n *simNode) keepTime() {
	n.contact.Look(n.clock())
	if n.deadlines.Tick(n.clock()) == 0 {
		n.expire()
	} else if n.deadlines.Leading() {
		n.s.counts["gaps"]++
	}
	n.ask()
}

func (n *simNode) inContact() bool { return n.sole || n.contact.Is(n.clock()) }

// expire proposes the end of the leases that are overdue.
func (n *simNode) expire() {
	if n.expiring {
		return
	}
	d := n.deadlines
	c := d.Due(n.clock(), 100)
	if c == nil {
		return
	}
	slices.Sort(c.IDs)
	words := []any{"lease expire", n.s.proposed, n.s.now.UnixNano(), c.Term, n.applied}
	for _, id := range c.IDs {
		words = append(words, id)
	}
	n.expiring = true
	n.submitThen(&Proposal{}, strings.TrimSpace(fmt.Sprintln(words...)), func(error) {
		n.expiring = false
		d.Retry(c.IDs)
	})
}

// ask asks the leader, or looks whether that takes too long.
func (n *simNode) ask() {
	if a := n.asking; a != nil {
		n.await(a)
		return
	}
	b, _ := n.renewals.Next(n.clock(), simElection/simConfirms)
	if b == nil {
		return
	}
	a := &simAsk{Batch: b, heard: map[core.LeaseID]time.Time{}}
	for _, id := range b.Touches {
		a.heard[id] = n.s.owners[id].(*simSession).passed
	}
	n.asking = a
	switch leader := n.r.status.leader; leader {
	case 0:
		n.settle(nil)
	case n.id:
		a.to, a.read = n, n.read()
	default:
		a.to = n.s.nodes[leader-1]
		if !n.s.network.link(n, a.to).send(simFrame{question: a}) {
			n.settle(nil)
		}
	}
}

func (n *simNode) await(a *simAsk) {
	switch {
	case n.clock()-a.Sent >= simElection:
		n.settle(nil)
	case a.read != nil && isClosed(a.read.done):
		if a.read.err != nil {
			n.settle(nil)
			return
		}
		n.contact.Confirm(n.clock(), a.Sent)
		n.settle(n.renewAll(a))
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// answered takes an answer that has come.
func (n *simNode) answered(a simAnswer) {
	if a.ask != n.asking {
		return
	}
	if a.answer.Term != 0 && a.answer.Confirmed {
		n.contact.Confirm(n.clock(), a.ask.Sent)
	}
	n.settle(a.answer)
}

// settle says what became of the batch under way, to those who wait for that, too.
func (n *simNode) settle(answer *expiry.Answer) {
	a := n.asking
	n.asking = nil
	if answer == nil {
		n.renewals.Failed(n.clock())
	} else {
		n.renewals.Answered(n.clock(), *answer)
	}
	for _, h := range n.s.holders {
		h.hear(n, a.when)
	}
}

// renewAll is what the member makes of a batch. The sessions that a leader in contact
// renews are promised their timeout: those that it would renew once more.
func (n *simNode) renewAll(a *simAsk) *expiry.Answer {
	a.when = n.s.now
	answer := n.deadlines.RenewAll(n.clock(), a.Touches, a.Leases)
	answer.Confirmed = n.inContact()
	for _, id := range a.Touches {
		if answer.Confirmed && n.deadlines.Touch(n.clock(), id) == expiry.Renewed {
			n.s.owners[id].(*simSession).take(a.heard[id])
		}
	}
	return &answer
}

// touch is what the member does with a touch that its front end passed on.
func (n *simNode) touch(c *simSession) {
	switch n.deadlines.Touch(n.clock(), c.id) {
	case expiry.Renewed:
		if n.inContact() {
			c.take(c.passed)
		}
	case expiry.NotLeading:
		n.renewals.Touch(c.id)
	}
}

// leadershipTold begins or ends the member's deadlines.
func (n *simNode) leadershipTold() {
	if n.told.leader != n.id {
		n.deadlines.Follow()
		return
	}
	n.s.led = n.s.now
	var all []expiry.Lease
	for _, id := range slices.Sorted(maps.Keys(n.leases)) {
		all = append(all, expiry.Lease{ID: id, TTL: n.leases[id].ttl, Session: n.leases[id].session})
	}
	n.deadlines.Lead(n.clock(), n.told.term, all, simElection)
}

// replaced takes over the leases of a state that was installed. Who follows them was not
// told what lies between.
func (n *simNode) replaced() {
	n.leases = n.s.states[n.applied]
	n.interrupt()
}

// applyLeases applies the commands of an entry to the leases of this member. All
// members come to the same.
func (n *simNode) applyLeases(c *Committed) {
	s, first := n.s, c.Index == uint64(len(n.s.states))
	for _, b := range c.Entry.Batches {
		for _, command := range b.Commands {
			if f := strings.Fields(string(command)); f[0] == "lease" {
				n.applyLease(c, f[1], f[3:], first)
			}
		}
	}
	if first {
		s.states = append(s.states, n.leases)
	}
	require.True(s.t, maps.Equal(s.states[c.Index], n.leases), "seed %d: at entry %d member %d has the leases %v, another %v",
		s.seed, c.Index, n.id, n.leases, s.states[c.Index])
}

func (n *simNode) applyLease(c *Committed, verb string, words []string, first bool) {
	var args []int64
	for _, w := range words {
		arg, err := strconv.ParseInt(w, 10, 64)
		require.NoError(n.s.t, err)
		args = append(args, arg)
	}
	at := time.Unix(0, args[0])
	if verb == "expire" {
		n.applyExpire(c, at, uint64(args[1]), uint64(args[2]), args[3:], first)
		return
	}
	id := core.LeaseID(args[1])
	known, ok := n.leases[id]
	switch {
	case verb == "grant":
		n.setLease(id, simLease{time.Duration(args[2]), args[3] == 1, c.Index})
		n.s.owners[id].granted(at)
	case verb == "attach" && ok:
		known.index = c.Index
		n.setLease(id, known)
		n.s.owners[id].granted(at)
	case verb == "close" && ok:
		n.endLease(id)
	}
}

// applyExpire ends leases as the state machine does: only in the term whose leader
// found them overdue, and only as they were then.
func (n *simNode) applyExpire(c *Committed, decided time.Time, term, asOf uint64, ids []int64, first bool) {
	if term != c.Term {
		if first {
			n.s.counts["expireOfAnotherTerm"]++
		}
		return
	}
	for _, i := range ids {
		id := core.LeaseID(i)
		if known, ok := n.leases[id]; ok && known.index <= asOf {
			if first {
				n.s.counts["expired"]++
				n.s.expired[id] = true
				n.s.owners[id].expired(decided)
			}
			n.endLease(id)
		}
	}
}

func (n *simNode) setLease(id core.LeaseID, to simLease) {
	n.leases = maps.Clone(n.leases)
	if n.leases == nil {
		n.leases = simState{}
	}
	n.leases[id] = to
	n.deadlines.Granted(n.clock(), expiry.Lease{ID: id, TTL: to.ttl, Session: to.session})
}

func (n *simNode) endLease(id core.LeaseID) {
	n.leases = maps.Clone(n.leases)
	delete(n.leases, id)
	n.deadlines.Revoked(id)
	n.s.owners[id].ended(n)
}
