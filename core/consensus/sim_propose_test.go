package consensus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// simClients is what the clients of a cluster wait for, and have been told.
type simClients struct {
	proposed  int
	lanes     int
	open      []*simProposal
	answered  []*simProposal
	reads     []*simRead
	transfers []*transfer
	highWater uint64 // highest index acknowledged to anybody
	counts    simCounts
}

// simCounts is how often what has happened.
type simCounts map[string]int

func (c simCounts) add(o simCounts) {
	for what, n := range o {
		c[what] += n
	}
}

type simProposal struct {
	*Proposal
	id      string
	node    *simNode
	outcome error
	then    func(error) // unless nil, is called with the outcome
}

type simRead struct {
	*readBatch
	node  *simNode
	floor uint64 // what had been acknowledged when the read began
}

// simLane is a client that does not wait for answers.
type simLane struct {
	Lane
	name string
	n    int
}

// propose proposes a command, in one of some lanes or by itself.
func (n *simNode) propose() {
	if n.s.chance(40) {
		p := &Proposal{}
		if n.s.chance(50) {
			p.deadline = n.s.now.Add(time.Duration(1+n.s.rng.IntN(40)) * simTick)
		}
		n.submit(p, fmt.Sprintf("%d by %d", n.s.proposed, n.id))
		return
	}
	if len(n.lanes) < 3 {
		n.lanes = append(n.lanes, n.s.newLane())
	}
	i := n.s.rng.IntN(len(n.lanes))
	if n.lanes[i].Broken() { // the client connects again
		n.s.counts["broken"]++
		n.lanes[i] = n.s.newLane()
	}
	l := n.lanes[i]
	l.n++
	n.submit(&Proposal{lane: &l.Lane}, fmt.Sprintf("%s %d", l.name, l.n))
}

func (s *sim) newLane() *simLane {
	s.simClients.lanes++
	return &simLane{name: fmt.Sprintf("L%d", s.simClients.lanes)}
}

// submit hands a proposal in.
func (n *simNode) submit(proposal *Proposal, id string) { n.submitThen(proposal, id, nil) }

// submitThen hands a proposal in, and has its outcome told.
func (n *simNode) submitThen(proposal *Proposal, id string, then func(error)) {
	n.s.proposed++
	proposal.done = make(chan struct{}, 2)
	proposal.command = []byte(id)
	n.s.open = append(n.s.open, &simProposal{Proposal: proposal, id: id, node: n, then: then})
	n.in.proposals = append(n.in.proposals, proposal)
	n.maybeStep()
}

// read asks for a linearizable read.
func (n *simNode) read() *readBatch {
	if n.in.reads == nil {
		n.in.reads = newReadBatch()
		n.s.reads = append(n.s.reads, &simRead{readBatch: n.in.reads, node: n, floor: n.s.highWater})
	}
	for _, r := range n.s.reads { // later readers of a batch know of more
		if r.readBatch == n.in.reads {
			r.floor = n.s.highWater
		}
	}
	batch := n.in.reads
	n.maybeStep()
	return batch
}

// collect looks at the outcomes of proposals and reads.
func (s *sim) collect() {
	open := s.open[:0]
	var told []*simProposal // whose owners may propose something
	for _, p := range s.open {
		if !p.Done() {
			open = append(open, p)
			continue
		}
		p.outcome = p.err
		s.count(p)
		p.state.Store(waiting) // a second outcome would be noticed in finish
		s.answered = append(s.answered, p)
		if p.then != nil {
			told = append(told, p)
		}
	}
	s.open = open
	for _, p := range told {
		p.then(p.outcome)
	}
	reads := s.reads[:0]
	for _, r := range s.reads {
		select {
		case <-r.done:
			if r.err == nil {
				s.pending = append(s.pending, r)
				require.GreaterOrEqual(s.t, r.index, r.floor, "seed %d: a read missed what was acknowledged before it", s.seed)
			}
		default:
			reads = append(reads, r)
		}
	}
	s.reads = reads
	s.transfers = slices.DeleteFunc(s.transfers, func(t *transfer) bool {
		select {
		case err := <-t.done:
			if err == nil {
				s.counts["handedOver"]++
			}
			return true
		default:
			return false
		}
	})
}

func (s *sim) count(p *simProposal) {
	switch {
	case p.outcome == nil:
		s.counts["acknowledged"]++
	case errors.Is(p.outcome, core.LeaderChanged):
		s.counts["leaderChanged"]++
	case errors.Is(p.outcome, core.Timeout):
		s.counts["timedOut"]++
	case errors.Is(p.outcome, core.NoLeader):
		s.counts["noLeader"]++
	case errors.Is(p.outcome, core.NotLeader) && p.change.Kind != NoChange:
		s.counts["givenBack"]++
	case errors.Is(p.outcome, errRefused):
		s.counts["refused"]++
	default:
		require.FailNow(s.t, "unexpected outcome", "seed %d: %v", s.seed, p.outcome)
	}
}
