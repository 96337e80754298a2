package node

import (
	"context"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/mvcc"
)

// How long work that can wait goes on before it rests, as long as its share asks for but no
// more than longestRest: who was held up is not to rest for that. While writes come it goes
// on for a shorter time, and what nobody waits for with a deadline for a part of its share:
// on a machine of two processors the writes and those who make them need both.
const (
	workSlice   = 2 * time.Millisecond
	busySlice   = 250 * time.Microsecond
	longestRest = 10 * time.Millisecond
	// busyFor is how long a write is taken for a sign of others.
	busyFor = 50 * time.Millisecond
)

// pace has what takes long work for a share of the time only, another one while writes
// come, and end when the member stops or ctx ends.
func (n *Node) pace(ctx context.Context, share, busyShare float64) mvcc.Pace {
	begin := time.Now()
	return func() error {
		worked := time.Since(begin)
		rest := restAfter(worked, workSlice, share)
		if n.upkeep.busy() {
			rest = restAfter(worked, busySlice, busyShare)
		}
		if rest == 0 {
			return nil
		}
		err := n.rest(ctx, rest)
		begin = time.Now()
		return err
	}
}

// rest waits. It fails when the member stops or ctx ends.
func (n *Node) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-n.stopping:
		return core.Stopped
	case <-ctx.Done():
		return core.ContextError(ctx.Err())
	}
}

// What is sent is paced by its bytes, as the time goes by with waiting for who reads it: so
// many at a time while writes come, with a rest before each.
const (
	sentSlice = 256 << 10
	sentRest  = 2 * time.Millisecond
)

// paceSending is a pace for what sends: it is told of the bytes that are next.
func (n *Node) paceSending(ctx context.Context) func(bytes int) error {
	left := sentSlice
	return func(bytes int) error {
		if left -= bytes; left > 0 {
			return nil
		}
		left = sentSlice
		if !n.upkeep.busy() {
			return nil
		}
		return n.rest(ctx, sentRest)
	}
}

// restAfter is how long to rest after so much work, zero if that is not a slice yet.
func restAfter(worked, slice time.Duration, share float64) time.Duration {
	if worked < slice {
		return 0
	}
	return min(time.Duration(float64(worked)*(1-share)/share), longestRest)
}
