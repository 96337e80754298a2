package member

import (
	"slices"
	"time"

	"github.com/triglot/triglot/core"
)

// HealthInterval is how long a member must have been connected to count when members
// change (etcd T-101).
const HealthInterval = 5 * time.Second

// ReadyPercent is the part of the leader's log that a learner must have to be given a
// vote (etcd T-101).
const ReadyPercent = 90

// Links is since when the member that judges is connected to the others.
type Links struct {
	Self core.MemberID
	// Since has no entry for those to which there is no connection.
	Since map[core.MemberID]time.Time
	Now   time.Time
}

// steady is the number of those members that have been connected for long enough.
func (l *Links) steady(members []core.Member) (n int) {
	for i := range members {
		since, ok := l.Since[members[i].ID]
		if members[i].ID == l.Self || ok && l.Now.Sub(since) > HealthInterval {
			n++
		}
	}
	return n
}

// The checks of --strict-reconfig-check, etcd's: what the members were must still
// decide, and so must what they will be. Whether a change is possible at all is the
// state's to say.

// MayAdd fails with NotEnoughStarted if a new voter, which has not started, would leave
// less than a quorum that has; and with Unhealthy if this member reaches too few to
// be a quorum with another one that cannot be reached.
func MayAdd(members []core.Member, learner bool, l *Links) error {
	if err := EnoughToAdd(members, learner); err != nil {
		return err
	}
	voters := votersOf(members)
	if len(voters) > 1 && l.steady(voters) < quorum(len(voters)+1) {
		return core.Unhealthy
	}
	return nil
}

// EnoughToAdd is the part of MayAdd that is the same on each member.
func EnoughToAdd(members []core.Member, learner bool) error {
	voters := votersOf(members)
	// A lone member may always get a second one.
	lone := startedOf(voters) == 1 && len(voters) == 1
	if !learner && !lone && startedOf(voters) < quorum(len(voters)+1) {
		return core.NotEnoughStarted
	}
	return nil
}

// MayRemove fails with NotEnoughStarted if less than a quorum of those that are left has
// started, and with Unhealthy if too few can be reached to do without one that can.
func MayRemove(members []core.Member, id core.MemberID, l *Links) error {
	if err := EnoughToRemove(members, id); err != nil || isLearner(members, id) {
		return err
	}
	voters := votersOf(members)
	if _, connected := l.Since[id]; id != l.Self && !connected {
		return nil // it was of no use
	}
	if l.steady(voters)-1 < quorum(len(voters)-1) {
		return core.Unhealthy
	}
	return nil
}

// EnoughToRemove is the part of MayRemove that is the same on each member.
func EnoughToRemove(members []core.Member, id core.MemberID) error {
	if isLearner(members, id) {
		return nil
	}
	left := slices.DeleteFunc(votersOf(members), func(m core.Member) bool { return m.ID == id })
	if startedOf(left) < quorum(len(left)) {
		return core.NotEnoughStarted
	}
	return nil
}

// MayPromote fails with NotEnoughStarted if another voter would leave less than a quorum
// that has started; the learner counts as started.
func MayPromote(members []core.Member) error {
	voters := votersOf(members)
	if startedOf(voters)+1 < quorum(len(voters)+1) {
		return core.NotEnoughStarted
	}
	return nil
}

func isLearner(members []core.Member, id core.MemberID) bool {
	return slices.ContainsFunc(members, func(m core.Member) bool { return m.ID == id && m.Learner })
}

func votersOf(members []core.Member) []core.Member {
	var voters []core.Member
	for i := range members {
		if !members[i].Learner {
			voters = append(voters, members[i])
		}
	}
	return voters
}

// startedOf is the number of those that have started, which is when they have a name.
func startedOf(members []core.Member) (n int) {
	for i := range members {
		if members[i].Name != "" {
			n++
		}
	}
	return n
}

func quorum(n int) int { return n/2 + 1 }
