package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operation is the kind of call that a cell makes. Each face has its own.
type operation string

// opFill writes the keys one after the other, each caller the next one.
const opFill operation = "fill"

// client has the connections to one server, in its protocol.
type client interface {
	// caller returns the calls of the i-th closed-loop client.
	caller(op operation, i int, random *rand.Rand) (caller, error)
	close() error
}

// caller makes one call; it belongs to one client and reuses its request.
type caller func(ctx context.Context) error

// data is what all servers are loaded with: the same keys and values for each.
type data struct {
	keys   [][]byte
	values [][]byte
}

// newData makes keys of 16 bytes and values of valueBytes that do not compress.
func newData(keys, valueBytes int) *data {
	d := &data{}
	for i := range keys {
		d.keys = append(d.keys, fmt.Appendf(nil, "bench/%010d", i))
	}
	random := rand.NewChaCha8([32]byte{1})
	for range 64 {
		value := make([]byte, valueBytes)
		for j := 0; j < len(value); j += 8 {
			var word [8]byte
			binary.LittleEndian.PutUint64(word[:], random.Uint64())
			copy(value[j:], word[:])
		}
		d.values = append(d.values, value)
	}
	return d
}

// fillers is how many clients fill a server.
const fillers = 100

// loader loads one server. It is for one goroutine; a run starts goroutines of
// its own and waits for them.
type loader struct {
	data *data
	client
}

// fill writes every key once, so that later calls find what they ask for.
func (l *loader) fill(ctx context.Context) error {
	_, err := l.measure(ctx, opFill, fillers, len(l.data.keys))
	return err
}

// latencies are the durations of all calls of a run, sorted.
type latencies struct {
	elapsed time.Duration
	sorted  []time.Duration
}

// quantile returns the latency that the fraction q of the calls did not exceed.
func (l latencies) quantile(q float64) time.Duration {
	if len(l.sorted) == 0 {
		return 0
	}
	i := int(q * float64(len(l.sorted)))
	return l.sorted[min(i, len(l.sorted)-1)]
}

// measure makes exactly ops calls by so many closed-loop clients, and ends at the
// first error. All clients stay busy until the last call has been taken: the calls
// are dealt out one by one.
func (l *loader) measure(ctx context.Context, op operation, clients, ops int) (latencies, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := make([]caller, clients)
	for i := range calls {
		var err error
		if calls[i], err = l.caller(op, i, rand.New(rand.NewPCG(uint64(i), uint64(ops)))); err != nil {
			return latencies{}, err
		}
	}
	var (
		taken   atomic.Int64
		wg      sync.WaitGroup
		perCall = make([]time.Duration, ops)
		start   = make(chan struct{})
	)
	for _, call := range calls {
		wg.Go(func() {
			<-start
			before := time.Now()
			for {
				n := taken.Add(1) - 1
				if n >= int64(ops) {
					return
				}
				if err := call(ctx); err != nil {
					cancel(err)
					return
				}
				after := time.Now()
				perCall[n] = after.Sub(before)
				before = after
			}
		})
	}
	began := time.Now()
	close(start)
	wg.Wait()
	elapsed := time.Since(began)
	if err := context.Cause(ctx); err != nil {
		return latencies{}, err
	}
	slices.Sort(perCall)
	return latencies{elapsed: elapsed, sorted: perCall}, nil
}
