package crossproto

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

func startThree(t *testing.T, args ...string) (c *ensemble.Cluster, leader *ensemble.Member) {
	c, err := ensemble.Start(context.Background(), ensemble.Options{Args: args})
	t.Cleanup(func() {
		for _, m := range c.Members {
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", m.Name, server.Tail(m.Log(), 40))
			}
		}
		require.NoError(t, c.Close())
	})
	require.NoError(t, err)
	leader = c.Leader(t.Context())
	require.NotNil(t, leader, "nobody leads")
	return c, leader
}

// X15 on several: a member that was down while the log was given up takes over the leader's
// state, and shows on both faces what the leader shows.
func TestX15CatchUp(t *testing.T) {
	t.Parallel()
	c, leader := startThree(t, "--snapshot-count", "50", "--snapshot-catchup-entries", "10")
	down := c.Members[(leader.Index+1)%len(c.Members)]
	require.NoError(t, down.Kill())
	killed := time.Now()
	f := newFaces(t, follower{leader}, 3*patience)
	f.makeAll()
	_, err := f.zk.SetACL("/pinned", append(zk.WorldACL(zk.PermRead), zk.DigestACL(zk.PermAll, "u", "p")...), 0)
	require.NoError(t, err)
	require.NoError(t, f.zk.AddAuth("digest", []byte("u:p")))
	var last int64
	// For an election timeout, a second, the log is kept for one that is not heard of.
	for i := 0; i < 300 || time.Since(killed) < 3*time.Second; i++ {
		last = f.put("/k", fmt.Sprint(i))
	}
	require.NoError(t, down.Restart(t.Context()))
	g := newFaces(t, follower{down}, 3*patience)
	require.NoError(t, g.zk.AddAuth("digest", []byte("u:p")))
	require.Eventually(t, func() bool {
		r, err := g.etcd.Get(g.ctx, "?", clientv3.WithSerializable())
		return err == nil && r.Header.Revision >= last
	}, patience, pollEvery)
	require.Contains(t, down.Log(), "applied snapshot")

	require.Equal(t, f.walk("/"), g.walk("/"))
	rows := func(f *faces) []string {
		r, err := f.etcd.Get(f.ctx, "", clientv3.WithPrefix(), clientv3.WithSerializable())
		require.NoError(t, err)
		var all []string
		for _, kv := range r.Kvs {
			all = append(all, kv.String())
		}
		return all
	}
	require.Equal(t, rows(f), rows(g))
	leases, err := g.etcd.Leases(g.ctx)
	require.NoError(t, err)
	require.Contains(t, leases.Leases, clientv3.LeaseStatus{ID: clientv3.LeaseID(f.zk.SessionID())}, "the session")
}

// x16Group is the znodes of one multi.
var x16Group = []string{"/x16/a", "/x16/b", "/x16/c"}

// X16: the leader is killed during multis; each is there whole or not at all, on both faces
// and on every member, and the answered ones are there.
func TestX16(t *testing.T) {
	t.Parallel()
	c, _ := startThree(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	conn, _, err := zk.Connect(c.ZKEndpoints(), 10*time.Second, zk.WithLogger(silent{}))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Create("/x16", nil, 0, open)
	require.NoError(t, err)
	for _, path := range x16Group {
		_, err = conn.Create(path, []byte("0"), 0, open)
		require.NoError(t, err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: c.EtcdEndpoints(), DialTimeout: patience, Logger: zap.NewNop()})
	require.NoError(t, err)
	defer client.Close() //nolint:errcheck // nothing is lost with it

	var clients sync.WaitGroup
	answered, tried := 0, 0
	writing, stop := context.WithCancel(ctx)
	clients.Go(func() {
		for writing.Err() == nil {
			tried++
			if x16Write(conn, tried) == nil {
				answered = tried
			}
		}
	})
	for range 3 {
		for range 200 {
			x16Read(t, ctx, client, clientv3.WithSerializable())
		}
		leader := c.Leader(ctx)
		require.NotNil(t, leader)
		require.NoError(t, leader.Kill())
		require.NoError(t, leader.Restart(ctx))
	}
	stop()
	clients.Wait()
	require.Positive(t, answered)
	value := x16Read(t, ctx, client)
	require.GreaterOrEqual(t, value, answered)
	require.LessOrEqual(t, value, tried)
	for _, m := range c.Members {
		f := newFaces(t, follower{m}, patience)
		_, err := f.zk.Sync("/x16")
		require.NoError(t, err)
		for _, path := range x16Group {
			data, _ := f.zk.get(path)
			require.Equal(t, fmt.Sprint(value), data)
		}
	}
}

func x16Write(conn *zk.Conn, n int) error {
	var ops []any
	for _, path := range x16Group {
		ops = append(ops, &zk.SetDataRequest{Path: path, Data: fmt.Append(nil, n), Version: -1})
	}
	_, err := conn.Multi(ops...)
	return err
}

// x16Read reads the group by etcd's protocol, and returns the value that all have. While
// there is no leader it is asked again.
func x16Read(t *testing.T, ctx context.Context, client *clientv3.Client, options ...clientv3.OpOption) (value int) {
	t.Helper()
	r, err := client.Get(ctx, key("/x16/"), append(options, clientv3.WithPrefix())...)
	for err != nil && ctx.Err() == nil {
		r, err = client.Get(ctx, key("/x16/"), append(options, clientv3.WithPrefix())...)
	}
	require.NoError(t, err)
	require.Len(t, r.Kvs, len(x16Group))
	for _, kv := range r.Kvs {
		require.Equal(t, string(r.Kvs[0].Value), string(kv.Value), "a multi is torn: %s", strings.TrimSpace(fmt.Sprint(r.Kvs)))
		if kv.Version > 1 {
			require.Equal(t, r.Kvs[0].ModRevision, kv.ModRevision)
		}
	}
	_, err = fmt.Sscan(string(r.Kvs[0].Value), &value)
	require.NoError(t, err)
	return value
}
