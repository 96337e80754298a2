package consensus

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

var simSeeds = flag.Int("sim.seeds", 20, "seeds to simulate for each size of cluster")

const (
	simTick   = 100 * time.Millisecond
	simRounds = 400
)

// TestSimulation runs clusters through crashes, partitions, lost and late
// messages, slow disks and slow state machines. What is checked at every step is
// written at the methods of simNode and at sim.finish.
func TestSimulation(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		t.Run(fmt.Sprintf("members=%d", size), func(t *testing.T) {
			var total simCounts
			for seed := range *simSeeds {
				s := simulate(t, size, uint64(seed), false)
				total.add(s.counts)
			}
			t.Logf("%+v", total)
			// A simulation in which little happens shows nothing.
			seeds := *simSeeds
			require.Greater(t, total.acknowledged, 100*seeds)
			require.Greater(t, total.reads, 10*seeds)
			require.Greater(t, total.crashes, seeds)
			if size > 1 {
				require.Greater(t, total.leaderChanged, 5*seeds)
				require.Positive(t, total.appliedAfterLeaderChanged)
				require.Greater(t, total.timedOut, seeds)
			}
		})
	}
}

// TestSimulationIsDeterministic shows that a seed reproduces a run exactly.
func TestSimulationIsDeterministic(t *testing.T) {
	first := simulate(t, 3, 7, true)
	second := simulate(t, 3, 7, true)
	require.Equal(t, first.trace, second.trace)
	require.Equal(t, first.counts, second.counts)
	require.NotEqual(t, first.trace, simulate(t, 3, 8, true).trace)
}

// sim is a cluster, its network and its clients, all driven by one source of
// chance.
type sim struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	nodes []*simNode
	links map[[2]uint64][]*Message // from, to: in order
	apart map[uint64]int           // partition that a member is in

	order   []Committed // by index: what every member must apply
	leaders map[uint64]core.MemberID

	simClients

	tracing bool
	trace   uint64
}

// simClients is what the clients of a cluster wait for, and have been told.
type simClients struct {
	proposed  int
	open      []*simProposal
	answered  []*simProposal
	reads     []*simRead
	highWater uint64 // highest index acknowledged to anybody
	counts    simCounts
}

type simCounts struct {
	acknowledged, leaderChanged, timedOut, noLeader  int
	appliedAfterLeaderChanged, reads, crashes, terms int
}

func (c *simCounts) add(o simCounts) {
	c.acknowledged += o.acknowledged
	c.leaderChanged += o.leaderChanged
	c.timedOut += o.timedOut
	c.noLeader += o.noLeader
	c.appliedAfterLeaderChanged += o.appliedAfterLeaderChanged
	c.reads += o.reads
	c.crashes += o.crashes
	c.terms += o.terms
}

type simProposal struct {
	*Proposal
	id      string
	node    *simNode
	outcome error
}

type simRead struct {
	*readBatch
	node  *simNode
	floor uint64 // what had been acknowledged when the read began
}

func simulate(t *testing.T, size int, seed uint64, tracing bool) *sim {
	cryptotest.SetGlobalRandom(t, seed) // raft draws its election timeouts from it
	s := &sim{
		t: t, seed: seed, tracing: tracing,
		rng:     rand.New(rand.NewPCG(seed, uint64(size))),
		now:     time.UnixMilli(0),
		links:   map[[2]uint64][]*Message{},
		apart:   map[uint64]int{},
		order:   make([]Committed, 2), // index 1 is the beginning of a new log
		leaders: map[uint64]core.MemberID{},
	}
	var voters []uint64
	for i := range size {
		voters = append(voters, uint64(i+1))
	}
	for _, v := range voters {
		n := &simNode{s: s, id: core.MemberID(v), log: newMemLog(voters...), applied: 1, flushed: 1}
		s.nodes = append(s.nodes, n)
		n.start()
	}
	for range simRounds {
		s.round(true)
	}
	s.finish()
	return s
}

func (s *sim) chance(percent float64) bool { return s.rng.Float64()*100 < percent }

// round is one tick of every member's clock and some tens of events between.
func (s *sim) round(faults bool) {
	s.now = s.now.Add(simTick)
	for _, n := range s.nodes {
		if n.r != nil && (!faults || s.chance(95)) {
			n.in.ticks++
			n.step()
		}
	}
	events := 30 * len(s.nodes)
	if faults {
		events = s.rng.IntN(events)
	}
	for range events {
		s.event(s.nodes[s.rng.IntN(len(s.nodes))], faults)
	}
	s.collect()
}

func (s *sim) event(n *simNode, faults bool) {
	switch p := s.rng.Float64() * 100; {
	case faults && p < 0.06:
		n.crash()
	case faults && p < 0.1 && len(s.nodes) > 1:
		for _, m := range s.nodes {
			s.apart[uint64(m.id)] = s.rng.IntN(2)
		}
	case faults && p < 0.15 && s.leader() != nil:
		clear(s.apart)
		s.apart[uint64(s.leader().id)] = 1
	case n.r == nil:
		if !faults || p < 10 {
			n.start()
		}
	case faults && p < 0.25:
		clear(s.apart)
	case faults && p < 6:
		for range 1 + s.rng.IntN(3) {
			n.propose()
		}
	case faults && p < 9:
		n.read()
	case p < 25:
		n.append()
	case p < 40:
		n.apply()
	default:
		s.deliver(n, faults)
	}
}

// leader is a member that believes it leads, or nil.
func (s *sim) leader() *simNode {
	for _, n := range s.nodes {
		if n.r != nil && n.r.leads() {
			return n
		}
	}
	return nil
}

// deliver hands n the first message of one of its peers, or loses it.
func (s *sim) deliver(n *simNode, faults bool) {
	from := s.nodes[s.rng.IntN(len(s.nodes))]
	link := [2]uint64{uint64(from.id), uint64(n.id)}
	if len(s.links[link]) == 0 {
		return
	}
	m := s.links[link][0]
	s.links[link] = s.links[link][1:]
	if faults && s.chance(2) || s.apart[link[0]] != s.apart[link[1]] {
		return
	}
	n.in.messages = append(n.in.messages, m)
	n.maybeStep()
}

// collect looks at the outcomes of proposals and reads.
func (s *sim) collect() {
	open := s.open[:0]
	for _, p := range s.open {
		if !p.Done() {
			open = append(open, p)
			continue
		}
		p.outcome = p.err
		s.count(p)
		p.state.Store(waiting) // a second outcome would be noticed in finish
		s.answered = append(s.answered, p)
	}
	s.open = open
	reads := s.reads[:0]
	for _, r := range s.reads {
		select {
		case <-r.done:
			if r.err == nil {
				s.counts.reads++
				require.GreaterOrEqual(s.t, r.index, r.floor, "seed %d: a read missed what was acknowledged before it", s.seed)
			}
		default:
			reads = append(reads, r)
		}
	}
	s.reads = reads
}

func (s *sim) count(p *simProposal) {
	switch {
	case p.outcome == nil:
		s.counts.acknowledged++
	case errors.Is(p.outcome, core.LeaderChanged):
		s.counts.leaderChanged++
	case errors.Is(p.outcome, core.Timeout):
		s.counts.timedOut++
	case errors.Is(p.outcome, core.NoLeader):
		s.counts.noLeader++
	default:
		require.FailNow(s.t, "unexpected outcome", "seed %d: %v", s.seed, p.outcome)
	}
}

// finish heals everything and checks the end: the cluster serves again, all
// members have applied the same and know who leads, all that was acknowledged is there, nothing is
// there twice, nothing that was refused is there, and nobody was answered twice.
func (s *sim) finish() {
	clear(s.apart)
	settled := func() bool {
		for _, n := range s.nodes {
			if n.r == nil || n.applied != uint64(len(s.order)-1) || n.told.leader == 0 || n.told != s.nodes[0].told {
				return false
			}
		}
		return len(s.open) == 0 && len(s.reads) == 0
	}
	rounds := 0
	for ; !settled(); rounds++ {
		require.Less(s.t, rounds, 2000, "seed %d: the cluster does not settle", s.seed)
		s.round(false)
	}
	count := map[string]int{}
	for _, c := range s.order {
		for _, b := range c.Entry.Batches {
			for _, command := range b.Commands {
				count[string(command)]++
			}
		}
	}
	for id, n := range count {
		require.Equal(s.t, 1, n, "seed %d: command %s", s.seed, id)
	}
	for _, p := range s.answered {
		switch {
		case p.outcome == nil:
			require.Equal(s.t, 1, count[p.id], "seed %d: acknowledged command %s is lost", s.seed, p.id)
		case errors.Is(p.outcome, core.NoLeader):
			require.Zero(s.t, count[p.id], "seed %d: command %s was applied, though it was said not to be proposed", s.seed, p.id)
		case errors.Is(p.outcome, core.LeaderChanged):
			s.counts.appliedAfterLeaderChanged += count[p.id]
		}
		require.False(s.t, p.Done(), "seed %d: command %s was answered twice", s.seed, p.id)
	}
	s.counts.terms = len(s.leaders)
}

// note adds an event to the trace, a hash of all that happened.
func (s *sim) note(events ...any) {
	if s.tracing {
		h := fnv.New64a()
		h.Write(fmt.Append(nil, s.trace, events))
		s.trace = h.Sum64()
	}
}

// quiet is a logger for what tests are not interested in.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
