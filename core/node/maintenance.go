package node

import (
	"context"

	"github.com/triglot/triglot/core"
)

// MoveLeader implements core.Maintenance.
func (n *Node) MoveLeader(context.Context, core.Principal, core.MemberID) error {
	return core.Unsupported
}

// Downgrade implements core.Maintenance.
func (n *Node) Downgrade(context.Context, core.Principal, core.Downgrade) (string, error) {
	return "", core.Unsupported
}
