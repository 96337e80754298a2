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

var (
	simSeeds = flag.Int("sim.seeds", 8, "seeds to simulate for each size of cluster")
	simFirst = flag.Int("sim.first", 0, "the first of the seeds")
)

const (
	simTick   = 100 * time.Millisecond
	simRounds = 400
	// simPhase is for how many rounds there are many faults, and then few.
	simPhase = 100
	// simMembers is how many members a cluster may have that began with fewer.
	simMembers = 5
)

// TestSimulation runs clusters of step functions, this package's and core/expiry's, from
// one goroutine: through crashes, power loss of all members, processes that are held up,
// partitions, streams that break, slow disks and slow state machines, short logs, failing
// fetches, true and false news that members are gone, and changes of the members and of
// leadership. What is checked at every step is written where it is:
//
//   - of raft, of forwarding and of lanes: simNode, simCluster, sim.finish;
//   - of what lies between members, which is core/peer's contract: simNetwork;
//   - of leases and sessions: simHolder.expired, simSession.speak and expired,
//     sim.finishOwners;
//   - of views, reads and watches: simNode.show, sim.runViews, simWatch.see.
func TestSimulation(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprintf("members=%d", size), func(t *testing.T) {
			total := simCounts{}
			for seed := range *simSeeds {
				total.add(simulate(t, size, uint64(*simFirst+seed), false).counts)
			}
			t.Logf("%+v", total)
			// A simulation in which little happens shows nothing.
			seeds := *simSeeds
			for what, least := range map[string]int{
				"acknowledged": 100, "forwarded": 20, "reads": 10, "crashes": 1, "leaderChanged": 2, "broken": 1,
				"timedOut": 1, "changed": 1, "refused": 1, "installed": 0, "handedOver": 1, "succession": 1, "appliedAfterLeaderChanged": 1,
				"connected": 5, "spoken": 100, "renewed": 10, "renewedByLeader": 5, "expired": 10, "expiredAlive": 2, "contactLost": 4,
				"paused": 4, "watching": 10, "givenBack": 0,
			} {
				require.Greater(t, total[what], least*seeds/4, what)
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
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	now     time.Time
	nodes   []*simNode // those that were ever members, by id
	faults  float64    // the percentage of events that are faults
	network simNetwork
	simCluster
	simClients
	simOwners
	simViews

	tracing bool
	trace   uint64
}

func simulate(t *testing.T, size int, seed uint64, tracing bool) *sim {
	cryptotest.SetGlobalRandom(t, seed) // raft draws its election timeouts from it
	s := &sim{
		t: t, seed: seed, tracing: tracing,
		rng:        rand.New(rand.NewPCG(seed, uint64(size))),
		now:        time.UnixMilli(0),
		network:    newSimNetwork(seed%2 == 1),
		simClients: simClients{counts: simCounts{}}, simOwners: newSimOwners(), simViews: newSimViews(),
	}
	var voters []uint64
	for i := range size {
		voters = append(voters, uint64(i+1))
	}
	s.simCluster = newSimCluster(voters)
	for _, v := range voters {
		n := &simNode{s: s, id: core.MemberID(v), log: newMemLog(voters...), simDisk: simDisk{applied: 1, flushed: 1}}
		s.nodes = append(s.nodes, n)
		n.start()
	}
	for i := range simRounds {
		s.weather(i)
		s.round(true)
	}
	s.finish()
	return s
}

// weather lets storm and calm follow each other: sessions and leases need some calm to
// come into being, and to end. In the midst of it the leader is cut off, with all that
// it has promised.
func (s *sim) weather(round int) {
	calm := round/simPhase%2 == 1
	switch {
	case round%simPhase == 0 && calm:
		s.faults = 0.2
		s.network.heal()
	case round%simPhase == 0:
		s.faults = 2
	case round%simPhase == simPhase/2 && calm:
		s.isolate()
	}
}

func (s *sim) chance(percent float64) bool { return s.rng.Float64()*100 < percent }

// any is one of the members, or of those that were.
func (s *sim) any() *simNode { return s.nodes[s.rng.IntN(len(s.nodes))] }

// round is one tick of every member's clock and some tens of events between.
func (s *sim) round(faults bool) {
	began := s.now
	for _, n := range s.nodes {
		n.paused = max(0, n.paused-1)
		if !n.runs() {
			continue
		}
		if !faults || s.chance(95) {
			n.in.ticks++
			n.step()
		}
		n.keepTime()
	}
	s.runOwners(faults)
	events := 30 * len(s.nodes)
	if s.faults > 1 && faults {
		events = s.rng.IntN(events)
	}
	for i := range events {
		s.now = began.Add(time.Duration(i) * simTick / time.Duration(events))
		n := s.any()
		n.leave()
		switch {
		case faults && s.chance(s.faults):
			s.fault(n)
		case n.r == nil:
			if !faults || s.chance(10) {
				n.start()
			}
		case n.runs():
			s.event(n, faults)
		}
	}
	s.now = began.Add(simTick)
	s.collect()
	s.runViews(faults)
}

// fault is something that a network, a machine or an operator does.
func (s *sim) fault(n *simNode) {
	switch s.rng.IntN(26) {
	case 0:
		n.crash()
	case 1:
		for _, m := range s.nodes {
			s.network.apart[m] = s.rng.IntN(2)
		}
	case 2:
		s.isolate()
	case 3:
		s.network.deaf[[2]*simNode{n, s.any()}] = true
	case 4, 5, 6, 7, 8:
		s.network.heal()
	case 9:
		if s.chance(30) {
			for _, m := range s.nodes {
				m.crash()
			}
		}
	case 10, 11, 12:
		n.proposeChange()
	case 13:
		n.handOver()
	case 14, 15, 17, 18, 22, 23:
		n.truncate()
	case 16:
		s.network.sever(n, s.chance(50))
	case 19, 20, 21:
		n.hearGone()
	case 24, 25:
		n.pause()
	}
}

// isolate cuts the leader off, alone or with another member. The others may take it for
// gone, and follow it at once.
func (s *sim) isolate() {
	l := s.leader()
	if l == nil {
		return
	}
	clear(s.network.apart)
	s.network.apart[l] = 1
	s.network.apart[s.any()] = 1
	if s.chance(50) {
		for _, m := range s.nodes {
			if s.network.cut(l, m) {
				s.network.link(l, m).dead = true
				s.network.link(m, l).dead = true
				m.happen(gone(l.id))
			}
		}
	}
}

// event is something that a member does.
func (s *sim) event(n *simNode, faults bool) {
	switch p := s.rng.Float64() * 100; {
	case faults && p < 6:
		for range 1 + s.rng.IntN(3) {
			n.propose()
		}
	case faults && p < 9:
		n.read()
	case p < 14:
		n.fetch(faults)
	case p < 27:
		n.append()
	case p < 42:
		n.apply()
	case p < 48:
		if c := s.sessions[s.rng.IntN(len(s.sessions))]; c != nil && c.open {
			c.act(faults)
		}
	default:
		s.network.link(s.any(), n).carry(faults)
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

// finish heals everything and checks the end: the cluster serves again, all members have
// applied the same and know who leads, leases end that nobody holds, watchers know all, all that was acknowledged is there, nothing is
// there twice, nothing that was said not to be proposed is there, and nobody was
// answered twice.
func (s *sim) finish() {
	s.network.heal()
	for _, n := range s.nodes {
		n.paused = 0
	}
	s.round(false) // who was held up has missed time, and is given it
	s.settle()
	s.finishOwners()
	s.settle()
	s.finishViews()
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
		case errors.Is(p.outcome, core.NoLeader), errors.Is(p.outcome, core.NotLeader):
			require.Zero(s.t, count[p.id], "seed %d: command %s was applied, though it was said not to be proposed", s.seed, p.id)
		case errors.Is(p.outcome, core.LeaderChanged):
			s.counts["appliedAfterLeaderChanged"] += count[p.id]
		}
		require.False(s.t, p.Done(), "seed %d: command %s was answered twice", s.seed, p.id)
	}
	s.counts["terms"] = len(s.leaders)
}

// settle lets time pass without faults until all members have applied the same and know
// who leads, and nobody waits.
func (s *sim) settle() {
	settled := func() bool {
		var one *simNode
		for _, n := range s.nodes {
			if !s.conf().member(n.id) {
				continue
			}
			if one == nil {
				one = n
			}
			if n.r == nil || n.applied != s.last() || n.told.leader == 0 || n.told != one.told {
				return false
			}
		}
		return len(s.open) == 0 && len(s.reads) == 0 && len(s.transfers) == 0 && len(s.pending) == 0
	}
	for rounds := 0; !settled(); rounds++ {
		if rounds == 2000 {
			for _, n := range s.nodes {
				s.t.Logf("%v", n)
			}
			require.FailNow(s.t, "the cluster does not settle", "seed %d: %+v, open %d, reads %d, transfers %d",
				s.seed, s.conf(), len(s.open), len(s.reads), len(s.transfers))
		}
		s.round(false)
	}
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
