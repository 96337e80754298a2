package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

const (
	writers = 6
	// callTimeout bounds a write of an etcd client; ZooKeeper's have none, their session
	// is what ends a wait.
	callTimeout    = time.Second
	sessionTimeout = 10 * time.Second
	// betweenWrites keeps the load below what a machine of two cores does with three members.
	betweenWrites = 2 * time.Millisecond
	// betweenProbes is how finely the time is known from which an etcd protocol's cluster
	// writes again: a client that waits for one that is lost does not see it.
	betweenProbes = 20 * time.Millisecond
	// handshakeTimeout is how long a ZooKeeper client waits for a server that takes its
	// connection and does not answer: as ZooKeeper's own does, its session's time by the
	// number of servers. The Go library waits for six times the session.
	handshakeTimeout = sessionTimeout / 3
)

var openACL = zk.WorldACL(zk.PermAll)

type mute struct{}

func (mute) Printf(string, ...any) {}

// client is one client of a cluster that knows all members.
type client struct {
	put   func(ctx context.Context, key, value string) error
	get   func(ctx context.Context, key string) (string, error)
	batch func(ctx context.Context, keys, values []string) error
	close func()
}

func dial(ctx context.Context, cluster *ensemble.Cluster, f face) (*client, error) {
	if f.zk {
		return dialZK(ctx, cluster.ZKEndpoints())
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: cluster.EtcdEndpoints(), Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	return &client{
		put: func(ctx context.Context, key, value string) error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			_, err := c.Put(ctx, key, value)
			return err
		},
		get: func(ctx context.Context, key string) (string, error) {
			resp, err := c.Get(ctx, key)
			if err == nil && len(resp.Kvs) == 0 {
				err = fmt.Errorf("%s is missing", key)
			}
			if err != nil {
				return "", err
			}
			return string(resp.Kvs[0].Value), nil
		},
		batch: func(ctx context.Context, keys, values []string) error {
			var puts []clientv3.Op
			for i, key := range keys {
				puts = append(puts, clientv3.OpPut(key, values[i]))
			}
			_, err := c.Txn(ctx).Then(puts...).Commit()
			return err
		},
		close: func() { _ = c.Close() }, // its error is that of its context
	}, nil
}

func dialZK(ctx context.Context, endpoints []string) (*client, error) {
	conn, events, err := zk.Connect(endpoints, sessionTimeout, zk.WithLogger(mute{}), zk.WithDialer(ensemble.DialImpatient(handshakeTimeout)))
	if err != nil {
		return nil, err
	}
	for has := false; !has; {
		select {
		case e := <-events:
			has = e.State == zk.StateHasSession
		case <-ctx.Done():
			conn.Close()
			return nil, ctx.Err()
		}
	}
	return &client{
		put: func(_ context.Context, key, value string) error {
			_, err := conn.Set(key, []byte(value), -1)
			if errors.Is(err, zk.ErrNoNode) {
				_, err = conn.Create(key, []byte(value), 0, openACL)
			}
			return err
		},
		get: func(_ context.Context, key string) (string, error) {
			value, _, err := conn.Get(key)
			return string(value), err
		},
		batch: func(_ context.Context, keys, values []string) error {
			var creates []any
			for i, key := range keys {
				creates = append(creates, &zk.CreateRequest{Path: key, Data: []byte(values[i]), Acl: openACL})
			}
			_, err := conn.Multi(creates...)
			return err
		},
		close: conn.Close,
	}, nil
}

// load is clients that write for as long as it runs.
type load struct {
	mu        sync.Mutex
	successes [][]time.Time // of each client, and of the probes
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

func startLoad(ctx context.Context, cluster *ensemble.Cluster, f face) (*load, error) {
	ctx, stop := context.WithCancel(ctx)
	l := &load{successes: make([][]time.Time, writers+1), stop: stop}
	spawn := func(load func(*client)) error {
		c, err := dial(ctx, cluster, f)
		if err != nil {
			l.end()
			return err
		}
		l.wg.Go(func() {
			defer c.close()
			load(c)
		})
		return nil
	}
	for i := range writers {
		if err := spawn(func(c *client) { l.write(ctx, i, c) }); err != nil {
			return nil, err
		}
	}
	if f.zk {
		return l, nil // its clients are back as soon as they have a server
	}
	if err := spawn(func(c *client) { l.probe(ctx, c) }); err != nil {
		return nil, err
	}
	return l, nil
}

// probe writes without waiting for what was written before.
func (l *load) probe(ctx context.Context, c *client) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		wg.Go(func() {
			if c.put(ctx, "/gap-probe", "") == nil {
				l.succeeded(writers)
			}
		})
		wait(ctx, betweenProbes)
	}
}

func (l *load) succeeded(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.successes[i] = append(l.successes[i], time.Now())
}

func (l *load) write(ctx context.Context, i int, c *client) {
	for n := 0; ctx.Err() == nil; n++ {
		if c.put(ctx, fmt.Sprintf("/gap-%d", i), fmt.Sprint(n)) == nil {
			l.succeeded(i)
		}
		wait(ctx, betweenWrites)
	}
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// served says whether every client had a success after a time.
func (l *load) served(after time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.successes[:writers] {
		if n := len(times); n == 0 || times[n-1].Before(after) {
			return false
		}
	}
	return true
}

// longest is the longest time without a success since a time: of all clients and probes
// together, and of the client that had the worst of it.
func (l *load) longest(since time.Time) (together, worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Time
	for i, times := range l.successes {
		if i < writers {
			worst = max(worst, longestGap(times, since))
		}
		all = append(all, times...)
	}
	return longestGap(all, since), worst
}
