//go:build linux

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/ensemble"
	"github.com/triglot/triglot/compat-tests/server"
)

// TestObservers has three voters, an observer and a learner that is none (design 9): what
// each serves, what clients are told of them, that neither slows a write when it is
// stopped or dead, and that an observer gets a vote. A real etcd has learners alone.
func TestObservers(t *testing.T) {
	_, c := begin(t, ensemble.Options{Tick: tick, Args: []string{"--max-learners=2"}})
	if !c.Kind.Etcd() {
		t.Skip("ZooKeeper's observers are not added")
	}
	ctx := contextOf(t, 3*time.Minute)
	client := etcdClient(t, c.EtcdEndpoints()...)
	_, voters := others(c, nil)
	_, err := client.Put(ctx, mount+"/before", "b")
	require.NoError(t, err)
	if c.Kind == ensemble.Etcd {
		learnerRefuses(t, ctx, joinLearner(t, ctx, c, client))
		return
	}
	observer := joinLearner(t, ctx, c, client, "--observer")
	require.NoError(t, c.AwaitAll(ctx))
	learner := joinLearner(t, ctx, c, client)

	_, err = client.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	require.ErrorIs(t, err, rpctypes.ErrTooManyLearners, "--max-learners is 2")
	requireClientURLs(t, ctx, client, observer, learner)
	observerServesEtcd(t, ctx, client, observer)
	observerServesZooKeeper(t, ctx, observer.ZKEndpoint(), voters)
	learnerRefuses(t, ctx, learner)
	observerSlowsNobody(t, ctx, c, observer)
	requireSameHash(t, ctx, client, append(slices.Clone(c.Members[:3]), observer)...)
	observerGetsVote(t, ctx, c, observer)
}

// joinLearner adds a learner as soon as the cluster takes one: its members have to know
// each other for five seconds first.
func joinLearner(t *testing.T, ctx context.Context, c *ensemble.Cluster, client *clientv3.Client, args ...string) *ensemble.Member {
	t.Helper()
	m, err := c.Join(func(_, url string) error {
		eventually(t, ctx, func(ctx context.Context) error {
			_, err := client.MemberAddAsLearner(ctx, []string{url})
			return err
		})
		return nil
	}, args...)
	require.NoError(t, err)
	return m
}

// memberOf is what the list of members says of one.
func memberOf(t *testing.T, ctx context.Context, client *clientv3.Client, m *ensemble.Member) *etcdserverpb.Member {
	t.Helper()
	resp, err := client.MemberList(ctx)
	require.NoError(t, err)
	i := slices.IndexFunc(resp.Members, func(o *etcdserverpb.Member) bool { return o.Name == m.Name })
	if i < 0 {
		return &etcdserverpb.Member{}
	}
	return resp.Members[i]
}

// requireClientURLs: clients are sent to voters and to observers, not to other learners.
func requireClientURLs(t *testing.T, ctx context.Context, client *clientv3.Client, observer, learner *ensemble.Member) {
	t.Helper()
	require.Eventually(t, func() bool { return memberOf(t, ctx, client, learner).Name != "" }, 20*time.Second, pollInterval, "it has told its name")
	resp, err := client.MemberList(ctx)
	require.NoError(t, err)
	require.Len(t, resp.Members, 5)
	for _, m := range resp.Members {
		require.Equal(t, m.Name == observer.Name || m.Name == learner.Name, m.IsLearner, m.Name)
		require.Equal(t, m.Name == learner.Name, len(m.ClientURLs) == 0, "%v", m)
	}
}

// observerServesEtcd: reads, writes and watches.
func observerServesEtcd(t *testing.T, ctx context.Context, client *clientv3.Client, observer *ensemble.Member) {
	t.Helper()
	at := etcdClient(t, observer.EtcdEndpoint())
	resp, err := at.Get(ctx, mount+"/before", clientv3.WithSerializable())
	require.NoError(t, err)
	require.Equal(t, "b", string(resp.Kvs[0].Value))
	rec := NewRecorder()
	w := &watcher{name: "of the observer", rec: rec, client: at, from: resp.Header.Revision + 1}
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.run(watching) }()
	const n = 200
	rev := fillNumbered(t, ctx, client, 0, n)
	put, err := at.Put(ctx, mount+"/w", fmt.Sprint(n))
	require.NoError(t, err, "a write is forwarded")
	require.Greater(t, put.Header.Revision, rev)
	require.True(t, w.complete(ctx, put.Header.Revision))
	stop()
	<-done
	requireNumbered(t, w.events, n+1)
	require.Empty(t, rec.Findings())
	resp, err = at.Get(ctx, mount+"/w")
	require.NoError(t, err, "and a read can be linearizable")
	require.Equal(t, fmt.Sprint(n), string(resp.Kvs[0].Value))
}

// observerServesZooKeeper: sessions, ephemerals, watches.
func observerServesZooKeeper(t *testing.T, ctx context.Context, observer string, voters []string) {
	t.Helper()
	at, _, err := zkConnect(ctx, liveTimeout, observer)
	require.NoError(t, err)
	defer at.Close()
	elsewhere, _, err := zkConnect(ctx, liveTimeout, voters...)
	require.NoError(t, err)
	defer elsewhere.Close()
	_, err = at.Create("/of-observer", []byte("0"), zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	_, err = elsewhere.Sync("/")
	require.NoError(t, err)
	_, stat, err := elsewhere.Exists("/of-observer")
	require.NoError(t, err)
	require.Equal(t, at.SessionID(), stat.EphemeralOwner)
	_, _, changed, err := at.GetW("/of-observer")
	require.NoError(t, err)
	_, err = elsewhere.Set("/of-observer", []byte("1"), 0)
	require.NoError(t, err)
	require.Equal(t, zk.EventNodeDataChanged, eventOf(t, ctx, changed).Type)
	data, _, err := at.Get("/of-observer")
	require.NoError(t, err)
	require.Equal(t, "1", string(data))
	_, _, gone, err := elsewhere.ExistsW("/of-observer")
	require.NoError(t, err)
	at.Close() // its session ends with it
	require.Equal(t, zk.EventNodeDeleted, eventOf(t, ctx, gone).Type)
}

func eventOf(t *testing.T, ctx context.Context, events <-chan zk.Event) zk.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-ctx.Done():
		require.Fail(t, "no event")
		return zk.Event{}
	}
}

// learnerRefuses: a learner that is no observer serves what etcd's serves (etcd T-91), and
// no session.
func learnerRefuses(t *testing.T, ctx context.Context, learner *ensemble.Member) {
	t.Helper()
	at := etcdClient(t, learner.EtcdEndpoint())
	eventually(t, ctx, func(ctx context.Context) error {
		resp, err := at.Get(ctx, mount+"/before", clientv3.WithSerializable())
		if err == nil && len(resp.Kvs) == 0 {
			err = fmt.Errorf("it has not caught up")
		}
		return err
	})
	status, err := at.Status(ctx, learner.EtcdEndpoint())
	require.NoError(t, err)
	require.True(t, status.IsLearner)
	refused := rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner)
	_, err = at.Get(ctx, mount+"/before")
	require.ErrorIs(t, err, refused)
	_, err = at.Put(ctx, mount+"/before", "x")
	require.ErrorIs(t, err, refused)
	_, err = at.Grant(ctx, 10)
	require.ErrorIs(t, err, refused)
	resp := <-at.Watch(ctx, mount+"/before")
	require.ErrorContains(t, resp.Err(), "rpc not supported for learner")
	session, err := dialRaw(ctx, learner.ZKEndpoint(), liveTimeout)
	if err == nil {
		session.close()
	}
	require.Error(t, err, "no session")
}

// observerSlowsNobody compares the writes' latency beside an observer that serves, one
// that is stopped and one that is dead. Its client goes to a voter, with its ephemeral.
func observerSlowsNobody(t *testing.T, ctx context.Context, c *ensemble.Cluster, observer *ensemble.Member) {
	t.Helper()
	leader := c.Leader(ctx)
	require.NotNil(t, leader)
	client := etcdClient(t, leader.EtcdEndpoint())
	_, voters := others(c, observer)
	conn, _, err := zk.Connect(append([]string{observer.ZKEndpoint()}, voters[:3]...), liveTimeout, zk.WithLogger(mute{}))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Create("/moves", nil, zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	puts(t, ctx, client) // warm
	beside := puts(t, ctx, client)
	require.NoError(t, observer.Pause())
	paused := puts(t, ctx, client)
	require.NoError(t, observer.Resume())
	require.NoError(t, observer.Kill())
	dead := puts(t, ctx, client)
	require.NoError(t, observer.Restart(ctx))
	for name, took := range map[string][]time.Duration{"serves": beside, "is stopped": paused, "is dead": dead} {
		t.Logf("a put while the observer %s: median %s, p99 %s, longest %s", name, at99(took, 50), at99(took, 99), at99(took, 100))
		require.Less(t, at99(took, 50), 5*at99(beside, 50)+20*time.Millisecond, name)
		require.Less(t, at99(took, 100), time.Second, name) // an election timeout: nobody was waited for
	}
	var stat *zk.Stat
	require.Eventually(t, func() bool {
		_, stat, err = conn.Exists("/moves")
		return err == nil
	}, returnTimeout, pollInterval)
	require.Equal(t, conn.SessionID(), stat.EphemeralOwner, "it is the ephemeral of a client that lives")
}

// puts writes more than the buffers between two members hold, and returns how long each
// took, the fastest first.
func puts(t *testing.T, ctx context.Context, client *clientv3.Client) (took []time.Duration) {
	t.Helper()
	const n, size = 300, 32 << 10
	value := strings.Repeat("x", size)
	for i := range n {
		began := time.Now()
		_, err := client.Put(ctx, fmt.Sprintf("/latency/%d", i%10), value)
		require.NoError(t, err)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// at99 is a percentile of what is sorted.
func at99(sorted []time.Duration, percent int) time.Duration {
	return sorted[max(0, len(sorted)*percent/100-1)].Round(10 * time.Microsecond)
}

// observerGetsVote promotes it, which its vote shows then: with one of the four
// dead and it paused there is no majority.
func observerGetsVote(t *testing.T, ctx context.Context, c *ensemble.Cluster, observer *ensemble.Member) {
	t.Helper()
	client := etcdClient(t, c.EtcdEndpoints()[:4]...)
	id := memberOf(t, ctx, client, observer).ID
	eventually(t, ctx, func(ctx context.Context) error { _, err := client.MemberPromote(ctx, id); return err })
	require.False(t, memberOf(t, ctx, client, observer).IsLearner)
	leader := c.Leader(ctx)
	require.NotNil(t, leader)
	dead := c.Members[(leader.Index+1)%3]
	require.NoError(t, dead.Kill())
	put := func(ctx context.Context) error { _, err := client.Put(ctx, "/voted", "x"); return err }
	eventually(t, ctx, put)
	paused := observer
	if leader == observer {
		paused = c.Members[(dead.Index+1)%3]
	}
	require.NoError(t, paused.Pause())
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	err := put(call)
	cancel()
	require.NoError(t, paused.Resume())
	require.Error(t, err, "two of four are no majority")
	eventually(t, ctx, put)
	require.NoError(t, dead.Restart(ctx))
}

// TestObserverOfAZooCfg: server.N=...:observer makes one that serves ZooKeeper's clients.
func TestObserverOfAZooCfg(t *testing.T) {
	t.Parallel()
	if kind, err := ensemble.KindFromEnv(); err != nil || kind != ensemble.Triglot {
		t.Skip("of Triglot alone")
	}
	binary, err := server.Binary("triglot")
	require.NoError(t, err)
	const n = 4
	var lines strings.Builder
	var endpoints []string
	for i := range n {
		peer, err := server.FreePort()
		require.NoError(t, err)
		port, err := server.FreePort()
		require.NoError(t, err)
		role := ""
		if i == n-1 {
			role = ":observer"
		}
		fmt.Fprintf(&lines, "server.%d=127.0.0.1:%d:1%s;127.0.0.1:%d\n", i+1, peer, role, port)
		endpoints = append(endpoints, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range n {
		dir := t.TempDir()
		data := filepath.Join(dir, "data")
		require.NoError(t, os.Mkdir(data, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(data, "myid"), fmt.Appendf(nil, "%d\n", i+1), 0o600))
		text := "tickTime=500\ninitLimit=10\nsyncLimit=5\ndataDir=" + data + "\n" + lines.String()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "zoo.cfg"), []byte(text), 0o600))
		cmd := exec.Command(binary, "zookeeper", "zoo.cfg")
		cmd.Dir = dir
		var log strings.Builder
		cmd.Stdout, cmd.Stderr = &log, &log
		run, err := server.NewRun(cmd)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, run.Kill())
			if t.Failed() {
				t.Logf("log of server %d:\n%s", i+1, log.String())
			}
		})
	}
	observerServesZooKeeper(t, contextOf(t, time.Minute), endpoints[n-1], endpoints[:n-1])
}
