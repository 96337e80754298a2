package etcdload

import (
	"sync"
	"sync/atomic"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
)

// state is what single kinds of load have.
type state struct {
	// fill deals out the keys to write, and deleted is the next one to delete.
	fill    *drive.Filler
	deleted atomic.Int64
	// unary says that RangeStream is not there.
	unary bool
	// revs are the revisions of the keys; each is of the client that has the key.
	revs []int64
	// leases are the clients'.
	leases []int64
	// streams are the goroutines that receive events, until the context ends.
	streams sync.WaitGroup
	// board has the writes whose deliveries are waited for.
	board *board
	// from and target are the revisions between which a watch catches up.
	from, target int64
}
