package node

import (
	"context"
	"net"

	"github.com/triglot/triglot/core/consensus"
)

// fetchInto receives a state from the member at the other end of conn, which
// peer.Transport.Open or peer.Dialer.Open has opened, into a data directory, and goes on
// where an earlier call was cut off. It closes conn. When it returns, the state is whole,
// verified and durable, in the directory that the result names: dataDir.adopt makes it
// the member's. It is refused if it is not of cluster. From is left to the caller.
//
// It is for one goroutine at a time. If it fails, what was received is kept for the next.
func fetchInto(ctx context.Context, conn net.Conn, dir *dataDir, cluster uint64) (consensus.Installed, error) {
	return consensus.Installed{}, errNotYet
}
