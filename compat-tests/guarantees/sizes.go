package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

const (
	fillers   = 24
	perParent = 10_000 // keys below one path
	perBatch  = 100    // keys of a transaction
	largeKey  = 8 << 10
	smallKey  = 64
	// bound is of everything that takes long.
	bound = 90 * time.Minute
)

// fill writes keys of a size, in transactions, from several clients.
func fill(ctx context.Context, cluster *ensemble.Cluster, f face, keys, size int) error {
	first, err := dial(ctx, cluster, f)
	if err != nil {
		return err
	}
	defer first.close()
	for parent := 0; parent*perParent < keys; parent++ {
		if err := retried(ctx, func() error { return first.put(ctx, fmt.Sprintf("/fill-%d", parent), "") }); err != nil {
			return err
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	values := newValues(size)
	batch := max(1, min(perBatch, (512<<10)/size)) // below every server's limit of a request
	for range fillers {
		wg.Go(func() {
			c, err := dial(ctx, cluster, f)
			if err == nil {
				err = fillSome(ctx, c, &next, keys, batch, values)
				c.close()
			}
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("fill: %w", *err)
	}
	return nil
}

func fillSome(ctx context.Context, c *client, next *atomic.Int64, keys, batch int, values *values) error {
	for {
		from := int(next.Add(int64(batch))) - batch
		if from >= keys {
			return nil
		}
		var names, content []string
		for i := from; i < min(keys, from+batch); i++ {
			names, content = append(names, filledKey(i)), append(content, values.of(i))
		}
		if err := retried(ctx, func() error { return c.batch(ctx, names, content) }); err != nil {
			return err
		}
	}
}

func filledKey(i int) string { return fmt.Sprintf("/fill-%d/%09d", i/perParent, i) }

// filled is nil if some of the keys are there with their values.
func filled(ctx context.Context, cluster *ensemble.Cluster, f face, keys, size int) error {
	c, err := dial(ctx, cluster, f)
	if err != nil {
		return err
	}
	defer c.close()
	v := newValues(size)
	for _, i := range []int{0, keys / 2, keys - 1} {
		value, err := c.get(ctx, filledKey(i))
		if err != nil {
			return err
		}
		if value != v.of(i) {
			return fmt.Errorf("%s has another value", filledKey(i))
		}
	}
	return nil
}

// values are what no server can compress: Triglot would have less to read and to send than
// those that do not try to.
type values struct {
	size int
	pool string
}

func newValues(size int) *values {
	pool := make([]byte, 16<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(pool) // it has no error
	return &values{size, string(pool)}
}

// of is the value of a key.
func (v *values) of(i int) string {
	at := (i * v.size) % (len(v.pool) - v.size)
	return v.pool[at : at+v.size]
}

// retried tries again what may meet an election.
func retried(ctx context.Context, do func() error) error {
	var err error
	for range 100 {
		if err = do(); err == nil || ctx.Err() != nil || strings.Contains(err.Error(), "node already exists") {
			return ctx.Err()
		}
		wait(ctx, 100*time.Millisecond)
	}
	return err
}

// catchUps is how long a new member takes.
func catchUps(c *config) part {
	return part{
		name: "catchup", heapMiB: shippedHeapMiB + 3*c.mib,
		title: fmt.Sprintf("A new member without data, of a cluster with %d MiB in values of %d KiB: time from its start until it has all "+
			"that was there at its start, and the longest time without a successful write meanwhile. (A server of ZooKeeper's starts again without its data.)",
			c.mib, largeKey>>10),
		fill: func(ctx context.Context, cluster *ensemble.Cluster, f face) error {
			return fill(ctx, cluster, f, c.mib<<20/largeKey, largeKey)
		},
		steps: []step{{"a new member", catchUp}},
	}
}

func catchUp(ctx context.Context, cluster *ensemble.Cluster, f face) (figures, error) {
	l, err := startLoad(ctx, cluster, f)
	if err != nil {
		return nil, err
	}
	defer l.end()
	if err := awaitServed(ctx, l, time.Now()); err != nil {
		return nil, err
	}
	wait(ctx, 2*time.Second)
	since := time.Now()
	took, err := newMember(ctx, cluster, f)
	if err != nil {
		return nil, err
	}
	wait(ctx, time.Second)
	together, _ := l.longest(since)
	return figures{"caught up after": took, "longest gap": together}, nil
}

// newMember starts one and waits until it has what was there.
func newMember(ctx context.Context, cluster *ensemble.Cluster, f face) (time.Duration, error) {
	if f.kind == ensemble.ZooKeeper {
		return renewed(ctx, cluster)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: cluster.EtcdEndpoints(), Logger: zap.NewNop()})
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Close() }() // its error is that of its context
	resp, err := client.Get(ctx, "/x")
	if err != nil {
		return 0, err
	}
	m, err := cluster.Join(func(_, url string) error {
		return retried(ctx, func() error { // members have to know each other for five seconds first
			_, err := client.MemberAdd(ctx, []string{url})
			return err
		})
	})
	began := time.Now()
	if err != nil {
		return 0, err
	}
	for {
		status, err := statusOf(ctx, client, m)
		if err == nil && status.Header.Revision >= resp.Header.Revision {
			return time.Since(began), nil
		}
		if ended := m.Ended(); ended != nil {
			return 0, fmt.Errorf("the new member has ended: %w; end of its log:\n%s", ended, m.Log())
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the new member does not catch up: %w", err)
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func statusOf(ctx context.Context, client *clientv3.Client, m *ensemble.Member) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return client.Status(ctx, m.EtcdEndpoint())
}

// renewed takes a follower's data away: ZooKeeper's way of replacing a server.
func renewed(ctx context.Context, cluster *ensemble.Cluster) (time.Duration, error) {
	leader := cluster.Leader(ctx)
	if leader == nil {
		return 0, errors.New("nobody leads")
	}
	m := cluster.Members[(leader.Index+1)%len(cluster.Members)]
	if err := errors.Join(m.Kill(), m.Wipe()); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := m.Restart(ctx); err != nil { // it answers srvr with its mode once it has it all
		return 0, err
	}
	return time.Since(began), nil
}
