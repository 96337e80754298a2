package node

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is a member on a file system in memory that can be crashed.
func testConfig(t testing.TB) Config {
	return Config{
		DataDir:             "data",
		AdvertiseClientURLs: []string{"http://localhost:2379"},
		Memory:              Memory{RowCache: 1 << 20, Ring: 1 << 20, BlockCache: 1 << 20, MemTable: 1 << 20},
		WAL:                 WAL{SegmentBytes: 256 << 10}, // files in memory are copied a lot
		FS:                  storage.NewCrashableMemFS(),
		Logger:              slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func startNode(t testing.TB, cfg Config) *Node {
	n, err := Start(cfg)
	require.NoError(t, err)
	return n
}

func stopNode(t testing.TB, n *Node) {
	require.NoError(t, n.Stop(context.Background()))
	select {
	case err := <-n.Failed():
		require.NoError(t, err)
	default:
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func put(t testing.TB, n *Node, key, value string) core.Rev {
	res, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte(key), Value: []byte(value)})
	require.NoError(t, err)
	return res.Rev
}

// get returns the value of a key, read linearizably, or "<none>".
func get(t testing.TB, n *Node, key string) string {
	v, err := n.View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
	require.NoError(t, err)
	defer v.Close()
	res, err := v.Range(context.Background(), &core.Range{Interval: core.Interval{Key: []byte(key)}})
	require.NoError(t, err)
	if len(res.KVs) == 0 {
		return "<none>"
	}
	return string(res.KVs[0].Value)
}

func TestPutSurvivesACleanRestart(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	require.Equal(t, core.Rev(2), put(t, n, "config/db", "localhost:3306"))
	require.Equal(t, "localhost:3306", get(t, n, "config/db"))
	id := n.Status()
	stopNode(t, n)

	n = startNode(t, cfg)
	require.Equal(t, "localhost:3306", get(t, n, "config/db"))
	require.Equal(t, core.Rev(3), put(t, n, "config/db", "x"))
	require.Equal(t, id.ClusterID, n.Status().ClusterID)
	stopNode(t, n)
}

func TestMemberIntroducesItself(t *testing.T) {
	n := startNode(t, testConfig(t))
	require.NoError(t, n.Ready(testContext(t)))
	members, err := n.Members(testContext(t), false)
	require.NoError(t, err)
	require.Equal(t, []core.Member{{
		ID: 0x8e9e05c52164694d, Name: "default",
		PeerURLs: []string{"http://localhost:2380"}, ClientURLs: []string{"http://localhost:2379"},
	}}, members)
	stopNode(t, n)
}

func TestWatchSeesAPut(t *testing.T) {
	n := startNode(t, testConfig(t))
	f, err := n.Watch(testContext(t))
	require.NoError(t, err)
	f.Add(1, core.WatchSpec{Interval: core.Interval{Key: []byte("a")}})
	d, err := f.Next(testContext(t))
	require.NoError(t, err)
	require.Equal(t, core.DeliverCreated, d.Kind)
	rev := put(t, n, "a", "1")
	d, err = f.Next(testContext(t))
	require.NoError(t, err)
	require.Equal(t, rev, d.Rev)
	require.Equal(t, "1", string(d.Changes[0].KV.Value))
	f.Close()
	stopNode(t, n)
}

func TestLeaseRunsOut(t *testing.T) {
	n := startNode(t, testConfig(t))
	res, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{TTL: 300 * time.Millisecond})
	require.NoError(t, err)
	id := res.Outcome.(core.LeaseOutcome).ID
	require.Positive(t, id)
	_, err = n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("services/service1"), Value: []byte("x"), Lease: id})
	require.NoError(t, err)

	// A keepalive gives it its full time again.
	ttl, err := n.Leases().KeepAlive(testContext(t), core.Principal{}, id)
	require.NoError(t, err)
	require.Equal(t, 300*time.Millisecond, ttl)
	s, err := n.Leases().Status(testContext(t), core.Principal{}, id, true)
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("services/service1")}, s.Keys)
	ids, err := n.Leases().List(testContext(t), core.Principal{})
	require.NoError(t, err)
	require.Equal(t, []core.LeaseID{id}, ids)

	require.Eventually(t, func() bool { return get(t, n, "services/service1") == "<none>" }, 10*time.Second, 10*time.Millisecond)
	_, err = n.Leases().KeepAlive(testContext(t), core.Principal{}, id)
	require.ErrorIs(t, err, core.LeaseNotFound)
	stopNode(t, n)
}

// TestLeasesBeforeDeadlinesRun: the leader's deadlines begin a moment after its
// state can be read; no lease may seem to be gone in between. Found by the crash
// rig, as an empty list just after a restart.
func TestLeasesBeforeDeadlinesRun(t *testing.T) {
	n := startNode(t, testConfig(t))
	for id, ttl := range map[core.LeaseID]time.Duration{1: time.Hour, 2: time.Minute} {
		_, err := n.Do(testContext(t), core.Principal{}, &core.LeaseGrant{ID: id, TTL: ttl})
		require.NoError(t, err)
	}
	n.leases.mu.Lock()
	n.leases.deadlines.Follow()
	n.leases.mu.Unlock()
	ids, err := n.Leases().List(testContext(t), core.Principal{})
	require.NoError(t, err)
	require.Equal(t, []core.LeaseID{2, 1}, ids)
	s, err := n.Leases().Status(testContext(t), core.Principal{}, 1, false)
	require.NoError(t, err)
	require.Equal(t, time.Hour, s.Remaining)
	stopNode(t, n)
}

func TestLimits(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.RequestBytes = 1000
	cfg.Limits.QuotaBytes = emptySize + 10_000
	n := startNode(t, cfg)
	_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k"), Value: make([]byte, 1000)})
	require.ErrorIs(t, err, core.RequestTooLarge)

	var full error
	for i := 0; full == nil && i < 100; i++ {
		_, full = n.Do(testContext(t), core.Principal{}, &core.Put{Key: fmt.Append(nil, i), Value: make([]byte, 500)})
	}
	require.ErrorIs(t, full, core.NoSpace)
	require.Equal(t, []core.Alarm{{Member: n.Status().Member, Type: core.AlarmNoSpace}}, n.Status().Alarms)

	// Deletes and compactions still go, and make room; the alarm stays until it is
	// cleared by name.
	res, err := n.Do(testContext(t), core.Principal{}, &core.DeleteRange{Interval: core.Interval{Key: []byte{0}, End: core.FromKey}})
	require.NoError(t, err)
	_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: res.Rev})
	require.NoError(t, err)
	require.NoError(t, n.WaitCompacted(testContext(t), res.Rev))
	require.Less(t, n.Status().Size, int64(emptySize+5000))
	_, err = n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k")})
	require.ErrorIs(t, err, core.NoSpace)
	_, err = n.Do(testContext(t), core.Principal{}, &core.SetAlarm{Alarm: n.Status().Alarms[0]})
	require.NoError(t, err)
	put(t, n, "k", "v")
	stopNode(t, n)
}

// The quota of a member counts whoever has a put done, and raises the alarm in its name.
// When that is cleared by hand it is raised by what grows, not by what is there.
func TestQuotaOfOneMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const small = 1
		c := newTestCluster(t, 3, func(member int, cfg *Config) {
			if member == small {
				cfg.Limits.QuotaBytes = emptySize + 10_000
			}
		})
		c.ready()
		write := func(key string, bytes int) error {
			_, err := c.nodes[0].Do(testContext(t), core.Principal{}, &core.Put{Key: []byte(key), Value: make([]byte, bytes)})
			return err
		}
		alarms := func() []core.Alarm { return c.nodes[0].Status().Alarms }
		require.NoError(t, write("a", 5000))
		pass(2 * lookInterval)
		require.Empty(t, alarms())
		require.NoError(t, write("b", 6000))
		pass(2 * lookInterval)
		want := []core.Alarm{{Member: c.id(small), Type: core.AlarmNoSpace}}
		require.Equal(t, want, alarms())
		require.ErrorIs(t, write("c", 0), core.NoSpace)

		_, err := c.nodes[0].Do(testContext(t), core.Principal{}, &core.SetAlarm{Alarm: want[0]})
		require.NoError(t, err)
		pass(3 * lookInterval)
		require.Empty(t, alarms())
		require.NoError(t, write("c", 0))
		pass(2 * lookInterval)
		require.Equal(t, want, alarms())
	})
}

func TestRequestLimitHasALimit(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.RequestBytes = MaxRequestLimit + 1
	_, err := Start(cfg)
	require.ErrorContains(t, err, "--max-request-bytes of 536870913 is too much")
}

func TestStoppedNodeRefuses(t *testing.T) {
	n := startNode(t, testConfig(t))
	stopNode(t, n)
	stopNode(t, n) // harmless
	_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("k")})
	require.ErrorIs(t, err, core.Stopped)
	_, err = n.View(testContext(t), core.Principal{}, core.Consistency{})
	require.ErrorIs(t, err, core.Stopped)
	_, err = n.Watch(testContext(t))
	require.ErrorIs(t, err, core.Stopped)
}

const (
	pollLimit = 20 * time.Second
	pollEvery = time.Millisecond
)
