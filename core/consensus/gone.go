package consensus

import (
	"go.etcd.io/raft/v3"

	"github.com/triglot/triglot/core"
)

// turnTicks is the time between the attempts of two members to follow a leader that is
// gone: time for an election, with ticks that are anywhere in between.
const turnTicks = 2

// Gone says that a member's process has ended, as far as can be seen from here: nobody
// listens where it did, and there is no connection with it. If it leads, this member need
// not wait for the election timeout: it forgets the leader, so that it votes for others at
// once, and campaigns itself when it is its turn.
//
// It may be said again and again, and need not be true: votes are cast by the same rules,
// and a leader whom a majority still hears keeps its place, as nobody is elected in its
// lease by those who have not forgotten it, too. What is false costs this member a broken
// stream to the leader, once in an election timeout at most.
func (d *Driver) Gone(id core.MemberID) {
	_ = d.inbox.happened(gone(id)) // a member that stops follows nobody
}

// gone is the event that a member is gone.
type gone core.MemberID

func (g gone) happen(r *replica) { r.duties.succession.gone = core.MemberID(g) }

// succession is how a follower follows a leader that is gone. The zero value waits for the
// news.
type succession struct {
	// gone is news of this step. What that member has sent before is heard first: it came
	// before the news did, and would bring the leader back.
	gone core.MemberID
	// until is when raft's own election timeout takes over, in ticks, and deaf until when no
	// other news is heard: leaders are not elected more often than without it.
	until, deaf uint64
	// term is the one in which the next leader is wanted, zero if none is.
	term uint64
	// next is when this member campaigns, again if need be after every ticks: when the
	// others have had their turns.
	next, every uint64
}

// heardGone takes in the news that a member is gone, behind all that it has sent.
func (r *replica) heardGone() {
	s := &r.duties.succession
	id := s.gone
	s.gone = 0
	if id == 0 || r.duties.ticks < s.deaf || !r.members.votes(r.members.self) {
		return
	}
	at := r.rn.BasicStatus()
	if at.RaftState != raft.StateFollower || core.MemberID(at.Lead) != id {
		return
	}
	if err := r.rn.ForgetLeader(); err != nil {
		r.log.Warn("the leader cannot be forgotten", "leader", memberName(id), "error", err)
		return
	}
	turn, turns := r.members.turn(uint64(id))
	r.log.Info("the leader is gone", "leader", memberName(id), "term", at.GetTerm(), "turn", turn)
	now := r.duties.ticks
	end := now + uint64(r.duties.electionTicks)
	*s = succession{
		until: end, deaf: end, term: at.GetTerm(),
		next: now + 1 + turnTicks*turn, every: turnTicks * turns,
	}
}

// awaken begins the succession of a leader that nobody knows: that of a member at its
// start, if it is to take part in it.
func (r *replica) awaken(c *Config, term uint64) {
	if !c.EarlyElection || len(r.members.voters) == 1 || !r.members.votes(r.members.self) {
		return
	}
	turn, turns := r.members.turn(raft.None)
	r.duties.succession = succession{
		until: uint64(r.duties.electionTicks), term: term,
		next: 1 + turnTicks*turn, every: turnTicks * turns,
	}
}

// turn is how many of the other voters come before this one to follow a leader that is
// gone, or none, and how many candidates there are. All have the same order, so that they do not
// split the votes.
func (m *members) turn(gone uint64) (turn, turns uint64) {
	for _, v := range m.voters {
		if v < m.self && v != gone {
			turn++
		}
	}
	turns = uint64(len(m.voters))
	if m.votes(gone) {
		turns--
	}
	return turn, max(1, turns)
}

// succeed campaigns when it is this member's turn, until there is a leader or another
// term, or it has been long enough.
func (r *replica) succeed() error {
	s := &r.duties.succession
	if s.term == 0 {
		return nil
	}
	at := r.rn.BasicStatus()
	if at.Lead != raft.None || at.GetTerm() != s.term || r.duties.ticks >= s.until {
		s.term = 0
		return nil
	}
	if r.duties.ticks < s.next {
		return nil
	}
	s.next += s.every
	return r.rn.Campaign()
}
