package crossproto

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// patience is how long anything that is due may take.
const patience = 20 * time.Second

// pollEvery is how often a condition is looked at.
const pollEvery = 5 * time.Millisecond

// mount is where ZooKeeper's root lies among etcd's keys.
const mount = "/zk"

// shared is the server of all tests that need none of their own, with MEMBERS=3 a follower
// of three.
var shared served

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	stop, tail, err := startShared()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if code = m.Run(); code != 0 {
		fmt.Fprintf(os.Stderr, "end of the server's log:\n%s\n", tail())
	}
	return code
}

func startShared() (stop func() error, tail func() string, err error) {
	if os.Getenv("MEMBERS") != "3" {
		p, err := server.Start(context.Background(), server.Options{Target: server.Triglot})
		if err != nil {
			return nil, nil, err
		}
		shared = p
		return p.Stop, p.LogTail, nil
	}
	c, err := ensemble.Start(context.Background(), ensemble.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	leader := c.Leader(context.Background())
	m := c.Members[slices.IndexFunc(c.Members, func(m *ensemble.Member) bool { return m != leader })]
	shared = follower{m}
	return c.Close, func() string { return server.Tail(m.Log(), 40) }, nil
}

// follower is a member of several.
type follower struct{ *ensemble.Member }

func (f follower) Endpoint() string { return f.EtcdEndpoint() }

func (f follower) URL() string { return "http://" + f.EtcdEndpoint() }

// served is where a server serves what.
type served interface {
	Endpoint() string   // etcd's clients, as host:port
	URL() string        // HTTP
	ZKEndpoint() string // ZooKeeper's clients, as host:port
}

// faces are a client of each kind. Their paths are znodes' paths: key makes one an
// etcd key.
type faces struct {
	t    *testing.T
	ctx  context.Context
	etcd *clientv3.Client
	zk   *zkClient
	http *gateway
}

// newFaces makes clients that the end of the test closes. What takes longer than
// the time given fails.
func newFaces(t *testing.T, p served, within time.Duration) *faces {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return &faces{t: t, ctx: ctx, etcd: newEtcd(t, p), zk: newZK(t, p), http: &gateway{t: t, url: p.URL()}}
}

func newEtcd(t *testing.T, p served) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{p.Endpoint()},
		DialTimeout: patience,
		Logger:      zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func key(path string) string { return mount + path }

// put writes through etcd and returns the revision.
func (f *faces) put(path, value string, options ...clientv3.OpOption) int64 {
	f.t.Helper()
	r, err := f.etcd.Put(f.ctx, key(path), value, options...)
	require.NoError(f.t, err)
	return r.Header.Revision
}

// del deletes through etcd, and returns the revision and the number of keys.
func (f *faces) del(path string, options ...clientv3.OpOption) (rev, deleted int64) {
	f.t.Helper()
	r, err := f.etcd.Delete(f.ctx, key(path), options...)
	require.NoError(f.t, err)
	return r.Header.Revision, r.Deleted
}

// kv reads through etcd; nil if there is no such key.
func (f *faces) kv(path string) *mvccpb.KeyValue {
	f.t.Helper()
	r, err := f.etcd.Get(f.ctx, key(path))
	require.NoError(f.t, err)
	if len(r.Kvs) == 0 {
		return nil
	}
	return r.Kvs[0]
}

// count counts the keys at and below a path through etcd.
func (f *faces) count(path string) int64 {
	f.t.Helper()
	r, err := f.etcd.Get(f.ctx, key(path), clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(f.t, err)
	return r.Count
}

// watch watches what is at and below a path through etcd, from now on.
func (f *faces) watch(path string) clientv3.WatchChan {
	f.t.Helper()
	w := f.etcd.Watch(f.ctx, key(path), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	r := <-w
	require.True(f.t, r.Created)
	return w
}

// change is an event of an etcd watch.
type change struct {
	kind  string // PUT or DELETE
	path  string
	value string
	lease int64
}

// revision is what one revision did.
type revision struct {
	rev     int64
	changes []change
}

// revisions takes whole revisions from an etcd watch, up to last.
func (f *faces) revisions(w clientv3.WatchChan, last int64) []revision {
	f.t.Helper()
	var revs []revision
	for len(revs) == 0 || revs[len(revs)-1].rev < last {
		r, ok := <-w
		require.True(f.t, ok, "the watch ended before revision %d: %v", last, f.ctx.Err())
		require.NoError(f.t, r.Err())
		for _, e := range r.Events {
			if n := len(revs); n == 0 || revs[n-1].rev != e.Kv.ModRevision {
				revs = append(revs, revision{rev: e.Kv.ModRevision})
			}
			c := change{e.Type.String(), string(e.Kv.Key)[len(mount):], string(e.Kv.Value), e.Kv.Lease}
			revs[len(revs)-1].changes = append(revs[len(revs)-1].changes, c)
		}
	}
	return revs
}
