package node

import (
	"context"

	"github.com/triglot/triglot/core"
)

// membership changes the members. It implements core.Membership.
type membership struct{ n *Node }

// Membership gives access to the members.
func (n *Node) Membership() core.Membership { return membership{n} }

// Add implements core.Membership.
func (m membership) Add(context.Context, core.Principal, []string, bool) (core.Member, []core.Member, error) {
	return core.Member{}, nil, core.Unsupported
}

// Remove implements core.Membership.
func (m membership) Remove(context.Context, core.Principal, core.MemberID) ([]core.Member, error) {
	return nil, core.Unsupported
}

// Update implements core.Membership.
func (m membership) Update(context.Context, core.Principal, core.MemberID, []string) ([]core.Member, error) {
	return nil, core.Unsupported
}

// Promote implements core.Membership.
func (m membership) Promote(context.Context, core.Principal, core.MemberID) ([]core.Member, error) {
	return nil, core.Unsupported
}
