package node

import (
	"context"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/member"
	"github.com/triglot/triglot/core/state"
)

// MoveLeader implements core.Maintenance (etcd T-102).
func (n *Node) MoveLeader(ctx context.Context, who core.Principal, to core.MemberID) error {
	if err := n.requireRoot(ctx, who); err != nil {
		return err
	}
	self := n.Self()
	if self.Leader != self.Member {
		return core.NotLeader
	}
	members, err := n.Members(ctx, false)
	if err != nil {
		return err
	}
	if m := memberIn(members, to); m == nil || m.Learner {
		return core.BadLeaderTransferee
	}
	if to == self.Member {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.requestTimeout(), core.Timeout)
	defer cancel()
	return n.driver.TransferLeadership(ctx, to)
}

// Downgrade implements core.Maintenance. The version that it returns is the one before
// the step, as in etcd, where it changes a moment later.
func (n *Node) Downgrade(ctx context.Context, who core.Principal, d core.Downgrade) (string, error) {
	if err := n.requireRoot(ctx, who); err != nil {
		return "", err
	}
	target := ""
	if d.Action != core.DowngradeCancel {
		v, ok := member.ParseVersion(d.Version)
		if !ok {
			return "", core.BadVersionFormat
		}
		target = v.String()
	}
	view, err := n.view(ctx, core.Consistency{Linearizable: true})
	if err != nil {
		return "", err
	}
	version, under := strings.TrimSuffix(view.ClusterVersion(), ".0"), view.DowngradeTo()
	view.Close()
	if d.Action != core.DowngradeCancel {
		// That the answer holds is decided at apply.
		if err := state.CheckDowngrade(under, target); err != nil || d.Action == core.DowngradeValidate {
			return version, err
		}
	}
	_, err = n.Do(ctx, who, &core.SetDowngrade{Target: target})
	if d.Action == core.DowngradeCancel && err != nil && core.KindOf(err) == core.NoDowngrade {
		// etcd says so in its log only.
		n.cfg.Logger.Warn("failed to cancel downgrade", "error", err)
		err = nil
	}
	return version, err
}
