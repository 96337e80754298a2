package consensus

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// simNode is a member of a simulated cluster: what a Driver is, without the
// goroutines, and with a disk and a state machine that crash.
type simNode struct {
	s   *sim
	id  core.MemberID
	r   *replica // nil while it is down
	log *memLog
	in  inputs

	appends []*appendTask
	applies []*applyTask
	applied uint64
	flushed uint64 // the state machine's durable applied index

	incarnation uint64
	term        uint64
	told        leadership // the last change of leadership
}

func (n *simNode) config() Config {
	return Config{
		ID: n.id, Log: n.log, Applied: n.applied, Applier: noApplier{}, Incarnation: n.incarnation,
		TickInterval: simTick, ElectionTimeout: 10 * simTick, RequestTimeout: 60 * simTick, Logger: quiet(),
	}.withDefaults()
}

// noApplier stands where the simulation applies by itself.
type noApplier struct{}

func (noApplier) Apply([]Committed) error { panic("the simulation applies") }

func (noApplier) Install(Installed) error { panic("the simulation installs") }

func (n *simNode) start() {
	n.incarnation++
	n.applied = n.flushed
	n.log.raiseCommit(n.applied)
	c := n.config()
	r, err := newReplica(&c)
	require.NoError(n.s.t, err, "seed %d", n.s.seed)
	n.r, n.term, n.told = r, n.log.now.hard.GetTerm(), leadership{}
	n.s.note("start", n.id)
	n.step()
}

// crash loses what is in memory, and what chance takes of what was not synced.
func (n *simNode) crash() {
	if n.r == nil {
		return
	}
	n.s.counts.crashes++
	n.s.note("crash", n.id)
	n.flushed += uint64(n.s.rng.IntN(int(n.applied-n.flushed) + 1))
	n.log.crash(n.s.rng)
	n.r, n.in, n.appends, n.applies = nil, inputs{}, nil, nil
	open := n.s.open[:0]
	for _, p := range n.s.open {
		if p.node != n {
			open = append(open, p) // those of a dead process get no answer
		}
	}
	n.s.open = open
	reads := n.s.reads[:0]
	for _, r := range n.s.reads {
		if r.node != n {
			reads = append(reads, r)
		}
	}
	n.s.reads = reads
	for link := range n.s.links { // connections end
		if link[0] == uint64(n.id) || link[1] == uint64(n.id) {
			n.s.links[link] = nil
		}
	}
}

// maybeStep lets more than one event reach a step.
func (n *simNode) maybeStep() {
	if n.s.chance(70) {
		n.step()
	}
}

func (n *simNode) step() {
	t, seed := n.s.t, n.s.seed
	out, err := n.r.step(n.s.now, &n.in)
	require.NoError(t, err, "seed %d", seed)
	n.in.reset()
	for _, m := range out.messages {
		link := [2]uint64{uint64(n.id), m.GetTo()} // raft may pass on what another member sent
		n.s.links[link] = append(n.s.links[link], m)
	}
	n.appends = append(n.appends, out.appends...)
	n.applies = append(n.applies, out.applies...)

	st := out.status
	n.s.note("step", n.id, st, len(out.messages), len(out.appends), len(out.applies))
	require.GreaterOrEqual(t, st.term, n.term, "seed %d: the term of member %d went back", seed, n.id)
	n.term = st.term
	if st.leader == n.id {
		if other, ok := n.s.leaders[st.term]; ok {
			require.Equal(t, other, n.id, "seed %d: two leaders in term %d", seed, st.term)
		}
		n.s.leaders[st.term] = n.id
	}
	if st.soleLeader { // then what is applied can be read as it is
		require.Len(t, n.s.nodes, 1)
		require.GreaterOrEqual(t, n.applied, n.s.highWater, "seed %d", seed)
		require.Equal(t, st.term, n.s.order[n.applied].Term, "seed %d", seed)
	}
	if st.leader != n.id && len(n.applies) == 0 && n.told != (leadership{}) {
		require.Equal(t, leadership{st.leader, st.term}, n.told, "seed %d: member %d was told of another leader", seed, n.id)
	}
	inFlight := 0
	for _, a := range n.appends {
		if len(a.entries) > 0 {
			inFlight++
		}
	}
	require.Equal(t, inFlight, n.r.disk.appending, "seed %d: appends in flight", seed)
}

// append carries out an appendTask. One that is synced leaves nothing to a crash.
func (n *simNode) append() {
	if len(n.appends) == 0 {
		return
	}
	task := n.appends[0]
	n.appends = n.appends[1:]
	if task.writes() {
		require.NoError(n.s.t, n.log.Append(task.hard, task.entries, task.sync))
	}
	n.in.appended = append(n.in.appended, task)
	n.maybeStep()
}

// apply carries out an applyTask: entries come in log order, none is left out,
// and every member sees the same.
func (n *simNode) apply() {
	if len(n.applies) == 0 {
		return
	}
	t, seed := n.s.t, n.s.seed
	task := n.applies[0]
	n.applies = n.applies[1:]
	for _, c := range task.entries {
		require.Equal(t, n.applied+1, c.Index, "seed %d: member %d", seed, n.id)
		n.applied = c.Index
		if c.Index == uint64(len(n.s.order)) {
			n.s.order = append(n.s.order, Committed{Index: c.Index, Term: c.Term, Data: c.Data, Entry: c.Entry})
		}
		first := n.s.order[c.Index]
		require.Equal(t, first.Term, c.Term, "seed %d: entry %d differs on member %d", seed, c.Index, n.id)
		require.Equal(t, string(first.Data), string(c.Data), "seed %d: entry %d differs on member %d", seed, c.Index, n.id)
		own := n.ownBatch(&c)
		for i, p := range c.Local {
			if p == nil {
				continue
			}
			require.Equal(t, string(own[i]), string(p.command), "seed %d: the answer belongs to another", seed)
			p.Complete(core.Result{Rev: core.Rev(c.Index)}, nil)
			n.s.highWater = max(n.s.highWater, c.Index)
		}
	}
	if l := task.leadership; l != nil {
		require.NotEqual(t, n.told, *l, "seed %d: told twice", seed)
		require.GreaterOrEqual(t, l.term, n.told.term, "seed %d: told out of order", seed)
		if l.leader == n.id {
			require.Equal(t, l.term, n.s.order[n.applied].Term, "seed %d: told to lead before its own term has begun", seed)
		}
		n.told = *l
	}
	n.in.applied = append(n.in.applied, task)
	n.maybeStep()
}

// ownBatch is the commands of an entry that this incarnation has proposed: there is one
// batch of them.
func (n *simNode) ownBatch(c *Committed) (commands [][]byte) {
	for _, b := range c.Entry.Batches {
		if b.Member == n.id && b.Incarnation == n.incarnation {
			require.Nil(n.s.t, commands, "seed %d: entry %d has two batches of member %d", n.s.seed, c.Index, n.id)
			commands = b.Commands
		}
	}
	return commands
}

func (n *simNode) propose() {
	n.s.proposed++
	id := fmt.Sprintf("%d by %d", n.s.proposed, n.id)
	p := &simProposal{Proposal: &Proposal{done: make(chan struct{}, 2)}, id: id, node: n}
	p.command = []byte(id)
	if n.s.chance(50) {
		p.deadline = n.s.now.Add(time.Duration(1+n.s.rng.IntN(40)) * simTick)
	}
	n.s.open = append(n.s.open, p)
	n.in.proposals = append(n.in.proposals, p.Proposal)
	n.maybeStep()
}

func (n *simNode) read() {
	if n.in.reads == nil {
		n.in.reads = newReadBatch()
		n.s.reads = append(n.s.reads, &simRead{readBatch: n.in.reads, node: n, floor: n.s.highWater})
	}
	for _, r := range n.s.reads { // later readers of a batch know of more
		if r.readBatch == n.in.reads {
			r.floor = n.s.highWater
		}
	}
	n.maybeStep()
}
