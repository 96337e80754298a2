package consensus

import (
	"fmt"
	"slices"

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
	simDisk
	simPeer
	simLeases
	simShown

	incarnation uint64
	term        uint64
	told        leadership // the last change of leadership
	sole        bool       // what it shows to readers
	paused      int        // for how many rounds the process is held up
	lanes       []*simLane
}

// simDisk is what the log writer and the applier have to do, and have done.
type simDisk struct {
	appends []*appendTask
	applies []*applyTask
	applied uint64
	flushed uint64 // the state machine's durable applied index
}

// simPeer is what a member has to do with the others.
type simPeer struct {
	joins     uint64 // the entry that added it, until it has a state
	fetching  core.MemberID
	arriving  []fetched
	transfers []*transfer
}

func (n *simNode) String() string {
	if n.r == nil {
		return fmt.Sprintf("member %d: down, flushed %d", n.id, n.flushed)
	}
	return fmt.Sprintf("member %d: applied %d, %+v, members %v %v, fetching %v, catching up %+v, raft %v",
		n.id, n.applied, n.r.status, n.r.members.voters, n.r.members.learners, n.fetching, n.r.catchUp, n.r.rn.Status())
}

func (n *simNode) runs() bool { return n.r != nil && n.paused == 0 }

// pause holds the process up.
func (n *simNode) pause() {
	if n.runs() {
		n.s.counts["paused"]++
		n.paused = 1 + n.s.rng.IntN(50)
	}
}

func (n *simNode) config() Config {
	return Config{
		ID: n.id, Log: n.log, Applied: n.applied, Applier: noApplier{}, Incarnation: n.incarnation,
		TickInterval: simTick, ElectionTimeout: 10 * simTick, RequestTimeout: 60 * simTick, Logger: quiet(),
		EarlyElection: n.incarnation%2 == 0, // chance, but no draw of it: the other draws stay
	}.withDefaults()
}

// noApplier stands where the simulation applies by itself.
type noApplier struct{}

func (noApplier) Apply([]Committed) error { panic("the simulation applies") }

func (noApplier) Install(Installed) error { panic("the simulation installs") }

// start starts the member, if it has a state, and no way to know that it was removed.
func (n *simNode) start() {
	if n.joins > 0 && !n.join() || n.s.gone(n.id) && n.s.chance(50) || !n.s.confs[n.flushed].member(n.id) {
		return
	}
	n.incarnation++
	n.applied = n.flushed
	n.log.align(n.flushed, n.s.order[n.flushed].Term)
	n.log.conf = n.s.confs[n.flushed].state()
	c := n.config()
	r, err := newReplica(&c)
	require.NoError(n.s.t, err, "seed %d", n.s.seed)
	n.r, n.term, n.told, n.lanes = r, n.log.now.hard.GetTerm(), leadership{}, nil
	n.startLeases()
	n.showNew()
	n.s.note("start", n.id)
	n.step()
}

// crash loses what is in memory, and what chance takes of what was not synced.
func (n *simNode) crash() {
	if n.r == nil {
		return
	}
	n.s.counts["crashes"]++
	n.s.note("crash", n.id)
	n.flushed += uint64(n.s.rng.IntN(int(n.applied-n.flushed) + 1))
	n.log.crash(n.s.rng)
	n.r, n.in, n.appends, n.applies, n.sole, n.paused = nil, inputs{}, nil, nil, false, 0
	// Those who waited for a dead process get no answer; some see that.
	n.s.open = slices.DeleteFunc(n.s.open, func(p *simProposal) bool {
		if p.node == n && p.then != nil {
			p.then(core.Stopped)
		}
		return p.node == n
	})
	n.s.reads = slices.DeleteFunc(n.s.reads, func(r *simRead) bool { return r.node == n })
	n.s.transfers = slices.DeleteFunc(n.s.transfers, func(t *transfer) bool { return slices.Contains(n.transfers, t) })
	n.s.network.died(n)
	n.stopLeases()
	n.hide()
	n.simPeer = simPeer{joins: n.joins}
}

// leave ends the member if it was removed, and has applied that or is told it.
func (n *simNode) leave() {
	if n.r != nil && n.s.gone(n.id) && (!n.s.confs[n.applied].member(n.id) && n.s.chance(10) || n.s.chance(1)) {
		n.crash()
	}
}

// maybeStep lets more than one event reach a step.
func (n *simNode) maybeStep() {
	if n.s.chance(70) {
		n.step()
	}
}

func (n *simNode) step() {
	if !n.runs() {
		return
	}
	t, seed := n.s.t, n.s.seed
	out, err := n.r.step(n.s.now, &n.in)
	require.NoError(t, err, "seed %d", seed)
	n.in.reset()
	n.sole = out.status.soleLeader
	for _, b := range out.answers {
		b.wake()
	}
	for _, m := range out.messages {
		n.s.send(m)
		n.s.network.link(n, n.s.nodes[m.GetTo()-1]).send(simFrame{message: m})
	}
	if out.fetch != 0 {
		n.fetching = out.fetch
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
	n.checkSole()
	if st.leader != n.id && len(n.applies)+len(n.r.disk.heldTasks) == 0 && n.told != (leadership{}) {
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

// checkSole checks that what a sole leader has applied can be read as it is.
func (n *simNode) checkSole() {
	if n.sole {
		n.s.counts["sole"]++
		require.GreaterOrEqual(n.s.t, n.applied, n.s.highWater, "seed %d: member %d is no sole leader", n.s.seed, n.id)
	}
}

// append carries out an appendTask. One that is synced leaves nothing to a crash.
func (n *simNode) append() {
	if len(n.appends) == 0 {
		return
	}
	task := n.appends[0]
	if i := task.install; i != nil {
		select {
		case <-i.done:
		default:
			return // the state is not installed yet
		}
		require.NoError(n.s.t, n.log.Reset(i.Index, i.Term))
	}
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
	if i := task.install; i != nil {
		require.Greater(t, i.Index, n.applied, "seed %d: the state of member %d went back", seed, n.id)
		n.applied, n.flushed = i.Index, i.Index
		n.replaced()
		n.showNew()
		n.s.counts["installed"]++
		close(i.done)
	}
	for i := range task.entries {
		n.applyEntry(&task.entries[i])
	}
	if l := task.leadership; l != nil {
		require.NotEqual(t, n.told, *l, "seed %d: told twice", seed)
		require.GreaterOrEqual(t, l.term, n.told.term, "seed %d: told out of order", seed)
		if l.leader == n.id {
			require.Equal(t, l.term, n.s.order[n.applied].Term, "seed %d: told to lead before its own term has begun", seed)
		}
		n.told = *l
		n.leadershipTold()
	}
	n.in.applied = append(n.in.applied, task)
	n.maybeStep()
}

func (n *simNode) applyEntry(c *Committed) {
	t, seed := n.s.t, n.s.seed
	require.Equal(t, n.applied+1, c.Index, "seed %d: member %d", seed, n.id)
	if c.Index > n.s.last() {
		n.s.first(Committed{Index: c.Index, Term: c.Term, Data: c.Data, Entry: c.Entry, Change: c.Change})
	}
	n.applied = c.Index
	first := &n.s.order[c.Index]
	require.Equal(t, first.Term, c.Term, "seed %d: entry %d differs on member %d", seed, c.Index, n.id)
	require.Equal(t, string(first.Data), string(c.Data), "seed %d: entry %d differs on member %d", seed, c.Index, n.id)
	require.Equal(t, first.Change, c.Change, "seed %d: entry %d differs on member %d", seed, c.Index, n.id)
	n.applyLeases(c)
	n.showEntry(c)
	c.Refused = first.Refused
	var outcome error
	if c.Refused {
		outcome = errRefused
	}
	own := n.ownBatch(c)
	for i, p := range c.Local {
		if p == nil {
			continue
		}
		require.Equal(t, string(own[i]), string(p.command), "seed %d: the answer belongs to another", seed)
		if !p.Done() {
			if n.r.status.leader != n.id {
				n.s.counts["forwarded"]++
			}
			n.s.highWater = max(n.s.highWater, c.Index)
		}
		p.Complete(core.Result{Rev: core.Rev(c.Index)}, outcome)
	}
	for _, m := range n.s.nodes {
		m.checkSole()
	}
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
