package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// TestKafka is a broker's life: topics, records, groups, restarts of the broker and of
// the server, the end of a topic.
func TestKafka(t *testing.T) {
	store := startStore(t)
	b := startBroker(t, store.zk)

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

	t.Log("the server is killed under the broker, which keeps its session")
	require.NoError(t, store.kill())
	require.NoError(t, store.restart(context.Background()))
	b.topics("--create", "--topic", "after", "--partitions", "1", "--replication-factor", "1")
	b.produce("after", "five")
	require.Equal(t, []string{"five"}, b.consume("after", "readers", 1))
	b.stop()
}

// store is where the broker's metadata is.
type store struct {
	zk, etcd string
	kill     func() error
	restart  func(context.Context) error
}

// startStore starts Triglot, or a real ZooKeeper if TARGET says so.
func startStore(t *testing.T) *store {
	target, err := server.TargetFromEnv()
	if err == nil && target == server.Triglot {
		p := server.StartT(t, server.Options{Target: server.Triglot})
		return &store{zk: p.ZKEndpoint(), etcd: p.URL(), kill: p.Kill, restart: p.Restart}
	}
	p, err := zkserver.Start(context.Background(), zkserver.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	return &store{zk: p.Endpoint(), kill: p.Kill, restart: p.Restart}
}

// exists asks a ZooKeeper client of its own.
func (s *store) exists(t *testing.T, path string) bool {
	t.Helper()
	conn, _, err := zk.Connect([]string{s.zk}, 10*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	found, _, err := conn.Exists(path)
	require.NoError(t, err)
	return found
}

// check looks at the broker's znodes through etcd's protocol.
func (s *store) check(t *testing.T) {
	t.Helper()
	if s.etcd == "" {
		return // a real ZooKeeper has no such face
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.etcd}, DialTimeout: patience})
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
