package node

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state"
)

// What the leader is asked to change is the command as it will be in the log. It answers
// with the outcome, in a message to which a later version can add fields:
//
//	message Changed { uint64 outcome = 1; repeated bytes members = 2; }
//
// An outcome is zero, and then there are the members as they are now, or one more than the
// place of an error here: places are the wire's.
var changeOutcomes = []core.Kind{
	core.Internal, core.NotLeader, core.NoLeader, core.LeaderChanged, core.Stopped, core.Timeout, core.TooManyRequests,
	core.MemberNotFound, core.MemberExists, core.PeerURLExists, core.TooManyLearners, core.NotLearner, core.LearnerNotReady,
	core.NotEnoughStarted, core.Unhealthy, core.InvalidArgument, core.Unsupported,
	core.PermissionDenied, core.UserEmpty, core.UserNotFound, core.AuthOldRevision,
}

const (
	fieldOutcome = protowire.Number(1 + iota)
	fieldChangedMember
)

// answerChange answers askMembers, or askMembersLoosely.
func (n *Node) answerChange(loose bool) answerer {
	return func(ctx context.Context, _ core.MemberID, body []byte) ([]byte, error) {
		members, err := n.proposeChange(ctx, body, loose)
		return appendChanged(members, err), nil
	}
}

func appendChanged(members []core.Member, err error) []byte {
	if err != nil {
		return appendNumber(nil, fieldOutcome, uint64(max(0, slices.Index(changeOutcomes, core.KindOf(err))))+1)
	}
	var b []byte
	for i := range members {
		b = protowire.AppendTag(b, fieldChangedMember, protowire.BytesType)
		b = protowire.AppendBytes(b, command.AppendMember(nil, &members[i]))
	}
	return b
}

func decodeChanged(b []byte) (members []core.Member, err error) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, fmt.Errorf("the leader's answer to a change of members: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return nil, fmt.Errorf("the leader's answer to a change of members: %w", protowire.ParseError(n))
		}
		switch {
		case field == fieldOutcome && kind == protowire.VarintType:
			outcome, _ := protowire.ConsumeVarint(b)
			if outcome > uint64(len(changeOutcomes)) {
				return nil, core.Errorf(core.Internal, "the leader refuses the change for a reason (%d) that this version does not know", outcome)
			}
			if outcome > 0 {
				return nil, changeOutcomes[outcome-1]
			}
		case field == fieldChangedMember && kind == protowire.BytesType:
			text, _ := protowire.ConsumeBytes(b)
			m, err := command.DecodeMember(text)
			if err != nil {
				return nil, fmt.Errorf("the leader's answer to a change of members: %w", err)
			}
			members = append(members, m)
		}
		b = b[n:]
	}
	return members, nil
}

// forward has the leader make a change, and waits until this member knows of it too: the
// next one is judged by what it knows. It fails with NoLeader if none is known.
func (m membership) forward(ctx context.Context, data []byte) ([]core.Member, error) {
	kind := askMembers
	if m.n.cfg.Members.Loose {
		kind = askMembersLoosely
	}
	answer, err := m.n.peers.askLeader(ctx, kind, data)
	if err != nil {
		return nil, err
	}
	members, err := decodeChanged(answer)
	if err != nil {
		return nil, err
	}
	// What is made stays made, whatever becomes of the contact to the leader.
	if err := m.catchUp(ctx, members); err != nil {
		m.n.cfg.Logger.Warn("this member does not know yet of a change that it had the leader make", "error", err)
	}
	return members, nil
}

// catchUp waits until this member knows what a change made of the members. If it is none
// of them any more it can ask no leader how far that is: it hears of its own removal with
// what was under way to it, or not at all, for which it has as long as it has to end.
func (m membership) catchUp(ctx context.Context, members []core.Member) error {
	self := m.n.Self().Member
	if memberIn(members, self) != nil {
		_, err := m.n.Members(ctx, true)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.n.cfg.Timing.Election)
	defer cancel()
	view, err := m.n.published.await(ctx, func(v *state.View) bool { return v.RemovedMember(self) })
	if err != nil {
		return err
	}
	view.Close()
	return nil
}
