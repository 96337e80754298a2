package node

import (
	"context"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/member"
)

// changes are the changes of members that this member makes while it leads: one at a time,
// so that each is judged by what those before it have led to. Members that are asked at
// the same time judge by what they know (etcd leaves it at that); of two changes that are
// right each by itself, both could take the quorum away.
type changes struct {
	n     *Node
	asked chan *change
}

// change is a change of members, which data is as well.
type change struct {
	cmd   core.Command
	data  []byte
	loose bool

	ctx  context.Context //nolint:containedctx // of who waits for it
	done chan error      // capacity 1
}

func (c *changes) init(n *Node) { c.n, c.asked = n, make(chan *change) }

// make has a change judged and made.
func (c *changes) make(ctx context.Context, what *change) error {
	what.ctx, what.done = ctx, make(chan error, 1)
	select {
	case c.asked <- what:
	case <-c.n.stopping:
		return core.Stopped
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
	select {
	case err := <-what.done:
		return err
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
}

// run makes changes until ctx ends.
func (c *changes) run(ctx context.Context) {
	for {
		select {
		case what := <-c.asked:
			what.done <- c.one(what) //nolint:contextcheck // what is under way is finished, whoever waits
		case <-ctx.Done():
			return
		}
	}
}

// one makes a change. It stays with it until there is an outcome, which consensus always
// comes to, even if who has asked for it does not wait for it any more.
func (c *changes) one(what *change) error {
	leader, term, _, _ := c.n.driver.Status()
	if leader != c.n.disk.id.member {
		return core.NotLeader
	}
	raft, err := c.n.judgeChange(what)
	if err != nil {
		return err
	}
	// If another term begins meanwhile, this fails with NotLeader, and who leads then judges
	// it, beside what it is asked for itself.
	p := consensus.NewMembership(what.data, raft, term)
	if err := c.n.driver.Propose(p); err != nil {
		return err
	}
	_, err = p.Wait(context.Background())
	return err
}

// judgeChange is what raft is told of a change, if the leader finds nothing wrong with it.
func (n *Node) judgeChange(what *change) (raft consensus.MemberChange, err error) {
	members, err := n.Members(what.ctx, true)
	if err != nil {
		return raft, err
	}
	strict := !what.loose && !n.cfg.Members.Loose
	switch cmd := what.cmd.(type) {
	case *core.MemberAdd:
		raft = consensus.MemberChange{Kind: consensus.AddVoter, ID: cmd.Member.ID}
		if cmd.Member.Learner {
			raft.Kind = consensus.AddLearner
		}
		if strict {
			err = member.EnoughToAdd(members, cmd.Member.Learner)
		}
	case *core.MemberRemove:
		raft = consensus.MemberChange{Kind: consensus.RemoveMember, ID: cmd.ID}
		if strict {
			err = member.EnoughToRemove(members, cmd.ID)
		}
	case *core.MemberPromote:
		raft = consensus.MemberChange{Kind: consensus.AddVoter, ID: cmd.ID}
		if err = n.readyToVote(what.ctx, cmd.ID); err == nil && strict {
			err = member.MayPromote(members)
		}
	default:
		err = core.Errorf(core.InvalidArgument, "%T is no change of members", cmd)
	}
	return raft, err
}

// readyToVote fails unless a member has nearly all of the log: else a quorum that needs
// its vote would wait for it. It fails with NotLeader if this member does not lead.
func (n *Node) readyToVote(ctx context.Context, id core.MemberID) error {
	all, err := n.driver.Progress(ctx)
	if err != nil {
		return err
	}
	at := func(id core.MemberID) int {
		return slices.IndexFunc(all, func(p consensus.Progress) bool { return p.ID == id })
	}
	candidate, self := at(id), at(n.disk.id.member)
	switch {
	case candidate < 0:
		return core.MemberNotFound
	case self >= 0 && all[candidate].Match*100 < all[self].Match*member.ReadyPercent:
		return core.LearnerNotReady
	}
	return nil
}
