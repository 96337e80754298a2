package consensus

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

var (
	simSeeds = flag.Int("sim.seeds", 15, "seeds to simulate for each size of cluster")
	simFirst = flag.Int("sim.first", 0, "the first of the seeds")
)

const (
	simTick   = 100 * time.Millisecond
	simRounds = 300
	// simMembers is how many members a cluster may have that began with fewer.
	simMembers = 5
)

// TestSimulation runs clusters through crashes, power loss of all members, partitions,
// lost, doubled, late and overtaking messages, slow disks and slow state machines, short
// logs, failing fetches, true and false news that members are gone, and changes of the
// members and of leadership. What is checked
// at every step is written at the methods of simNode, simCluster and sim.finish.
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
				"timedOut": 1, "changed": 1, "refused": 1, "installed": 1, "handedOver": 1, "succession": 1, "appliedAfterLeaderChanged": 1,
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
	network simNetwork
	simCluster
	simClients

	tracing bool
	trace   uint64
}

// simNetwork is what is between the members.
type simNetwork struct {
	links map[[2]uint64][]*Message // from, to: in order
	apart map[uint64]int           // partition that a member is in
	deaf  map[[2]uint64]bool       // from, to: nothing arrives
}

func (n *simNetwork) cut(link [2]uint64) bool {
	return n.apart[link[0]] != n.apart[link[1]] || n.deaf[link]
}

func (n *simNetwork) heal() {
	clear(n.apart)
	clear(n.deaf)
}

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
		rng:        rand.New(rand.NewPCG(seed, uint64(size))),
		now:        time.UnixMilli(0),
		network:    simNetwork{links: map[[2]uint64][]*Message{}, apart: map[uint64]int{}, deaf: map[[2]uint64]bool{}},
		simClients: simClients{counts: simCounts{}},
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
	for range simRounds {
		s.round(true)
	}
	s.finish()
	return s
}

func (s *sim) chance(percent float64) bool { return s.rng.Float64()*100 < percent }

// any is one of the members, or of those that were.
func (s *sim) any() *simNode { return s.nodes[s.rng.IntN(len(s.nodes))] }

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
		n := s.any()
		n.leave()
		switch {
		case faults && s.chance(2):
			s.fault(n)
		case n.r == nil:
			if !faults || s.chance(10) {
				n.start()
			}
		default:
			s.event(n, faults)
		}
	}
	s.collect()
}

// fault is something that a network, a machine or an operator does.
func (s *sim) fault(n *simNode) {
	switch s.rng.IntN(24) {
	case 0:
		n.crash()
	case 1:
		for _, m := range s.nodes {
			s.network.apart[uint64(m.id)] = s.rng.IntN(2)
		}
	case 2:
		if l := s.leader(); l != nil {
			clear(s.network.apart)
			s.network.apart[uint64(l.id)] = 1
		}
	case 3:
		s.network.deaf[[2]uint64{uint64(n.id), uint64(s.any().id)}] = true
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
	case 14, 15, 17, 18:
		n.truncate()
	case 16:
		n.breakStreams()
	case 19, 20, 21:
		n.hearGone()
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
	case p < 12:
		n.notice()
	case p < 14:
		n.fetch(faults)
	case p < 27:
		n.append()
	case p < 42:
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

// deliver hands n a message of one of its peers: the first, mostly. It may be lost, or
// come again.
func (s *sim) deliver(n *simNode, faults bool) {
	from := s.any()
	link := [2]uint64{uint64(from.id), uint64(n.id)}
	waiting := s.network.links[link]
	if len(waiting) == 0 {
		return
	}
	i := 0
	if faults && s.chance(3) {
		i = s.rng.IntN(len(waiting))
	}
	m := waiting[i]
	if !faults || !s.chance(2) {
		s.network.links[link] = slices.Delete(waiting, i, i+1)
	} else {
		m = proto.Clone(m).(*Message) // it comes again
	}
	if faults && s.chance(2) || s.network.cut(link) {
		if !s.chance(5) { // mostly the sender's transport notices
			from.lose(n.id)
		}
		return
	}
	if s.gone(from.id) && s.chance(50) {
		return // those that know refuse one that was removed
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
				s.counts["reads"]++
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
	case errors.Is(p.outcome, errRefused):
		s.counts["refused"]++
	default:
		require.FailNow(s.t, "unexpected outcome", "seed %d: %v", s.seed, p.outcome)
	}
}

// finish heals everything and checks the end: the cluster serves again, all members have
// applied the same and know who leads, all that was acknowledged is there, nothing is
// there twice, nothing that was said not to be proposed is there, and nobody was
// answered twice.
func (s *sim) finish() {
	s.network.heal()
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
		return len(s.open) == 0 && len(s.reads) == 0 && len(s.transfers) == 0
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
			s.counts["appliedAfterLeaderChanged"] += count[p.id]
		}
		require.False(s.t, p.Done(), "seed %d: command %s was answered twice", s.seed, p.id)
	}
	s.counts["terms"] = len(s.leaders)
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
