package kafka

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// TestKafka is a broker's life: topics, records, groups, restarts of the broker and of
// the server, the end of a topic. With MEMBERS=3 the server is three, of which the leader
// is killed, twice, and started again only after the broker has gone on without it.
func TestKafka(t *testing.T) {
	store := startStore(t)
	b := startBroker(t, strings.Join(store.zk, ","))

	b.topics("--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=86400000")
	b.topics("--create", "--topic", "gone", "--partitions", "1", "--replication-factor", "1")
	require.ElementsMatch(t, []string{"gone", "orders"}, strings.Fields(b.topics("--list")))
	require.Contains(t, b.topics("--describe", "--topic", "orders"), "PartitionCount: 3")
	b.produce("orders", "one", "two", "three")
	require.ElementsMatch(t, []string{"one", "two", "three"}, b.consume("orders", "readers", 3))
	store.check(t)

	b.topics("--alter", "--topic", "orders", "--partitions", "5")
	b.topics("--delete", "--topic", "gone")
	require.Eventually(t, func() bool {
		return !strings.Contains(b.topics("--list"), "gone") && !store.exists(t, "/kafka/brokers/topics/gone")
	}, patience, 100*time.Millisecond)

	t.Log("the broker restarts")
	b.stop()
	require.False(t, store.exists(t, "/kafka/brokers/ids/1"), "the broker closed its session")
	b.start()
	require.Contains(t, b.topics("--describe", "--topic", "orders"), "PartitionCount: 5")
	b.produce("orders", "four")
	require.ElementsMatch(t, []string{"one", "two", "three", "four"}, b.consume("orders", "others", 4))

	t.Log("the broker is killed: its ephemerals outlive it until its session expires")
	b.kill()
	require.True(t, store.exists(t, "/kafka/brokers/ids/1"))
	require.Eventually(t, func() bool { return !store.exists(t, "/kafka/brokers/ids/1") }, patience, 100*time.Millisecond)
	b.start()
	require.ElementsMatch(t, []string{"one", "two", "three", "four"}, b.consume("orders", "third", 4))

	for _, topic := range []string{"after", "again"} {
		t.Log("the server is killed under the broker, of several the leader; the session lives on")
		session := store.owner(t, "/kafka/brokers/ids/1")
		require.NoError(t, store.kill())
		if !several() {
			require.NoError(t, store.restart(context.Background()))
		}
		b.topics("--create", "--topic", topic, "--partitions", "1", "--replication-factor", "1")
		b.produce(topic, "five")
		require.Equal(t, []string{"five"}, b.consume(topic, "readers", 1))
		require.Equal(t, session, store.owner(t, "/kafka/brokers/ids/1"))
		if several() {
			require.NoError(t, store.restart(context.Background()))
		}
	}
	b.stop()
}

func several() bool { return os.Getenv("MEMBERS") == "3" }

// store is where the broker's metadata is. kill ends the server, or the leader of
// several; restart starts what kill has ended.
type store struct {
	zk, etcd []string
	kill     func() error
	restart  func(context.Context) error
}

// startStore starts Triglot, or a real ZooKeeper if TARGET says so, three members of it
// with MEMBERS=3.
func startStore(t *testing.T) *store {
	kind, err := ensemble.KindFromEnv()
	require.NoError(t, err)
	if several() {
		return startSeveral(t, kind)
	}
	if kind == ensemble.Triglot {
		p := server.StartT(t, server.Options{Target: server.Triglot})
		return &store{zk: []string{p.ZKEndpoint()}, etcd: []string{p.URL()}, kill: p.Kill, restart: p.Restart}
	}
	p, err := zkserver.Start(context.Background(), zkserver.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	return &store{zk: []string{p.Endpoint()}, kill: p.Kill, restart: p.Restart}
}

func startSeveral(t *testing.T, kind ensemble.Kind) *store {
	c, err := ensemble.Start(context.Background(), ensemble.Options{Kind: kind})
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range c.Members {
				t.Logf("end of the log of %s:\n%s", m.Name, server.Tail(m.Log(), 40))
			}
		}
		require.NoError(t, c.Close())
	})
	require.NoError(t, err)
	s := &store{zk: c.ZKEndpoints()}
	if kind.Etcd() {
		s.etcd = c.EtcdEndpoints()
	}
	var ended *ensemble.Member
	s.kill = func() error {
		if ended = c.Leader(context.Background()); ended == nil {
			return errors.New("nobody leads")
		}
		return ended.Kill()
	}
	s.restart = func(ctx context.Context) error { return ended.Restart(ctx) }
	return s
}

// stat asks a ZooKeeper client of its own; nil means that there is no such znode.
func (s *store) stat(t *testing.T, path string) *zk.Stat {
	t.Helper()
	conn, _, err := zk.Connect(s.zk, 10*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Sync("/") // this member may be behind the one that the broker has spoken to
	require.NoError(t, err)
	found, stat, err := conn.Exists(path)
	require.NoError(t, err)
	if !found {
		return nil
	}
	return stat
}

func (s *store) exists(t *testing.T, path string) bool {
	t.Helper()
	return s.stat(t, path) != nil
}

// owner is the session that an ephemeral belongs to.
func (s *store) owner(t *testing.T, path string) int64 {
	t.Helper()
	stat := s.stat(t, path)
	require.NotNil(t, stat, path)
	require.NotZero(t, stat.EphemeralOwner)
	return stat.EphemeralOwner
}

// check looks at the broker's znodes through etcd's protocol.
func (s *store) check(t *testing.T) {
	t.Helper()
	if s.etcd == nil {
		return // a real ZooKeeper has no such face
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: s.etcd, DialTimeout: patience})
	require.NoError(t, err)
	defer client.Close() //nolint:errcheck // nothing is lost with it
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := client.Get(ctx, "/zk/kafka/brokers/topics/orders")
	require.NoError(t, err)
	require.Len(t, topic.Kvs, 1)
	require.Contains(t, string(topic.Kvs[0].Value), `"partitions"`)
	broker, err := client.Get(ctx, "/zk/kafka/brokers/ids/1")
	require.NoError(t, err)
	require.Len(t, broker.Kvs, 1)
	require.NotZero(t, broker.Kvs[0].Lease, "a broker's registration is an ephemeral: a key with a lease")
}
