package node

import (
	"context"
	"errors"
	"net"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
)

var errNotYet = errors.New("not yet") // the contract is ahead of the code

// fetchState is asked by consensus for a state, since the leader's log no longer
// holds what this member lacks. It does not block.
func (n *Node) fetchState(from core.MemberID) { panic(errNotYet) }

// install replaces the state by one that was fetched. It runs on the apply goroutine.
func (n *Node) install(s consensus.Installed) error { return errNotYet }

// Transfer implements peer.Handler: it sends the state to a member that asks for it.
func (p *peers) Transfer(ctx context.Context, from core.MemberID, conn net.Conn) error {
	return errNotYet
}
