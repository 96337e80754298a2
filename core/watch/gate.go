package watch

import (
	"context"
	"sync"
	"time"
)

// gate lets one pass at a time: each holds it until it is done, or for so long that
// it must not hold up the others, such as for a client that has stopped reading.
type gate struct {
	slot chan struct{} // capacity 1
	hold time.Duration
}

// defaultHold is long enough for a gigabyte to a client that reads.
const defaultHold = 30 * time.Second

func newGate(hold time.Duration) gate { return gate{slot: make(chan struct{}, 1), hold: hold} }

// enter waits until it is the caller's turn, or ctx ends. The caller calls leave when
// it is done; more than once does nothing.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
	once := sync.OnceFunc(func() { <-g.slot })
	timer := time.AfterFunc(g.hold, once)
	return func() {
		timer.Stop()
		once()
	}, nil
}
