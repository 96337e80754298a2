package node

import (
	"context"

	"github.com/triglot/triglot/core"
)

// Hash implements core.Maintenance.
func (n *Node) Hash(context.Context, core.Principal) (uint32, core.Rev, error) {
	return 0, 0, core.Unsupported
}

// HashKV implements core.Maintenance.
func (n *Node) HashKV(context.Context, core.Principal, core.Rev) (core.KVHash, error) {
	return core.KVHash{}, core.Unsupported
}

// Snapshot implements core.Maintenance.
func (n *Node) Snapshot(context.Context, core.Principal) (core.Snapshot, error) {
	return core.Snapshot{}, core.Unsupported
}
