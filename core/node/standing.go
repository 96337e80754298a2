package node

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
)

// standing is what this member is among the others, by the latest view.
type standing struct {
	learner atomic.Bool
	// ready says what Node.Ready waits for.
	ready atomic.Bool
	// outdated holds a token when what the cluster knows of this member is not what it
	// has to say of itself.
	outdated chan struct{}
	// leaving says that it was removed: the apply goroutine's.
	leaving bool
}

func (s *standing) init() { s.outdated = make(chan struct{}, 1) }

// membersChanged is told of a view whose members are not those of the view before, by
// the apply goroutine.
func (n *Node) membersChanged(view *state.View) {
	members := view.Members()
	n.peers.follow(members)
	self := memberIn(members, n.disk.id.member)
	if self == nil {
		n.leave(view.RemovedMember(n.disk.id.member))
		return
	}
	n.standing.learner.Store(self.Learner)
	if !sameMember(*self, n.described(*self)) {
		signal(n.standing.outdated)
	}
}

// leave ends this member some time after it has applied its removal: a leader has to
// tell the others that its removal is committed, for it may take its own vote to know.
func (n *Node) leave(removed bool) {
	if n.standing.leaving || !removed {
		return
	}
	n.standing.leaving = true
	n.wait.Go(func() {
		select {
		case <-time.After(n.cfg.Timing.Election):
			n.fail(ErrRemoved)
		case <-n.stopping:
		}
	})
}

// described is what is known of this member, with what it has to say of itself: its name
// and, when it serves clients, where.
func (n *Node) described(known core.Member) core.Member {
	known.Name, known.ClientURLs = n.cfg.Name, n.cfg.AdvertiseClientURLs
	if known.Learner && !n.cfg.Members.Observer {
		known.ClientURLs = nil
	}
	return known
}

// sameMember reports whether a member says the same of itself twice.
func sameMember(a, b core.Member) bool {
	return a.Name == b.Name && slices.Equal(a.ClientURLs, b.ClientURLs)
}

// introduceRetry is the pause between two attempts of a member to make itself
// known.
const introduceRetry = 100 * time.Millisecond

// introduce tells the cluster this member's name and client URLs, and what it is asked
// for by this member's configuration, as soon as it can: a replay may take longer than a
// request may. It does so again when that is no longer known, or no longer right, as
// when the member has got a vote.
func (n *Node) introduce(ctx context.Context) {
	if err := n.corruption.atStart(ctx); err != nil {
		n.fail(err)
		return
	}
	known := false
	for {
		err := n.tryIntroduce(ctx)
		if err == nil {
			if !known {
				n.standing.ready.Store(true)
				close(n.introduced)
			}
			known = true
			select {
			case <-n.standing.outdated:
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case <-time.After(introduceRetry):
			n.cfg.Logger.Debug("this member is not known yet; it tries again", "error", err)
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) tryIntroduce(ctx context.Context) error {
	view, err := n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return err
	}
	policy := view.ACLPolicy()
	known := memberIn(view.Members(), n.disk.id.member)
	view.Close()
	if asked := n.cfg.ACLPolicy; asked != nil && *asked != policy {
		if _, err := n.do(ctx, &core.SetZnodeACLPolicy{Policy: *asked}); err != nil {
			return err
		}
	}
	if known == nil {
		return core.MemberNotFound // it is about to hear of that
	}
	described := n.described(*known)
	if sameMember(*known, described) {
		return nil
	}
	_, err = n.do(ctx, &core.SetMember{Member: described})
	return err
}

// handOver gives the leadership, if this member has it, to the one that is furthest
// before it stops or leaves: nobody has to wait for an election timeout (etcd T-102). It
// reports whether it did.
func (n *Node) handOver(ctx context.Context) bool {
	if self := n.Self(); self.Leader != self.Member {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Election)
	defer cancel()
	heir := n.heir(ctx)
	if heir == 0 {
		return false
	}
	began := time.Now()
	if err := n.driver.TransferLeadership(ctx, heir); err != nil {
		n.cfg.Logger.Warn("the leadership could not be handed over before the end", "to", hexID(heir), "error", err)
		return false
	}
	n.cfg.Logger.Info("the leadership was handed over", "to", hexID(heir), "took", time.Since(began))
	return true
}

// heir is the voter that is furthest of those that can be reached, zero if there is none:
// nobody listens to a leader that was removed.
func (n *Node) heir(ctx context.Context) core.MemberID {
	links := n.peers.links()
	if len(links) == 0 {
		return 0
	}
	members, err := n.Members(ctx, false)
	if err != nil || memberIn(members, n.disk.id.member) == nil {
		return 0
	}
	all, err := n.driver.Progress(ctx)
	if err != nil {
		return 0 // it leads no more
	}
	var heir consensus.Progress
	for _, p := range all {
		if m := memberIn(members, p.ID); m == nil || m.Learner || links[p.ID].IsZero() {
			continue
		}
		if heir.ID == 0 || p.Match > heir.Match {
			heir = p
		}
	}
	return heir.ID
}
