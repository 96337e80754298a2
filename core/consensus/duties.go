package consensus

import (
	"cmp"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/triglot/triglot/core"
)

// duties is what a replica does beside replicating: it hands leadership over, and knows
// how the others are.
type duties struct {
	ticks    uint64
	heard    map[uint64]uint64 // when a member was last heard of, in ticks
	handing  []*transfer
	reminded int // ticks since remind last did something
	// complained is when the log was told last of a message that is refused.
	complained time.Time
	succession succession

	electionTicks, remindTicks int
	timeout                    time.Duration // of a transfer
}

func newDuties(c *Config) duties {
	return duties{
		heard:         map[uint64]uint64{},
		electionTicks: c.electionTicks(),
		remindTicks:   max(1, int(c.RequestTimeout/c.TickInterval)),
		timeout:       c.RequestTimeout,
	}
}

func (d *duties) heardOf(id uint64) { d.heard[id] = d.ticks }

// active reports whether a member was heard of within the last election timeout.
func (d *duties) active(id uint64) bool {
	at, ok := d.heard[id]
	return ok && d.ticks-at <= uint64(d.electionTicks)
}

// abandon ends what waits.
func (d *duties) abandon(err error) {
	for _, t := range d.handing {
		t.abandon(err)
	}
	d.handing = nil
}

// event is something that happens to a replica now and then.
type event interface{ happen(*replica) }

// abandoner is an event that somebody waits for.
type abandoner interface{ abandon(err error) }

func (t *transfer) abandon(err error) { t.done <- err }

func (q progressQuery) abandon(err error) { q.done <- progressAnswer{err: err} }

// disconnected is the event that what was sent to a member may be lost.
type disconnected core.MemberID

func (d disconnected) happen(r *replica) {
	r.sayAgain()
	if r.outbound.to == core.MemberID(d) {
		r.breakStream()
	}
	if r.leads() {
		r.rn.ReportUnreachable(uint64(d))
		r.rn.ReportSnapshot(uint64(d), raft.SnapshotFailure)
	}
}

// connected is the event that there is a way to a member, or none.
type connected struct {
	to core.MemberID
	up bool
}

func (c connected) happen(r *replica) {
	if c.up {
		delete(r.outbound.cutOff, c.to)
		return
	}
	if r.outbound.cutOff == nil {
		r.outbound.cutOff = map[core.MemberID]bool{}
	}
	r.outbound.cutOff[c.to] = true
}

// transfer is the wish that another member leads.
type transfer struct {
	to       core.MemberID // zero is the one that is furthest
	done     chan error    // capacity 1
	deadline time.Time
}

func (t *transfer) happen(r *replica) {
	to := t.to
	if to == 0 {
		to = r.successor()
	}
	switch {
	case !r.leads():
		t.done <- core.NotLeader
	case to == r.self:
		t.done <- nil
	case !r.members.votes(uint64(to)):
		t.done <- core.BadLeaderTransferee
	default:
		t.deadline = r.now.Add(r.duties.timeout)
		r.duties.handing = append(r.duties.handing, t)
		r.log.Info("handing leadership over", "to", memberName(to))
		r.rn.TransferLeader(uint64(to))
	}
}

// successor is the other voter that has most of the log, of those that are there; zero
// if there is none.
func (r *replica) successor() (id core.MemberID) {
	best := uint64(0)
	r.rn.WithProgress(func(of uint64, kind raft.ProgressType, p tracker.Progress) {
		if of != uint64(r.self) && kind == raft.ProgressTypePeer && r.duties.active(of) && p.Match > best {
			id, best = core.MemberID(of), p.Match
		}
	})
	return id
}

// transferred ends the transfers if there is another leader.
func (r *replica) transferred() {
	if len(r.duties.handing) > 0 && r.status.leader != 0 && !r.leads() {
		r.duties.abandon(nil)
	}
}

// sweepTransfers ends the transfers that take too long. raft itself gives up after an
// election timeout; then this member goes on leading.
func (r *replica) sweepTransfers() {
	if len(r.duties.handing) == 0 {
		return
	}
	given := r.leads() && r.rn.BasicStatus().LeadTransferee == 0
	kept := r.duties.handing[:0]
	for _, t := range r.duties.handing {
		if given || !r.now.Before(t.deadline) {
			t.done <- core.Timeout
			continue
		}
		kept = append(kept, t)
	}
	clear(r.duties.handing[len(kept):])
	r.duties.handing = kept
}

// progressQuery asks how far the members are.
type progressQuery struct{ done chan progressAnswer } // capacity 1

type progressAnswer struct {
	members []Progress
	err     error
}

func (q progressQuery) happen(r *replica) {
	if !r.leads() {
		q.done <- progressAnswer{err: core.NotLeader}
		return
	}
	var all []Progress
	r.rn.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		all = append(all, Progress{
			ID: core.MemberID(id), Match: p.Match, Learner: kind == raft.ProgressTypeLearner,
			Active:     id == uint64(r.self) || r.duties.active(id),
			Installing: p.State == tracker.StateSnapshot,
		})
	})
	slices.SortFunc(all, func(a, b Progress) int { return cmp.Compare(a.ID, b.ID) })
	q.done <- progressAnswer{members: all}
}
