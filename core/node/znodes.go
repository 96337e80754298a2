package node

import "github.com/triglot/triglot/core"

// znodes is what a front end that speaks ZooKeeper needs besides commands and
// views. It implements core.Znodes.
type znodes struct{ n *Node }

// Znodes gives access to the member's znodes.
func (n *Node) Znodes() core.Znodes { return znodes{n} }

// Follow implements core.Znodes.
func (z znodes) Follow(f core.Follower) core.Following { return z.n.hub.Follow(f) }

// Counts implements core.Znodes. They are zero once the member has stopped.
func (z znodes) Counts() core.ZnodeCounts {
	v := z.n.published.hold()
	if v == nil {
		return core.ZnodeCounts{}
	}
	defer v.Close()
	return v.ZnodeCounts()
}
