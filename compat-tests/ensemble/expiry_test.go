//go:build linux

package ensemble_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// What a client leaves behind when it dies, and the leader with it: its keys stay for
// their time at least, and go soon after the next leader has given it to them again. What
// belongs to one who lives stays. TARGET has no say: each kind shows what it does.
const (
	leaseTTL = 4 * time.Second
	// lateExpiry bounds how long after a new leader's full time a key goes: an election,
	// what detaches a session, and a busy machine.
	lateExpiry = 15 * time.Second
	looking    = 20 * time.Millisecond
)

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func startCluster(ctx context.Context, t *testing.T, o ensemble.Options) *ensemble.Cluster {
	t.Helper()
	c, err := ensemble.Start(ctx, o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, err)
	return c
}

func TestLeasesAcrossLeaders(t *testing.T) {
	for _, kind := range []ensemble.Kind{ensemble.Etcd, ensemble.Triglot} {
		t.Run(string(kind), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			c := startCluster(ctx, t, ensemble.Options{Kind: kind})
			client, err := clientv3.New(clientv3.Config{Endpoints: c.EtcdEndpoints(), DialTimeout: leaseTTL, Logger: zap.NewNop()})
			require.NoError(t, err)
			defer func() { _ = client.Close() }() // its error is that of its context
			grant := func(key string) clientv3.LeaseID {
				g, err := client.Grant(ctx, int64(leaseTTL/time.Second))
				require.NoError(t, err)
				_, err = client.Put(ctx, key, "", clientv3.WithLease(g.ID))
				require.NoError(t, err)
				return g.ID
			}
			live, dead := grant("live"), grant("dead")
			kept, err := client.KeepAlive(ctx, live)
			require.NoError(t, err)
			go func() {
				for range kept { // until ctx ends
				}
			}()
			<-time.After(leaseTTL / 2) // the dead one's last sign of life is that long ago
			died := time.Now()
			require.NoError(t, c.Leader(ctx).Kill())
			answer, err := client.TimeToLive(ctx, dead)
			for err != nil && ctx.Err() == nil {
				answer, err = client.TimeToLive(ctx, dead)
			}
			require.NoError(t, err)
			again := time.Since(died)
			require.InDelta(t, leaseTTL.Seconds(), answer.TTL, 1, "a new leader gives a lease its full time")
			var gone time.Duration
			require.Eventually(t, func() bool {
				got, err := client.Get(ctx, "dead")
				gone = time.Since(died)
				return err == nil && got.Count == 0
			}, leaseTTL+lateExpiry, looking)
			require.GreaterOrEqual(t, gone, leaseTTL-time.Second)
			got, err := client.Get(ctx, "live")
			require.NoError(t, err)
			require.EqualValues(t, 1, got.Count)
			t.Logf("leases of %s, of which half was over: %s after the leader died the answer is %d s, and %s after it the key is gone",
				leaseTTL, again.Round(looking), answer.TTL, gone.Round(looking))
		})
	}
}

func TestSessionsAcrossLeaders(t *testing.T) {
	for _, kind := range []ensemble.Kind{ensemble.ZooKeeper, ensemble.Triglot} {
		t.Run(string(kind), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			const tick = 500 * time.Millisecond
			c := startCluster(ctx, t, ensemble.Options{Kind: kind, Tick: tick})
			leader := c.Leader(ctx)
			var rest []string
			for _, m := range c.Members {
				if m != leader {
					rest = append(rest, m.ZKEndpoint())
				}
			}
			connect := func(path string) *zk.Conn {
				conn, _, err := zk.Connect(rest, leaseTTL, zk.WithLogger(quiet{}))
				require.NoError(t, err)
				t.Cleanup(conn.Close)
				_, err = conn.Create(path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
				require.NoError(t, err)
				return conn
			}
			live := connect("/live")
			ghost := ghostOf(t, c.Members[(leader.Index+1)%len(c.Members)].ZKEndpoint())
			died := time.Now()
			require.NoError(t, ghost.Close())
			require.NoError(t, leader.Kill())
			var gone time.Duration
			require.Eventually(t, func() bool {
				there, _, err := live.Exists("/dead")
				gone = time.Since(died)
				return err == nil && !there
			}, leaseTTL+lateExpiry, looking)
			require.GreaterOrEqual(t, gone, leaseTTL-time.Second)
			there, stat, err := live.Exists("/live")
			require.NoError(t, err)
			require.True(t, there)
			require.Equal(t, live.SessionID(), stat.EphemeralOwner)
			t.Logf("sessions of %s: %s after it and the leader died the ephemeral is gone", leaseTTL, gone.Round(looking))
		})
	}
}

// ghost is the connection of a client that can make no other: once it is closed, nothing
// more is heard of the client.
type ghost struct {
	net.Conn
	dialled atomic.Bool
}

func (g *ghost) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	if g.dialled.Swap(true) {
		return nil, net.ErrClosed
	}
	var err error
	g.Conn, err = net.DialTimeout(network, address, timeout)
	return g.Conn, err
}

// ghostOf is that of a client of one member, with /dead for an ephemeral.
func ghostOf(t *testing.T, endpoint string) *ghost {
	t.Helper()
	g := new(ghost)
	conn, _, err := zk.Connect([]string{endpoint}, leaseTTL, zk.WithLogger(quiet{}), zk.WithDialer(g.dial))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.Create("/dead", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	return g
}
