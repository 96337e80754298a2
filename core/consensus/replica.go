package consensus

import (
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/triglot/triglot/core"
)

// replica is one member's consensus as a step function: no goroutine, no lock,
// no clock. Its owner calls step with what has happened since the last step,
// carries out what comes back, and reports that in a later step. After an error
// it must not be stepped again.
//
// Invariants:
//
//  1. A proposal is in the mailbox, in proposer, or in one applyTask; and
//     whoever holds it is the only one to complete it.
//  2. Of the commit index at most the newest may be missing on disk: an entry that
//     changes the members is written together with, or after, a commit index that
//     covers the change before it. So the members that a restart finds in its state
//     are at most one change behind those of its log, but for changes which it knows
//     to be committed, and raft does not campaign before those are applied.
type replica struct {
	self core.MemberID
	log  *slog.Logger
	rn   *raft.RawNode

	inherited uint64 // the last entry that the log held at the start

	status   status
	members  members
	proposer proposer
	outbound outbound
	relay    relay
	reader   reader
	catchUp  catchUp
	duties   duties
	disk     diskWork

	now time.Time // of the present step
	out outputs   // of the present step
}

// status is what a replica shows of itself.
type status struct {
	leader    core.MemberID // zero if none is known
	term      uint64
	committed uint64
	// ownTerm: this member leads and an entry of its own term is committed.
	ownTerm bool
	// serving: that entry is applied, too, and the state machine has been told that
	// this member leads. Until then nobody is served.
	serving bool
	// soleLeader: this member is serving and the only one of the cluster, so nobody else
	// can have acknowledged what it has not applied.
	soleLeader bool
}

// inputs is what has happened to a replica since its last step.
type inputs struct {
	ticks     int
	messages  []*Message // from peers
	appended  []*appendTask
	applied   []*applyTask
	proposals []*Proposal
	reads     *readBatch // nil if there is none
	events    []event
}

// reset empties in and keeps its memory.
func (in *inputs) reset() {
	clear(in.messages)
	clear(in.appended)
	clear(in.applied)
	clear(in.proposals)
	clear(in.events)
	*in = inputs{
		events:    in.events[:0],
		messages:  in.messages[:0],
		appended:  in.appended[:0],
		applied:   in.applied[:0],
		proposals: in.proposals[:0],
	}
}

// outputs is what is to be done after a step. Each list is in order; the lists
// are independent of each other. The slices are valid until the next step.
type outputs struct {
	messages []*Message // for peers
	appends  []*appendTask
	applies  []*applyTask
	answers  []*readBatch  // to be woken once status is published
	released int           // size of the proposals that are no longer queued
	fetch    core.MemberID // whose state is to be fetched; zero is nobody's
	status   status
	pending  int // proposals without an outcome
}

// newReplica opens a replica on a log. A member that is the only voter campaigns
// at once: nobody else could lead, and it would wait for an election timeout. raft
// refuses while there are changes of the members to be applied.
func newReplica(c *Config) (*replica, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	state, err := openLog(c.Log, c.ID, c.Applied)
	if err != nil {
		return nil, err
	}
	rn, err := raft.NewRawNode(c.raftConfig())
	if err != nil {
		return nil, err
	}
	r := &replica{
		self: c.ID,
		log:  c.Logger,
		rn:   rn,

		inherited: state.last,

		status:  status{term: state.hard.GetTerm(), committed: state.hard.GetCommit()},
		members: newMembers(c.ID, &state),
		duties:  newDuties(c),
		disk:    diskWork{hard: state.hard, last: state.last},
		proposer: proposer{
			member:      c.ID,
			incarnation: c.Incarnation,
			timeout:     c.RequestTimeout,
		},
		reader: reader{
			incarnation: c.Incarnation,
			timeout:     c.RequestTimeout,
			retryTicks:  max(1, c.electionTicks()/2),
		},
	}
	if r.members.soleVoter() {
		if err := rn.Campaign(); err != nil {
			return nil, fmt.Errorf("campaign: %w", err)
		}
	}
	r.awaken(c, state.hard.GetTerm())
	return r, nil
}

// step takes in what has happened and returns what is to be done. It keeps
// nothing of in but the elements. What raft panics with, an invariant that is
// broken or a log that cannot be read, comes back as an error.
func (r *replica) step(now time.Time, in *inputs) (out outputs, err error) {
	r.now = now
	clear(r.out.messages)
	clear(r.out.appends)
	clear(r.out.applies)
	clear(r.out.answers)
	r.out = outputs{
		messages: r.out.messages[:0], appends: r.out.appends[:0], applies: r.out.applies[:0], answers: r.out.answers[:0],
	}
	defer func() {
		if err = asError(recover(), err); err != nil {
			for _, t := range r.out.applies { // nobody will apply them
				t.abandonAfter(0, stopped(err))
			}
			out = outputs{}
		}
	}()

	if err := r.takeIn(in); err != nil {
		return out, err
	}
	if err := r.handleReady(); err != nil {
		return out, err
	}
	if err := r.installFetched(); err != nil {
		return out, err
	}
	if in.ticks > 0 {
		r.sweep(in.ticks)
	}
	r.proposer.giveBack(r.leading())
	r.propose()
	r.forward()
	r.ask()
	if err := r.handleReady(); err != nil {
		return out, err
	}
	r.thin()
	r.out.released, r.proposer.released = r.proposer.released, 0
	r.out.pending = r.proposer.pending()
	r.out.status = r.status
	r.out.answers, r.reader.answers = r.reader.answers, r.out.answers
	return r.out, nil
}

// sweep answers whatever is overdue.
func (r *replica) sweep(ticks int) {
	r.proposer.sweep(r.now, r.unserved())
	if r.stalled() {
		r.breakStream()
	}
	r.reader.sweep(r.now, r.unserved())
	r.sweepTransfers()
	r.remind(ticks)
}

// asError turns what raft has panicked with, if it is an error of raft's or of
// the log's, into an error. A bug of ours remains a panic.
func asError(panicked any, err error) error {
	switch v := panicked.(type) {
	case nil:
		return err
	case runtime.Error:
		panic(v)
	case error:
		return v
	default:
		panic(v)
	}
}

// stopped is what waiters are told when the member stops because of err.
func stopped(err error) error { return &core.Error{Kind: core.Stopped, Cause: err} }

// takeIn feeds raft. Who waits is noted before anything can fail. What the log
// and the state machine have done comes before messages and ticks: it may decide
// what those do.
func (r *replica) takeIn(in *inputs) error {
	r.proposer.add(r.now, in.proposals)
	if in.reads != nil {
		r.reader.add(r.now, in.reads)
	}
	for _, t := range in.appended {
		if err := r.appended(t); err != nil {
			return err
		}
	}
	for _, t := range in.applied {
		if err := r.applied(t); err != nil {
			return err
		}
	}
	for _, e := range in.events {
		e.happen(r)
	}
	for _, m := range in.messages {
		if err := r.receive(m); err != nil {
			r.complain(m, err)
		}
	}
	r.heardGone()
	for range in.ticks {
		r.rn.Tick()
	}
	r.reader.waiting += in.ticks
	r.duties.ticks += uint64(in.ticks)
	return r.succeed()
}

// leads reports whether this member is the leader as far as it knows.
func (r *replica) leads() bool { return r.status.leader == r.self }

// leading is the term in which this member leads as far as it knows, zero if it does not.
func (r *replica) leading() uint64 {
	if !r.leads() {
		return 0
	}
	return r.status.term
}

// unserved is why what is queued has not been served in time.
func (r *replica) unserved() error {
	if r.status.leader == 0 {
		return core.NoLeader
	}
	return core.Timeout
}

// ask puts a question to the quorum for the readers that wait. A leader asks
// only when it serves: until an entry of its own term is committed it may not
// know all that is, and until it is applied the state machine does not know that
// it leads.
func (r *replica) ask() {
	if r.status.leader == 0 || r.leads() && !r.status.serving || !r.reader.due() {
		return
	}
	r.rn.ReadIndex(r.reader.ask())
}

// handleReady turns all that raft wants done into outputs.
func (r *replica) handleReady() error {
	for r.rn.HasReady() {
		rd := r.rn.Ready()
		was := r.status
		r.observe(&rd)
		hold := raft.IsEmptySnap(rd.Snapshot) && r.membersCommitted(was.committed)
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				if err := r.planAppend(m); err != nil {
					return err
				}
			case raft.LocalApplyThread:
				if err := r.planApply(m); err != nil {
					return err
				}
			default:
				r.post(m)
			}
		}
		if hold {
			r.planRelease()
		}
		r.members.leaving.begun = r.members.leaving.at != 0
		if r.status.term != was.term || r.status.leader != was.leader {
			r.turn(r.status.term != was.term)
		}
		for _, s := range rd.ReadStates {
			r.reader.answered(s.RequestCtx, s.Index)
		}
	}
	return nil
}

// membersCommitted looks whether the commit index has passed a change of the members,
// and reports whether peers and applier are to wait until that is durable.
func (r *replica) membersCommitted(was uint64) bool {
	newest := &r.members.newest
	if newest.index <= was || newest.index > r.status.committed {
		return false
	}
	if r.leads() && newest.change == (MemberChange{RemoveMember, r.self}) && len(r.members.voters) == 2 {
		r.members.leaving = farewell{at: newest.index, term: r.status.term}
		return false
	}
	r.disk.holding = true
	return true
}

// turn gives up what is under way to a former leader or in a former term. What is
// committed has been claimed; the fate of the rest is open.
func (r *replica) turn(term bool) {
	r.relay.reset()
	r.breakStream()
	if term {
		r.members.changing = false
		r.proposer.forget(core.LeaderChanged)
	}
	r.transferred()
}

// observe notes who leads. Another member's leadership is told at once, our own
// when planApply has found an entry of its term.
func (r *replica) observe(rd *raft.Ready) {
	was := r.status
	if !raft.IsEmptyHardState(rd.HardState) {
		r.status.term, r.status.committed = rd.GetTerm(), rd.GetCommit()
	}
	if rd.SoftState != nil {
		r.status.leader = core.MemberID(rd.Lead)
	}
	if r.status.leader == was.leader && r.status.term == was.term {
		return
	}
	r.log.Info("leader changed", "leader", memberName(r.status.leader), "term", r.status.term, "self", r.leads())
	r.status.ownTerm, r.status.serving, r.status.soleLeader = false, false, false
	r.reader.lost()
	// A leadership that was lost before it was told of is not told of at all.
	if l := (leadership{r.status.leader, r.status.term}); !r.leads() && l != r.disk.told {
		r.disk.told = l
		r.give(&applyTask{leadership: &l})
	}
}

// memberName is how members are written in logs: in hexadecimal, as etcd does.
func memberName(id core.MemberID) string { return strconv.FormatUint(uint64(id), 16) }

// abandon answers everything that waits with err. The replica is not to be
// stepped afterwards.
func (r *replica) abandon(err error) {
	r.proposer.abandon(err)
	r.reader.abandon(err)
	r.duties.abandon(err)
	for _, t := range r.disk.heldTasks {
		t.abandonAfter(0, err)
	}
}
