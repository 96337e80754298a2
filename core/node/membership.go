package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/member"
)

// membership changes the members. It implements core.Membership: what is to be judged by
// what this member knows it judges itself, as etcd does, what the leader alone knows the
// leader, and the rest the state machine.
type membership struct{ n *Node }

// Membership gives access to the members.
func (n *Node) Membership() core.Membership { return membership{n} }

// Add implements core.Membership.
func (m membership) Add(
	ctx context.Context, who core.Principal, peerURLs []string, learner bool,
) (core.Member, []core.Member, error) {
	urls, err := parsePeerURLs(peerURLs)
	if err != nil {
		return core.Member{}, nil, err
	}
	now := time.Now()
	err = m.judge(ctx, who, func(members []core.Member, l *member.Links) error { return member.MayAdd(members, learner, l) })
	if err != nil {
		return core.Member{}, nil, err
	}
	if !m.n.clustered() {
		return core.Member{}, nil, core.Errorf(core.Unsupported, "this member is set up to stay alone: it listens to no peers")
	}
	added := core.Member{ID: member.AddedID(urls, now), PeerURLs: urls, Learner: learner}
	members, err := m.change(ctx, who, &core.MemberAdd{Member: added, MaxLearners: max(m.n.cfg.Members.MaxLearners, 0)})
	if err != nil {
		return core.Member{}, nil, err
	}
	return added, members, nil
}

// Remove implements core.Membership.
func (m membership) Remove(ctx context.Context, who core.Principal, id core.MemberID) ([]core.Member, error) {
	err := m.judge(ctx, who, func(members []core.Member, l *member.Links) error { return member.MayRemove(members, id, l) })
	if err != nil {
		return nil, err
	}
	return m.change(ctx, who, &core.MemberRemove{ID: id})
}

// Update implements core.Membership. Like etcd it takes any text for a URL, and none
// at all: to look is left to the client.
func (m membership) Update(
	ctx context.Context, who core.Principal, id core.MemberID, peerURLs []string,
) ([]core.Member, error) {
	if _, err := m.n.Do(ctx, who, &core.MemberUpdate{ID: id, PeerURLs: peerURLs}); err != nil {
		return nil, err
	}
	return m.n.Members(ctx, true)
}

// Promote implements core.Membership.
func (m membership) Promote(ctx context.Context, who core.Principal, id core.MemberID) ([]core.Member, error) {
	if err := m.n.requireRoot(ctx, who); err != nil {
		return nil, err
	}
	return m.change(ctx, who, &core.MemberPromote{ID: id})
}

// judge makes the checks of --strict-reconfig-check with what this member knows, for one
// who may change the members.
func (m membership) judge(ctx context.Context, who core.Principal, check func([]core.Member, *member.Links) error) error {
	if err := m.n.requireRoot(ctx, who); err != nil {
		return err
	}
	members, err := m.n.Members(ctx, false)
	if err != nil || m.n.cfg.Members.Loose {
		return err
	}
	links := member.Links{Self: m.n.disk.id.member, Since: m.n.peers.links(), Now: time.Now()}
	err = check(members, &links)
	if err == nil {
		return nil
	}
	connected := make(map[string]time.Duration, len(links.Since))
	for id, since := range links.Since {
		connected[hexID(id)] = links.Now.Sub(since).Round(time.Millisecond)
	}
	level, text := slog.LevelWarn, "a change of members is refused: it would put the quorum at risk"
	links.Now = links.Now.Add(member.HealthInterval)
	if check(members, &links) == nil {
		level, text = slog.LevelInfo, "a change of members is refused for some seconds: the members' connections are too young"
	}
	m.n.peers.refused(ctx, level, text, "error", err, "connected_for", connected)
	return err
}

// change has the leader make a change, and returns the members as they are then.
func (m membership) change(ctx context.Context, who core.Principal, cmd core.Command) ([]core.Member, error) {
	data, err := m.n.encode(who, cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.n.requestTimeout(), core.Timeout)
	defer cancel()
	return m.atLeader(ctx, data)
}

// leaderRetry is the pause before a leader is looked for again.
const leaderRetry = 50 * time.Millisecond

// atLeader has the leader propose a change, wherever it is. It goes on looking for one
// while nothing can have been proposed.
func (m membership) atLeader(ctx context.Context, data []byte) ([]core.Member, error) {
	for {
		members, err := m.n.proposeChange(ctx, data, m.n.cfg.Members.Loose)
		if errors.Is(err, core.NotLeader) {
			members, err = m.forward(ctx, data)
		}
		if kind := core.KindOf(err); err == nil || kind != core.NotLeader && kind != core.NoLeader {
			return members, err
		}
		select {
		case <-time.After(leaderRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// proposeChange judges a change as only the leader can, and makes it: loosely, if the
// member that was asked for it leaves out the checks of --strict-reconfig-check. It returns
// the members as they are then, also if this one is none of them any more. It fails with
// NotLeader if it does not lead.
func (n *Node) proposeChange(ctx context.Context, data []byte, loose bool) ([]core.Member, error) {
	if self := n.Self(); self.Leader != self.Member {
		return nil, core.NotLeader
	}
	cmd, _, err := command.DecodeCommandAs(data)
	if err != nil {
		return nil, err
	}
	// A leader that removed itself would leave the others to wait for an election timeout.
	if remove, ok := cmd.(*core.MemberRemove); ok && remove.ID == n.disk.id.member && n.handOver(ctx) {
		// To hear of its removal it has to be one to which the next leader streams.
		if _, err := n.Members(ctx, true); err != nil {
			n.cfg.Logger.Warn("this member does not follow the next leader yet", "error", err)
		}
		return nil, core.NotLeader
	}
	err = n.peers.changes.make(ctx, &change{cmd: cmd, data: data, loose: loose})
	if _, ok := cmd.(*core.MemberPromote); ok {
		n.metrics.states.promotion(err)
	}
	if err != nil {
		return nil, err
	}
	return n.Members(ctx, false)
}

func memberIn(members []core.Member, id core.MemberID) *core.Member {
	if at := slices.IndexFunc(members, func(m core.Member) bool { return m.ID == id }); at >= 0 {
		return &members[at]
	}
	return nil
}

// parsePeerURLs brings URLs into the form in which etcd compares and keeps those of a
// new member. It fails with BadMemberURLs on what etcd takes for none.
func parsePeerURLs(texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, core.BadMemberURLs
	}
	urls := make([]string, len(texts))
	for i, text := range texts {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, core.BadMemberURLs
		}
		switch u.Scheme {
		case "http", "https":
			if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" {
				return nil, core.BadMemberURLs
			}
		case "unix", "unixs":
		default:
			return nil, core.BadMemberURLs
		}
		urls[i] = u.String()
	}
	slices.Sort(urls)
	return urls, nil
}
