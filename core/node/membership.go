package node

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/triglot/triglot/core"
)

// membership changes the members. It implements core.Membership for a cluster of
// one: what would make it more than one is refused, after all that etcd checks
// before.
type membership struct{ n *Node }

// Membership gives access to the members.
func (n *Node) Membership() core.Membership { return membership{n} }

// Add implements core.Membership. It makes etcd's checks in etcd's order, and then
// says that this version cannot do it.
func (m membership) Add(
	ctx context.Context, who core.Principal, peerURLs []string, _ bool,
) (core.Member, []core.Member, error) {
	urls, err := parsePeerURLs(peerURLs)
	if err != nil {
		return core.Member{}, nil, err
	}
	members, err := m.judged(ctx, who)
	if err != nil {
		return core.Member{}, nil, err
	}
	for i := range members {
		if slices.ContainsFunc(members[i].PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return core.Member{}, nil, core.PeerURLExists
		}
	}
	return core.Member{}, nil, core.Errorf(core.Unsupported, "a cluster of several members is not supported yet: no member can be added")
}

// Remove implements core.Membership. The only member cannot go (etcd T-101).
func (m membership) Remove(ctx context.Context, who core.Principal, id core.MemberID) ([]core.Member, error) {
	members, err := m.judged(ctx, who)
	if err != nil {
		return nil, err
	}
	if memberIn(members, id) == nil {
		return nil, core.MemberNotFound
	}
	return nil, core.NotEnoughStarted
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

// Promote implements core.Membership. There are no learners in a cluster of one.
func (m membership) Promote(ctx context.Context, who core.Principal, id core.MemberID) ([]core.Member, error) {
	members, err := m.judged(ctx, who)
	if err != nil {
		return nil, err
	}
	if memberIn(members, id) == nil {
		return nil, core.MemberNotFound
	}
	return nil, core.NotLearner
}

// judged returns the members to one who may change them.
func (m membership) judged(ctx context.Context, who core.Principal) ([]core.Member, error) {
	if err := m.n.requireRoot(ctx, who); err != nil {
		return nil, err
	}
	return m.n.Members(ctx, true)
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
