package consensus

import (
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/triglot/triglot/core"
)

// A leader whose log no longer holds what a member lacks sends it a MsgSnap with
// nothing but the position at which the log begins. raft does not see that one: the
// member has the state fetched (Config.Fetch), however long that takes, and then gives
// raft a MsgSnap of its own with the position of the state that came. raft's wish to
// have it installed is carried out by the applier, which replaces the state, and then
// by the log writer, which cuts the log behind it.

// catchUp is a state that was fetched: waiting until it can be given to raft, or being
// installed.
type catchUp struct {
	waiting    *Installed
	since      time.Time // of waiting
	installing *installation
}

// FetchedLasts is how long a state that was fetched may wait to be installed: for a leader,
// and until what is committed is applied. Then it is given up, and may be removed; a
// leader offers one again.
const FetchedLasts = 5 * time.Minute

// installation is work for the applier, and then for the log writer.
type installation struct {
	Installed
	planned bool
	done    chan struct{} // closed when the applier has installed the state
}

// fetched is the event that a fetch has ended.
type fetched struct {
	state Installed
	err   error
}

func (f fetched) happen(r *replica) {
	if f.err != nil {
		r.log.Warn("fetching the state failed", "from", memberName(f.state.From), "error", f.err)
		r.reportFetch(f.state.From, false)
		return
	}
	r.catchUp.waiting, r.catchUp.since = &f.state, r.now
}

// snapshotOffered takes in that a leader's log does not hold what this member lacks.
func (r *replica) snapshotOffered(m *Message) error {
	if m.GetSnapshot().GetMetadata().GetIndex() <= r.status.committed {
		return r.rn.Step(m) // raft answers how far this member is
	}
	if m.GetTerm() >= r.status.term && r.catchUp.waiting == nil && r.catchUp.installing == nil {
		r.out.fetch = core.MemberID(m.GetFrom())
	}
	return nil
}

// snapshotEnded takes in what became of a member's fetch.
func (r *replica) snapshotEnded(m *Message) {
	if !r.leads() || m.GetTerm() != r.status.term {
		return
	}
	outcome := raft.SnapshotFinish
	if m.GetReject() {
		outcome = raft.SnapshotFailure
	}
	r.rn.ReportSnapshot(m.GetFrom(), outcome)
}

// reportFetch tells the leader what became of a fetch, so that it sends entries, or
// tries again. If the message is lost the leader does that on its own, see remind.
func (r *replica) reportFetch(from core.MemberID, success bool) {
	if from != r.status.leader || from == 0 || r.leads() {
		return
	}
	r.out.messages = append(r.out.messages, &Message{
		Type: raftpb.MsgSnapStatus.Enum(), To: new(uint64(from)), From: new(uint64(r.self)),
		Term: new(r.status.term), Reject: new(!success),
	})
}

// installFetched gives raft the state that was fetched, when it is time: there is a
// leader, and nothing is being applied. Else a change of the members that is on its way
// would be made to the members that come with the state.
func (r *replica) installFetched() error {
	s := r.catchUp.waiting
	if s != nil && r.now.Sub(r.catchUp.since) >= FetchedLasts {
		r.catchUp.waiting, s = nil, nil
	}
	if s == nil || r.catchUp.installing != nil || r.disk.applying > 0 || r.status.leader == 0 {
		return nil
	}
	r.catchUp.waiting = nil
	conf := &raftpb.ConfState{}
	for _, id := range s.Voters {
		conf.Voters = append(conf.Voters, uint64(id))
	}
	for _, id := range s.Learners {
		conf.Learners = append(conf.Learners, uint64(id))
	}
	err := checkConf(conf, r.self)
	switch {
	case r.leads() || s.Index <= r.status.committed:
		return nil // it is of no use any more
	case err != nil:
		r.log.Warn("a fetched state cannot be installed", "from", memberName(s.From), "index", s.Index, "error", err)
		r.reportFetch(s.From, false)
		return nil
	}
	i := &installation{Installed: *s, done: make(chan struct{})}
	r.catchUp.installing = i
	err = r.rn.Step(&Message{
		Type: raftpb.MsgSnap.Enum(), To: new(uint64(r.self)), From: new(uint64(r.status.leader)), Term: new(r.status.term),
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: conf, Index: new(s.Index), Term: new(s.Term)}},
	})
	if err != nil {
		return fmt.Errorf("take in a fetched state: %w", err)
	}
	if err := r.handleReady(); err != nil {
		return err
	}
	if !i.planned {
		r.catchUp.installing = nil // the log holds what was missing, after all
	}
	return nil
}

// planInstall has what raft calls a snapshot installed. What is under way may be in it,
// and will not be seen committed.
func (r *replica) planInstall(t *appendTask, at *raftpb.SnapshotMetadata) error {
	i := r.catchUp.installing
	if i == nil || i.Index != at.GetIndex() || i.planned {
		return fmt.Errorf("raft wants state %d installed, which nobody has fetched", at.GetIndex())
	}
	i.planned = true
	t.install = i
	r.disk.last = i.Index
	r.give(&applyTask{install: i})
	r.members.set(at.GetConfState())
	r.breakStream()
	return nil
}

// installed takes in that a state is installed and the log cut behind it.
func (r *replica) installed(i *installation) {
	r.catchUp.installing = nil
	r.log.Info("installed a state that was fetched", "from", memberName(i.From), "index", i.Index, "term", i.Term)
	r.reportFetch(i.From, true)
}

// remind has raft offer their state again to the members that were offered it some time
// ago and have not come back: the offer, or their answer, may be lost. To one that is
// still fetching it changes nothing.
func (r *replica) remind(ticks int) {
	if !r.leads() {
		return
	}
	if r.duties.reminded += ticks; r.duties.reminded < r.duties.remindTicks {
		return
	}
	r.duties.reminded = 0
	var waiting []uint64
	r.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if p.State == tracker.StateSnapshot {
			waiting = append(waiting, id)
		}
	})
	for _, id := range waiting {
		r.rn.ReportSnapshot(id, raft.SnapshotFailure)
	}
}
