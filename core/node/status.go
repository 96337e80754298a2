package node

import (
	"context"

	"github.com/triglot/triglot/core"
)

// Members implements core.Cluster.
func (n *Node) Members(ctx context.Context, linearizable bool) ([]core.Member, error) {
	v, err := n.view(ctx, core.Consistency{Linearizable: linearizable})
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return append([]core.Member(nil), v.Members()...), nil
}

// Self implements core.Cluster.
func (n *Node) Self() core.Self {
	leader, term, _, _ := n.driver.Status()
	learner := n.standing.learner.Load()
	return core.Self{
		ClusterID: n.disk.id.cluster, Member: n.disk.id.member, Leader: leader, Term: term,
		Learner: learner, Observer: learner && n.cfg.Members.Observer,
	}
}

// Status implements core.Cluster.
func (n *Node) Status() core.Status {
	leader, term, committed, applied := n.driver.Status()
	s := core.Status{
		ClusterID: n.disk.id.cluster,
		Member:    n.disk.id.member,
		Leader:    leader,
		Term:      term,
		Committed: committed,
		Applied:   applied,
		Quota:     n.cfg.Limits.QuotaBytes,
		Learner:   n.standing.learner.Load(),
	}
	if v := n.published.hold(); v != nil {
		defer v.Close()
		s.Rev, s.CompactRev, s.Alarms = v.Rev(), v.CompactRev(), v.Alarms()
		s.ClusterVersion, s.DowngradeTo = v.ClusterVersion(), v.DowngradeTo()
	}
	s.Size = n.size()
	s.InUse = s.Size
	return s
}
