package consensus

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/expiry"
)

// simOwners are the clients that hold sessions and leases, and what all members' state
// machines made of these.
type simOwners struct {
	sessions []*simSession // the present ones
	holders  []*simHolder
	owners   map[core.LeaseID]simOwner
	expired  map[core.LeaseID]bool // on some member
	states   []simState            // by index
	led      time.Time             // when somebody was last told to lead
}

const (
	simSessionCount = 4
	simHolderCount  = 3
)

func newSimOwners() simOwners {
	return simOwners{
		sessions: make([]*simSession, simSessionCount), holders: make([]*simHolder, simHolderCount),
		owners: map[core.LeaseID]simOwner{}, expired: map[core.LeaseID]bool{}, states: make([]simState, 2),
	}
}

func (s *sim) newLease(o simOwner) core.LeaseID {
	id := core.LeaseID(len(s.owners) + 1)
	s.owners[id] = o
	return id
}

// runOwners has all clients do what is due. Others take the place of those that have gone.
func (s *sim) runOwners(faults bool) {
	for i, c := range s.sessions {
		if c == nil || c.retired() {
			s.sessions[i] = s.newSession()
		}
		s.sessions[i].run(faults)
	}
	for i, h := range s.holders {
		if h == nil || h.retired() {
			s.holders[i] = s.newHolder()
		}
		s.holders[i].run(faults)
	}
}

// simHolder is a client that holds a lease, as etcd's do: it has it renewed every third of
// its TTL, by the member that it is connected to.
type simHolder struct {
	s    *sim
	id   core.LeaseID // zero: it has none
	ttl  time.Duration
	dead bool
	gone bool // the lease, or it is not known whether there is one
	has  bool

	at    *simNode
	waits *expiry.Renewing // for the answer of the leader, which the member has asked
	asked time.Time
	// renewed is when the leader renewed the lease, or a command did, of what was acknowledged.
	renewed time.Time
}

func (s *sim) newHolder() *simHolder {
	return &simHolder{s: s, ttl: 2*simElection + time.Duration(s.rng.IntN(30))*simTick}
}

func (h *simHolder) retired() bool { return h.dead || h.gone }

// run is what a client does in a round. Some go with the member that does not answer.
func (h *simHolder) run(faults bool) {
	s := h.s
	if h.at == nil {
		h.at = s.any()
	}
	unanswered := h.asked.After(h.renewed)
	switch {
	case !h.at.runs() || !s.conf().member(h.at.id):
		h.at, h.waits = nil, nil // what the next member hears is no answer to this one
	case h.id == 0:
		h.grant()
	case !h.has || s.now.Sub(h.renewed) < h.ttl/3 || unanswered && s.now.Sub(h.asked) < 3*simTick:
	case faults && s.chance(5) || faults && unanswered && s.chance(20):
		h.dead = true
		s.counts["died"]++
	case unanswered:
		h.asked, h.at, h.waits = time.Time{}, nil, nil
	default:
		h.renew()
	}
}

func (h *simHolder) grant() {
	s := h.s
	h.id = s.newLease(h)
	command := fmt.Sprintf("lease grant %d %d %d %d 0", s.proposed, s.now.UnixNano(), h.id, h.ttl)
	h.at.submitThen(&Proposal{}, command, func(err error) { h.has, h.gone = err == nil, h.gone || err != nil })
}

// renew has the member renew the lease, as core/node does: in its own deadlines, or else
// in the leader's. Whatever else there is to be done ends in another attempt.
func (h *simHolder) renew() {
	n := h.at
	h.asked = h.s.now
	switch _, answer := n.deadlines.Renew(n.clock(), h.id); {
	case answer == expiry.Renewed && n.inContact(): // else the leader asks the others
		h.acknowledged(h.s.now)
	case answer == expiry.NotLeading && n.r.status.leader != n.id:
		h.waits = n.renewals.Renew(h.id)
	}
}

// hear takes the answer, if the member has one: the leader gave it at a time.
func (h *simHolder) hear(from *simNode, when time.Time) {
	if h == nil || h.at != from || h.waits == nil || !isClosed(h.waits.Done()) {
		return
	}
	if h.waits.Got().Answer == expiry.Renewed {
		h.s.counts["renewedByLeader"]++
		h.acknowledged(when)
	}
	h.waits = nil
}

func (h *simHolder) acknowledged(when time.Time) {
	h.s.counts["renewed"]++
	h.granted(when)
}

func (h *simHolder) granted(at time.Time) {
	if at.After(h.renewed) {
		h.renewed = at
	}
}

// expired: the leader found it overdue no sooner than its TTL after the last renewal that
// was acknowledged.
func (h *simHolder) expired(decided time.Time) {
	require.False(h.s.t, decided.Before(h.renewed.Add(h.ttl)), "seed %d: lease %d of %v expired %v after it was renewed",
		h.s.seed, h.id, h.ttl, decided.Sub(h.renewed))
}

func (h *simHolder) ended(*simNode) { h.gone = true }

// finishOwners checks, once all is healed, that the leases of those who went away end in
// time, and no others.
func (s *sim) finishOwners() {
	// The longest timeout or TTL, slack and grace, and some rounds for the entry, and to connect.
	longest := 5*simElection + simSlack + simElection + 60*simTick
	for s.led = later(s.led, s.now); !s.held(); s.round(false) {
		require.True(s.t, s.now.Before(s.led.Add(longest)), "seed %d: clients without leases, or leases of clients that are gone: %v",
			s.seed, s.states[len(s.states)-1])
	}
}

// held says that all leases are those of the present clients, each of which has one.
func (s *sim) held() bool {
	leases, alive := s.states[len(s.states)-1], 0
	for _, c := range s.sessions {
		if _, ok := leases[c.id]; ok && c.open {
			alive++
		}
	}
	for _, h := range s.holders {
		if _, ok := leases[h.id]; ok && h.has {
			alive++
		}
	}
	return alive == len(leases) && alive == len(s.sessions)+len(s.holders)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
