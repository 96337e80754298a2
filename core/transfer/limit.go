package transfer

import (
	"context"
	"sync"
	"time"
)

// Limit bounds how fast all transfers that share it send. It is safe for concurrent
// use.
type Limit struct {
	rate int64 // bytes a second

	mu sync.Mutex
	// next is when the next byte may be sent.
	next time.Time
}

// limitSlack is how much of the time may be made up for that a timer was late, or the
// disk, or the other end: else a limit is not reached.
const limitSlack = 100 * time.Millisecond

// NewLimit makes a limit of so many bytes a second; zero or less is none.
func NewLimit(rate int64) *Limit { return &Limit{rate: rate} }

// wait returns when n bytes may be sent.
func (l *Limit) wait(ctx context.Context, n int) error {
	if l.rate <= 0 {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-limitSlack); l.next.Before(earliest) {
		l.next = earliest
	}
	pause := l.next.Sub(now)
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	l.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
