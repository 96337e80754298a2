package drive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// Call makes one call and waits until it is done. It belongs to one client. The latency
// counts from start.
type Call func(ctx context.Context, start time.Time) error

// Load is what is asked of a server, in its protocol.
type Load interface {
	// Filled says whether the keys that the load needs are there, with values of the length
	// that is asked for; of the values it looks at the last key's, which a fill writes last.
	Filled(ctx context.Context) (bool, error)
	// Prepare makes what else the load needs.
	Prepare(ctx context.Context) error
	// Client returns the calls of a client, which are counted from 0.
	Client(i int, random *rand.Rand) (Call, error)
	// Delivers says that the load counts for itself what it does: what is delivered to
	// others than the caller.
	Delivers() bool
	// Close ends what Prepare has begun, and the connections.
	Close() error
}

// Pace says how many calls are made, and when.
type Pace struct {
	// Clients is how many calls there are at once, at most.
	Clients int
	// Ops is how many calls are made. If it is 0, calls are made for Duration.
	Ops      int64
	Duration time.Duration
	// Rate is how many calls a second are begun, on average; 0 is a closed loop.
	Rate float64
	Seed uint64
}

// maxErrors ends a load that does little but fail: it would be a busy loop.
const maxErrors = 10_000

// ErrTooManyErrors ends a load.
var ErrTooManyErrors = fmt.Errorf("gave up after %d errors", maxErrors)

// errExhausted is Exhausted's.
var errExhausted = errors.New("nothing is left to do")

// Exhausted is what a call returns that has nothing left to do: its client ends.
func Exhausted() error { return errExhausted }

// run is one load under way.
type run struct {
	load   Load
	pace   Pace
	record *measure.Recorder
	taken  atomic.Int64
	began  time.Time
	cancel context.CancelCauseFunc
	// over is cancelled once nothing is left to do: calls under way are finished.
	over    context.Context
	exhaust context.CancelFunc
}

// Run makes the calls, and returns how long that took. What fails is counted by record; the
// error is why the load could not be made to its end.
func Run(ctx context.Context, load Load, pace Pace, record *measure.Recorder) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := make([]Call, pace.Clients)
	for i := range calls {
		var err error
		if calls[i], err = load.Client(i, rand.New(rand.NewPCG(pace.Seed, uint64(i)))); err != nil {
			return 0, err
		}
	}
	r := &run{load: load, pace: pace, record: record, cancel: cancel}
	r.over, r.exhaust = context.WithCancel(ctx)
	defer r.exhaust()
	var wg sync.WaitGroup
	started := make(chan struct{})
	var arrivals chan time.Time
	if pace.Rate > 0 {
		arrivals = make(chan time.Time, 2*pace.Clients)
	}
	for i, call := range calls {
		wg.Go(func() {
			<-started
			if arrivals != nil {
				r.open(ctx, i, call, arrivals)
			} else {
				r.closed(ctx, i, call)
			}
		})
	}
	r.began = time.Now()
	if arrivals != nil {
		wg.Go(func() { r.arrive(arrivals) })
	}
	close(started)
	wg.Wait()
	return time.Since(r.began), context.Cause(ctx)
}

// closed makes calls one after the other. They are dealt out one by one, so that all
// clients are busy until the last one.
func (r *run) closed(ctx context.Context, client int, call Call) {
	start := time.Now()
	for ctx.Err() == nil {
		if r.pace.Ops > 0 && r.taken.Add(1) > r.pace.Ops {
			return
		}
		if r.pace.Ops == 0 && start.Sub(r.began) >= r.pace.Duration {
			return
		}
		if !r.make(ctx, client, call, start) {
			return
		}
		start = time.Now()
	}
}

// open makes the calls whose time has come.
func (r *run) open(ctx context.Context, client int, call Call, arrivals <-chan time.Time) {
	for intended := range arrivals {
		if ctx.Err() != nil {
			return
		}
		r.record.Began(time.Since(intended))
		if !r.make(ctx, client, call, intended) {
			return
		}
	}
}

// make makes a call and counts it. It returns false if the client is to end.
func (r *run) make(ctx context.Context, client int, call Call, start time.Time) bool {
	err := call(ctx, start)
	switch {
	case err == nil:
		if !r.load.Delivers() {
			r.record.Observe(client, time.Since(start), 1)
		}
	case errors.Is(err, errExhausted):
		r.exhaust()
		return false
	case ctx.Err() != nil:
		return false
	default:
		r.record.Fail(err)
		if r.record.Failed() >= maxErrors {
			r.cancel(ErrTooManyErrors)
		}
	}
	return true
}

// arrive says when calls are to begin: a Poisson process, whose gaps are exponential. What
// it says does not depend on how the calls go; if all clients are busy, they begin late.
func (r *run) arrive(arrivals chan<- time.Time) {
	defer close(arrivals)
	random := rand.New(rand.NewPCG(r.pace.Seed, ^uint64(0)))
	next := r.began
	for n := int64(0); r.pace.Ops == 0 || n < r.pace.Ops; n++ {
		next = next.Add(time.Duration(random.ExpFloat64() / r.pace.Rate * float64(time.Second)))
		if r.pace.Ops == 0 && next.Sub(r.began) >= r.pace.Duration {
			return
		}
		for wait := time.Until(next); wait > 0 && r.over.Err() == nil; wait = time.Until(next) {
			sleep(wait)
		}
		select {
		case arrivals <- next:
		case <-r.over.Done():
			return
		}
	}
}

// Each calls do once for each of the numbers below n, by so many callers at once, and
// returns the first error.
func Each(ctx context.Context, n, callers int, do func(ctx context.Context, caller, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for caller := range min(n, callers) {
		wg.Go(func() {
			for i := taken.Add(1); i <= int64(n) && ctx.Err() == nil; i = taken.Add(1) {
				if err := do(ctx, caller, int(i-1)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
