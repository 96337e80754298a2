package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// ChangeKind is what a MemberChange does.
type ChangeKind uint8

// The kinds. NoChange is that of an entry that leaves the members as they are.
const (
	NoChange ChangeKind = iota
	// AddVoter adds a member that votes, or gives a learner its vote.
	AddVoter
	// AddLearner adds a member that gets the log and does not vote.
	AddLearner
	RemoveMember
)

// MemberChange is what an entry does to the members that raft knows, beside what its
// one command does to those that the state knows.
type MemberChange struct {
	Kind ChangeKind
	ID   core.MemberID
}

// NewMembership makes a proposal of a command that changes the members, as this member
// has judged it while it led in a term. It becomes an entry of its own, in that term, and
// only while no other change of members is under way. If this member does not lead in
// that term, or no more, it fails with NotLeader and is proposed by nobody: it is to be
// judged again. When the state machine refuses the command (Committed.Refused), raft's
// members stay as they are.
func NewMembership(command []byte, change MemberChange, term uint64) *Proposal {
	p := NewProposal(command, time.Time{})
	p.change, p.term = change, term
	return p
}

// Lane is a row of ordered proposals, see core.Lane. The zero value is ready. When the
// fate of one of them is unknown, it is broken for good.
type Lane struct{ broken atomic.Bool }

// Broken reports whether what is proposed in the lane fails.
func (l *Lane) Broken() bool { return l.broken.Load() }

// Installed is a state that was fetched from another member whole, in place of the
// entries of the log that led to it.
type Installed struct {
	// From has sent it. Index and Term are those of the last entry that it holds.
	From        core.MemberID
	Index, Term uint64
	// Voters and Learners are the members that it names.
	Voters, Learners []core.MemberID
	// Dir is where the state machine finds it. This package does not look at it.
	Dir string
}

// Progress is how far a member has got, as the leader knows.
type Progress struct {
	ID core.MemberID
	// Match is the last entry that the member is known to have in its log.
	Match   uint64
	Learner bool
	// Active says that it was heard of within the last election timeout; Installing that
	// it is being sent a state.
	Active, Installing bool
}

// maxMessage bounds what a message takes that has several entries: those that
// maxMessageBytes allows, and what is around each.
const maxMessage = 2 * maxMessageBytes

// DecodeMessage reads a message as it came from a peer. It may keep b. A larger one than
// maxMessage has one entry, and little else: no peer can fill the memory with little things.
func DecodeMessage(b []byte) (*Message, error) {
	if len(b) > maxMessage {
		if err := checkLarge(b); err != nil {
			return nil, fmt.Errorf("consensus: message of a peer: %w", err)
		}
	}
	m := new(Message)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("consensus: message of a peer: %w", err)
	}
	return m, nil
}

// fieldEntries is that of raftpb.Message.
const fieldEntries = protowire.Number(7)

func checkLarge(b []byte) error {
	entries, rest := 0, 0
	for len(b) > 0 {
		field, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		n := protowire.ConsumeFieldValue(field, kind, b[tag:])
		switch {
		case n < 0:
			return protowire.ParseError(n)
		case field == fieldEntries:
			entries++
		default:
			rest += tag + n
		}
		if b = b[tag+n:]; entries > 1 || rest > maxMessageBytes {
			return errors.New("it is large, and not for a large entry")
		}
	}
	return nil
}

// Fetched ends what Config.Fetch began: with the state that is to be installed, or with
// an error, of which the leader is told, so that it tries again. From is set in either
// case.
func (d *Driver) Fetched(s Installed, err error) {
	_ = d.inbox.happened(fetched{s, err}) // a member that stops needs no state
}

// Disconnected says that what was sent to a member since it was last connected may be
// lost. What was forwarded to it is given up: its fate is unknown.
func (d *Driver) Disconnected(id core.MemberID) {
	_ = d.inbox.happened(disconnected(id)) // a member that stops has nothing to give up
}

// Connected says whether there is a way to a member. As long as there is none to the
// leader, what is proposed here stays queued, rather than being lost on its way and of
// unknown fate. Without a word there is one.
func (d *Driver) Connected(id core.MemberID, up bool) {
	_ = d.inbox.happened(connected{id, up}) // a member that stops forwards nothing
}

// TransferLeadership gives the leadership to a voter that has all of the log, or to
// the one that is furthest if to is zero, and returns when there is another leader. It
// fails with NotLeader, BadLeaderTransferee, Timeout, Stopped, and when ctx ends.
func (d *Driver) TransferLeadership(ctx context.Context, to core.MemberID) error {
	t := &transfer{to: to, done: make(chan error, 1)}
	if err := d.inbox.happened(t); err != nil {
		return err
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// Progress is how far the members have got, by id. It fails with NotLeader, Stopped, and
// when ctx ends.
func (d *Driver) Progress(ctx context.Context) ([]Progress, error) {
	q := progressQuery{make(chan progressAnswer, 1)}
	if err := d.inbox.happened(q); err != nil {
		return nil, err
	}
	select {
	case a := <-q.done:
		return a.members, a.err
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
}
