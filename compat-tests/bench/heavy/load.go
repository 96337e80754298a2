package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const valueBytes = 256

// client speaks to one server. Its methods are safe for concurrent use.
type client interface {
	// fill writes the keys once, in large transactions.
	fill(ctx context.Context, keys int) error
	// put overwrites one key.
	put(ctx context.Context, key int, value []byte) error
	close() error
}

// noise makes values that cannot be compressed. It is for one goroutine.
type noise struct{ source *rand.ChaCha8 }

func newNoise(seed int) *noise {
	return &noise{rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7})}
}

func (n *noise) value(into []byte) []byte {
	_, _ = n.source.Read(into) // never fails
	return into
}

// scattered is the i-th key to write: all of them, each once, in no order that a store
// could make use of.
func scattered(i, keys int) int {
	const prime = 1_000_000_007 // larger than any number of keys here, so it has no factor in common
	return int(int64(i) % int64(keys) * prime % int64(keys))
}

// inBatches has workers take batches of the numbers below total, until one fails.
func inBatches(ctx context.Context, workers, total, size int, do func(worker, from, to int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				from := int(taken.Add(int64(size))) - size
				if from >= total {
					return
				}
				if err := do(w, from, min(total, from+size)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// overwriters is how many overwrite the keys, one revision each, to make history.
const overwriters = 500

func overwrite(ctx context.Context, cl client, keys, count int) error {
	all := make([]*noise, overwriters)
	for i := range all {
		all[i] = newNoise(i)
	}
	return inBatches(ctx, overwriters, count, 100, func(worker, from, to int) error {
		value := make([]byte, valueBytes)
		for i := from; i < to; i++ {
			if err := cl.put(ctx, scattered(i, keys), all[worker].value(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// capacity is how many puts a second the server takes from many callers.
func capacity(ctx context.Context, cl client, keys int, d time.Duration) (float64, error) {
	const callers = 200
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		wg.Go(func() {
			random, source, value := rand.New(rand.NewPCG(uint64(i), 1)), newNoise(i), make([]byte, valueBytes)
			for time.Since(begin) < d {
				if err := cl.put(ctx, random.IntN(keys), source.value(value)); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(begin).Seconds(), nil
}

// call is one put of a steady load.
type call struct {
	at     time.Time // when it was to start
	took   time.Duration
	failed bool
}

// steady is an open load: puts of random keys that start at the times of a Poisson
// process. It owns a goroutine that deals them out and those that make them, all of which
// end waits for.
type steady struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu    sync.Mutex
	calls []call
	first error
}

const (
	// steadyCallers bounds the puts under way; beyond them the others wait, and their
	// latency grows.
	steadyCallers = 2000
	putTimeout    = 30 * time.Second
)

func startSteady(ctx context.Context, cl client, keys int, rate float64) *steady {
	ctx, cancel := context.WithCancel(ctx)
	s := &steady{cancel: cancel}
	starts := make(chan time.Time, steadyCallers)
	for i := range steadyCallers {
		s.all.Go(func() { s.caller(starts, cl, keys, i) })
	}
	s.all.Go(func() {
		defer close(starts)
		random := rand.New(rand.NewPCG(2, 2))
		for next := time.Now(); ; {
			next = next.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
			if wait := time.Until(next); wait > 0 && sleep(ctx, wait) != nil || ctx.Err() != nil {
				return
			}
			starts <- next
		}
	})
	return s
}

func (s *steady) caller(starts <-chan time.Time, cl client, keys, i int) {
	random, source, value := rand.New(rand.NewPCG(uint64(i), 3)), newNoise(i), make([]byte, valueBytes)
	var mine []call
	var first error
	for at := range starts {
		// Not ended with the load: what has begun is counted.
		ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
		err := cl.put(ctx, random.IntN(keys), source.value(value))
		cancel()
		mine = append(mine, call{at: at, took: time.Since(at), failed: err != nil})
		if err != nil && first == nil {
			first = err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, mine...)
	if s.first == nil {
		s.first = first
	}
}

// end stops the load and returns its calls, and the error of one that failed.
func (s *steady) end() ([]call, error) {
	s.cancel()
	s.all.Wait()
	return s.calls, s.first
}

// latency sums up the calls of a phase.
type latency struct {
	Calls  int     `json:"calls"`
	Failed int     `json:"failed"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	P999   float64 `json:"p999_us"`
	Max    float64 `json:"max_us"`
}

// latencyWithin is that of the calls that were to start in a span of time.
func latencyWithin(calls []call, from, to time.Time) latency {
	var l latency
	var took []time.Duration
	for _, c := range calls {
		if c.at.Before(from) || !c.at.Before(to) {
			continue
		}
		took = append(took, c.took)
		if c.failed {
			l.Failed++
		}
	}
	slices.Sort(took)
	quantile := func(q float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Microseconds())
	}
	l.Calls, l.P50, l.P99, l.P999, l.Max = len(took), quantile(.5), quantile(.99), quantile(.999), quantile(1)
	return l
}
