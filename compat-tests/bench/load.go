package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// operation is the kind of call that a cell makes.
type operation string

const (
	opPut operation = "put"
	// opGet is a linearizable get of one key that exists.
	opGet operation = "get"
	// opSerializable is a serializable get of one key that exists.
	opSerializable operation = "sget"
)

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

// dial opens a connection that costs the client little: static windows (no
// bandwidth probes), no retries, no name resolution, no service config.
func dial(endpoint string) (*grpc.ClientConn, error) {
	const window = 1 << 20
	return grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(16*window),
		grpc.WithReadBufferSize(64<<10),
		grpc.WithWriteBufferSize(64<<10),
	)
}

// loader is the client of one server. It is for one goroutine; a run starts
// goroutines of its own and waits for them.
type loader struct {
	data  *data
	conns []*grpc.ClientConn
}

func newLoader(endpoint string, conns int, d *data) (*loader, error) {
	l := &loader{data: d}
	for range conns {
		conn, err := dial(endpoint)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *loader) close() error {
	var errs []error
	for _, conn := range l.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// fill writes every key once, so that gets find what they ask for.
func (l *loader) fill(ctx context.Context) error {
	var next atomic.Int64
	_, err := l.run(ctx, 100, len(l.data.keys), func(kv etcdserverpb.KVClient, _ *rand.Rand) caller {
		req := &etcdserverpb.PutRequest{Value: l.data.values[0]}
		return func(ctx context.Context) error {
			req.Key = l.data.keys[int(next.Add(1)-1)%len(l.data.keys)]
			_, err := kv.Put(ctx, req)
			return err
		}
	})
	return err
}

// measure runs ops operations of a kind by so many closed-loop clients.
func (l *loader) measure(ctx context.Context, op operation, clients, ops int) (latencies, error) {
	switch op {
	case opPut:
		return l.run(ctx, clients, ops, l.putter)
	case opGet, opSerializable:
		return l.run(ctx, clients, ops, func(kv etcdserverpb.KVClient, random *rand.Rand) caller {
			return l.getter(kv, random, op == opSerializable)
		})
	}
	return latencies{}, fmt.Errorf("unknown operation %q", op)
}

// caller makes one call; it belongs to one client and reuses its request.
type caller func(ctx context.Context) error

func (l *loader) putter(kv etcdserverpb.KVClient, random *rand.Rand) caller {
	req := &etcdserverpb.PutRequest{}
	return func(ctx context.Context) error {
		req.Key = l.data.keys[random.IntN(len(l.data.keys))]
		req.Value = l.data.values[random.IntN(len(l.data.values))]
		_, err := kv.Put(ctx, req)
		return err
	}
}

func (l *loader) getter(kv etcdserverpb.KVClient, random *rand.Rand, serializable bool) caller {
	req := &etcdserverpb.RangeRequest{Serializable: serializable}
	return func(ctx context.Context) error {
		req.Key = l.data.keys[random.IntN(len(l.data.keys))]
		resp, err := kv.Range(ctx, req)
		if err == nil && len(resp.Kvs) != 1 {
			err = fmt.Errorf("got %d rows for %s", len(resp.Kvs), req.Key)
		}
		return err
	}
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

// run makes exactly ops calls and ends at the first error. All clients stay busy
// until the last call has been taken: the calls are dealt out one by one.
func (l *loader) run(
	ctx context.Context, clients, ops int,
	newCaller func(etcdserverpb.KVClient, *rand.Rand) caller,
) (latencies, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		taken   atomic.Int64
		wg      sync.WaitGroup
		perCall = make([]time.Duration, ops)
		start   = make(chan struct{})
	)
	for i := range clients {
		call := newCaller(
			etcdserverpb.NewKVClient(l.conns[i%len(l.conns)]),
			rand.New(rand.NewPCG(uint64(i), uint64(ops))),
		)
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
