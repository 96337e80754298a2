package etcdload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// Config says what a load works with.
type Config struct {
	// Endpoints are host:port; the connections are spread over them in turn.
	Endpoints   []string
	Connections int
	Clients     int
	Keys        *keyspace.Space
	// Ops is how many calls there will be, 0 if that is not known.
	Ops       int64
	ReadShare float64
	// Limit is how many rows a range has at most, 0 for all.
	Limit int64
	// Watchers are spread over Streams.
	Watchers, Streams int
	// FromRevision is where a watch catches up from, or Behind how many revisions it is
	// behind.
	FromRevision, Behind int64
	// Record counts what is delivered.
	Record *measure.Recorder
	// Note says what differs from what was asked for, and Fail why the load cannot go on.
	Note func(string)
	Fail func(error)
}

// kind is a load by its name.
type kind struct {
	// needsKeys says that all keys are to be there before.
	needsKeys bool
	delivers  bool
	// prepare may be nil.
	prepare func(*Load, context.Context) error
	client  func(l *Load, i int, random *rand.Rand) drive.Call
}

// Fill is the load that writes every key once.
const Fill = "fill"

var kinds = map[string]kind{
	Fill:              {client: (*Load).filler},
	"put":             {client: (*Load).putter},
	"get":             {needsKeys: true, client: (*Load).getter},
	"sget":            {needsKeys: true, client: (*Load).localGetter},
	"mix":             {needsKeys: true, client: (*Load).mixer},
	"range":           {needsKeys: true, client: (*Load).ranger},
	"range-stream":    {needsKeys: true, prepare: (*Load).probeStream, client: (*Load).streamer},
	"count":           {needsKeys: true, client: (*Load).counter},
	"txn":             {needsKeys: true, prepare: (*Load).learnRevisions, client: (*Load).updater},
	"delete":          {prepare: (*Load).fillDoomed, client: (*Load).deleter},
	"lease-keepalive": {prepare: (*Load).grantLeases, client: (*Load).renewer},
	"watch-latency":   {delivers: true, prepare: (*Load).watchOwn, client: (*Load).ownWriter},
	"watch-fanout":    {delivers: true, prepare: (*Load).watchOne, client: (*Load).oneWriter},
	"watch-keys":      {delivers: true, prepare: (*Load).watchMany, client: (*Load).anyWriter},
	"watch-catchup":   {needsKeys: true, delivers: true, prepare: (*Load).findTarget, client: (*Load).latecomer},
}

// Load is one load. Its clients may be used at once.
type Load struct {
	Config
	kind  kind
	conns []*grpc.ClientConn

	// ctx is that of the streams, which last from Prepare to Close.
	ctx    context.Context
	cancel context.CancelFunc

	state   // what single kinds have
	closing []func()
}

// dialTimeout is how long a server may take to answer a new connection's first request.
const dialTimeout = 10 * time.Second

// New connects to the servers.
func New(ctx context.Context, name string, c Config) (*Load, error) {
	k, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("no load of etcd's protocol is called %q", name)
	}
	l := &Load{Config: c, kind: k, state: state{fill: drive.NewFiller(c.Keys.Count())}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	for i := range c.Connections {
		conn, err := dial(c.Endpoints[i%len(c.Endpoints)])
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.conns = append(l.conns, conn)
	}
	err := drive.Each(ctx, len(l.conns), len(l.conns), func(ctx context.Context, _, i int) error {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if _, err := l.revision(ctx, l.conns[i]); err != nil {
			return fmt.Errorf("%s: %w", c.Endpoints[i%len(c.Endpoints)], err)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
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
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(1<<30)),
	)
}

// conn is the connection of a client.
func (l *Load) conn(i int) *grpc.ClientConn { return l.conns[i%len(l.conns)] }

// Delivers is drive.Load's.
func (l *Load) Delivers() bool { return l.kind.delivers }

// Filled is drive.Load's.
func (l *Load) Filled(ctx context.Context) (bool, error) {
	if !l.kind.needsKeys {
		return true, nil
	}
	length := -1
	found := rangeAnswer{each: func(r row) { length = len(r.value) }}
	all := rangeRequest{key: l.Keys.AppendKey(nil, 0), end: l.Keys.End(), countOnly: true}
	err := l.conns[0].Invoke(ctx, methodRange, &message{all.append(nil)}, &found)
	if err != nil || found.count != int64(l.Keys.Count()) {
		return false, err
	}
	last := rangeRequest{key: l.Keys.AppendKey(nil, l.Keys.Count()-1)}
	err = l.conns[0].Invoke(ctx, methodRange, &message{last.append(nil)}, &found)
	return length == l.Keys.ValueBytes(), err
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
	for _, end := range slices.Backward(l.closing) {
		end()
	}
	l.cancel()
	l.streams.Wait()
	var errs []error
	for _, conn := range l.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// revision asks for the present revision, on a connection.
func (l *Load) revision(ctx context.Context, conn *grpc.ClientConn) (int64, error) {
	req := rangeRequest{key: []byte{0}, countOnly: true}
	var a rangeAnswer
	err := conn.Invoke(ctx, methodRange, &message{req.append(nil)}, &a)
	return a.rev, err
}
