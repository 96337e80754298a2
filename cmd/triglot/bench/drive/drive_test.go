package drive

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// fake is a load whose calls a test makes up.
type fake struct {
	call     Call
	delivers bool
}

func (f *fake) Filled(context.Context) (bool, error) { return true, nil }
func (f *fake) Prepare(context.Context) error        { return nil }
func (f *fake) Client(int, *rand.Rand) (Call, error) { return f.call, nil }
func (f *fake) Delivers() bool                       { return f.delivers }
func (f *fake) Close() error                         { return nil }
func takes(d time.Duration) func(context.Context, time.Time) error {
	return func(context.Context, time.Time) error {
		time.Sleep(d) //nolint:forbidigo // on the bubble's clock
		return nil
	}
}

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T)) {
	usual := sleep
	sleep = time.Sleep //nolint:forbidigo // on the bubble's clock
	t.Cleanup(func() { sleep = usual })
	synctest.Test(t, test)
}

func TestClosedLoopMakesExactlyTheCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r measure.Recorder
		took, err := Run(t.Context(), &fake{call: takes(10 * time.Millisecond)}, Pace{Clients: 4, Ops: 10}, &r)
		require.NoError(t, err)
		require.Equal(t, 30*time.Millisecond, took, "three rounds of four")
		require.Equal(t, int64(10), r.Done())
		require.Equal(t, 10*time.Millisecond, r.Latencies().Max())
	})
}

func TestClosedLoopForADuration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r measure.Recorder
		took, err := Run(t.Context(), &fake{call: takes(10 * time.Millisecond)}, Pace{Clients: 2, Duration: time.Second}, &r)
		require.NoError(t, err)
		require.Equal(t, time.Second, took)
		require.Equal(t, int64(200), r.Done())
	})
}

// stalling is a server that answers in a millisecond, but for one stall of a second, that
// begins after one second.
func stalling() Call {
	began := time.Now()
	return func(context.Context, time.Time) error {
		if at := time.Since(began); at >= time.Second && at < 2*time.Second {
			time.Sleep(2*time.Second - at) //nolint:forbidigo // on the bubble's clock
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // on the bubble's clock
		return nil
	}
}

// A stall meets one call of a closed loop, and the mean and the p99 hide it. Of an open
// loop it meets all those that were to begin during it.
func TestOpenLoopShowsAStall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var closed measure.Recorder
		_, err := Run(t.Context(), &fake{call: stalling()}, Pace{Clients: 1, Duration: 10 * time.Second}, &closed)
		require.NoError(t, err)
		require.Less(t, closed.Latencies().Quantile(0.99), 2*time.Millisecond, "this is what is omitted")
		require.Greater(t, closed.Latencies().Max(), 900*time.Millisecond)

		var open measure.Recorder
		took, err := Run(t.Context(), &fake{call: stalling()}, Pace{Clients: 1, Duration: 10 * time.Second, Rate: 500, Seed: 7}, &open)
		require.NoError(t, err)
		require.Less(t, took, 11*time.Second)
		latencies := open.Latencies()
		require.Greater(t, latencies.Quantile(0.99), 800*time.Millisecond)
		require.Greater(t, latencies.Quantile(0.9), 300*time.Millisecond)
		require.Less(t, latencies.Quantile(0.5), 20*time.Millisecond)

		share, latest := open.Late()
		require.Greater(t, share, 0.1, "those that were to begin in the stall, at least")
		require.Greater(t, latest, 900*time.Millisecond)
		share, latest = closed.Late()
		require.Zero(t, share, "a closed loop has no time to keep")
		require.Zero(t, latest)
	})
}

// The gaps of arrivals are those of a Poisson process: their deviation is their mean.
func TestArrivals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var starts []time.Time
		note := func(_ context.Context, start time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			starts = append(starts, start)
			return nil
		}
		var r measure.Recorder
		took, err := Run(t.Context(), &fake{call: note}, Pace{Clients: 3, Ops: 20_000, Rate: 1000, Seed: 1}, &r)
		require.NoError(t, err)
		require.Equal(t, int64(20_000), r.Done())
		share, _ := r.Late()
		require.Zero(t, share)
		require.InDelta(t, 20, took.Seconds(), 1)
		var sum, squares float64
		for i := 1; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1]).Seconds()
			sum += gap
			squares += gap * gap
		}
		n := float64(len(starts) - 1)
		mean := sum / n
		require.InDelta(t, 1, (squares/n-mean*mean)/(mean*mean), 0.1)

		var again measure.Recorder
		tookAgain, err := Run(t.Context(), &fake{call: note}, Pace{Clients: 3, Ops: 20_000, Rate: 1000, Seed: 1}, &again)
		require.NoError(t, err)
		require.Equal(t, took, tookAgain, "the same seed gives the same times")
	})
}

func TestPreciseSleep(t *testing.T) {
	var r measure.Recorder
	_, err := Run(t.Context(), &fake{call: takes(0)}, Pace{Clients: 2, Ops: 20, Rate: 1000}, &r)
	require.NoError(t, err)
	require.Equal(t, int64(20), r.Done())
}

func TestErrorsAreCounted(t *testing.T) {
	var n atomic.Int64
	every := func(context.Context, time.Time) error {
		if n.Add(1)%2 == 0 {
			return errors.New("every other")
		}
		return nil
	}
	var r measure.Recorder
	_, err := Run(t.Context(), &fake{call: every}, Pace{Clients: 3, Ops: 100}, &r)
	require.NoError(t, err)
	require.Equal(t, int64(50), r.Done())
	require.Equal(t, map[string]int64{"every other": 50}, r.Errors())
}

func TestALoadThatOnlyFailsEnds(t *testing.T) {
	var r measure.Recorder
	fails := func(context.Context, time.Time) error { return errors.New("refused") }
	_, err := Run(t.Context(), &fake{call: fails}, Pace{Clients: 2, Duration: time.Hour}, &r)
	require.ErrorIs(t, err, ErrTooManyErrors)
	require.GreaterOrEqual(t, r.Failed(), int64(maxErrors))
}

func TestCancelEndsALoad(t *testing.T) {
	for _, rate := range []float64{0, 1e-6} {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		call := func(ctx context.Context, _ time.Time) error {
			if n.Add(1) == 5 {
				cancel()
			}
			return nil
		}
		if rate > 0 {
			cancel()
		}
		var r measure.Recorder
		_, err := Run(ctx, &fake{call: call}, Pace{Clients: 1, Ops: 1000, Rate: rate}, &r)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, r.Failed())
		cancel()
	}
}

func TestExhaustedEndsALoad(t *testing.T) {
	for _, rate := range []float64{0, 1e6} {
		var n atomic.Int64
		call := func(context.Context, time.Time) error {
			if n.Add(1) > 7 {
				return Exhausted()
			}
			return nil
		}
		var r measure.Recorder
		_, err := Run(t.Context(), &fake{call: call}, Pace{Clients: 3, Duration: time.Hour, Rate: rate}, &r)
		require.NoError(t, err)
		require.Equal(t, int64(7), r.Done())
	}
}

func TestALoadMayCountForItself(t *testing.T) {
	var r measure.Recorder
	_, err := Run(t.Context(), &fake{call: takes(0), delivers: true}, Pace{Clients: 1, Ops: 5}, &r)
	require.NoError(t, err)
	require.Zero(t, r.Done())
}

func TestEach(t *testing.T) {
	var seen [100]atomic.Int32
	require.NoError(t, Each(t.Context(), len(seen), 7, func(_ context.Context, _, i int) error {
		seen[i].Add(1)
		return nil
	}))
	for i := range seen {
		require.Equal(t, int32(1), seen[i].Load())
	}
	broken := errors.New("broken")
	require.ErrorIs(t, Each(t.Context(), 100, 7, func(_ context.Context, _, i int) error {
		if i == 50 {
			return broken
		}
		return nil
	}), broken)
}
