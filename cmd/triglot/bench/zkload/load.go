package zkload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// Config says what a load works with.
type Config struct {
	// Endpoints are host:port; the sessions are spread over them in turn.
	Endpoints []string
	// Connections are sessions; of a watch storm, one more than watch.
	Connections int
	Keys        *keyspace.Space
	ReadShare   float64
	// Watchers are sessions that watch a znode.
	Watchers int
	// Record counts what is delivered.
	Record *measure.Recorder
}

// kind is a load by its name.
type kind struct {
	// needsKeys says that all znodes are to be there before.
	needsKeys bool
	delivers  bool
	// prepare may be nil.
	prepare func(*Load, context.Context) error
	client  func(l *Load, i int, random *rand.Rand) drive.Call
}

// Fill is the load that makes every znode once.
const Fill = "fill"

var kinds = map[string]kind{
	Fill:              {prepare: (*Load).makeParents, client: (*Load).filler},
	"create":          {prepare: (*Load).makePlaces, client: (*Load).creator},
	"set":             {needsKeys: true, client: (*Load).setter},
	"get":             {needsKeys: true, client: (*Load).getter},
	"mix":             {needsKeys: true, client: (*Load).mixer},
	"get-children":    {needsKeys: true, client: (*Load).lister},
	"multi":           {needsKeys: true, client: (*Load).batcher},
	"ephemeral-churn": {prepare: (*Load).makePlaces, client: (*Load).churner},
	"session-storm":   {client: (*Load).comer},
	"watch-storm":     {delivers: true, prepare: (*Load).watchOne, client: (*Load).stormer},
}

// Load is one load. Its clients may be used at once.
type Load struct {
	Config
	kind  kind
	root  string
	run   string     // tells the znodes of this run from those of others
	mu    sync.Mutex // guards conns until New returns
	conns []*conn

	fill  *drive.Filler
	made  atomic.Int64 // the next znode to create
	storm *storm       // if it is one

	cancel context.CancelFunc
	unhook func() bool // from the end of New's context
	pinger sync.WaitGroup
}

// New opens the sessions.
func New(ctx context.Context, name string, c Config) (*Load, error) {
	k, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("no load of ZooKeeper's protocol is called %q", name)
	}
	l := &Load{Config: c, kind: k, root: rootOf(c.Keys.Prefix()), fill: drive.NewFiller(c.Keys.Count())}
	l.run = strconv.FormatInt(time.Now().UnixNano(), 36)
	if k.delivers {
		l.storm = newStorm(c.Watchers)
	}
	l.unhook = context.AfterFunc(ctx, func() { l.fail(context.Cause(ctx)) })
	pinging, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	l.conns = make([]*conn, l.Connections)
	err := drive.Each(ctx, l.Connections, preparers, func(ctx context.Context, _, i int) error {
		conn, err := dial(ctx, l.endpoint(i), l.eventOf(i))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns[i] = conn
		return err
	})
	if err != nil {
		return nil, errors.Join(err, l.Close()) //nolint:contextcheck // a close waits for nobody
	}
	l.pinger.Go(func() { l.ping(pinging) })
	return l, nil
}

// fail ends the sessions' connections, whoever waits for an answer.
func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			c.fail(err)
		}
	}
}

// preparers is how many calls prepare a load at once.
const preparers = 100

func (l *Load) endpoint(i int) string { return l.Endpoints[i%len(l.Endpoints)] }

// ping keeps the sessions alive that nobody uses for a while.
func (l *Load) ping(ctx context.Context) {
	ticker := time.NewTicker(sessionTimeout / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		_ = drive.Each(ctx, len(l.conns), preparers, func(_ context.Context, _, i int) error {
			var ping call
			ping.begin(wire.OpPing)
			_ = l.conns[i].do(&ping) // a broken connection tells whoever calls next
			return nil
		})
	}
}

// Delivers is drive.Load's.
func (l *Load) Delivers() bool { return l.kind.delivers }

// Filled is drive.Load's. The last znode is made last: if it is there, all are.
func (l *Load) Filled(context.Context) (bool, error) {
	if !l.kind.needsKeys {
		return true, nil
	}
	last := getOf(l.pathOf(l.Keys.Count() - 1))
	err := l.conns[0].do(last)
	if errors.Is(err, wire.NoNode) {
		return false, nil
	}
	return err == nil && int(last.first) == l.Keys.ValueBytes(), err
}

// Prepare is drive.Load's.
func (l *Load) Prepare(ctx context.Context) error {
	if l.kind.prepare == nil {
		return nil
	}
	return l.kind.prepare(l, ctx)
}

// Client is drive.Load's.
func (l *Load) Client(i int, random *rand.Rand) (drive.Call, error) {
	return l.kind.client(l, i, random), nil
}

// Close is drive.Load's.
func (l *Load) Close() error {
	l.unhook()
	l.cancel()
	l.pinger.Wait()
	var first atomic.Pointer[error]
	_ = drive.Each(context.Background(), len(l.conns), preparers, func(_ context.Context, _, i int) error {
		if c := l.conns[i]; c != nil {
			if err := c.close(); err != nil {
				first.CompareAndSwap(nil, &err)
			}
		}
		return nil // the others are closed in any case
	})
	if l.storm != nil {
		l.storm.stop()
	}
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}
