package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
	"github.com/triglot/triglot/storage/raftlog"
)

// The cases of `design.md` 6, opening a member. Each takes a copy of the disk as
// a crash at that moment would leave it, and starts a member on the copy.

// crashed is cfg on what a power failure now would leave of its disk.
func crashed(cfg Config, unsyncedPercent int, seed uint64) Config {
	cfg.FS = storage.CrashClone(cfg.FS.(*storage.MemFS), unsyncedPercent, seed)
	return cfg
}

func putMany(t testing.TB, n *Node, from, to int) {
	for i := from; i < to; i++ {
		put(t, n, fmt.Sprintf("k%04d", i), fmt.Sprint(i))
	}
}

func checkMany(t testing.TB, n *Node, to int) {
	for i := range to {
		require.Equal(t, fmt.Sprint(i), get(t, n, fmt.Sprintf("k%04d", i)))
	}
}

// TestOpenLogAheadOfState: the state lags behind the log, which is how every
// crash leaves a member: the log is replayed.
func TestOpenLogAheadOfState(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 50)
	require.NoError(t, n.disk.engine().db.Flush())
	putMany(t, n, 50, 100)
	rev := put(t, n, "last", "x")
	left := crashed(cfg, 0, 1)
	stopNode(t, n)

	n = startNode(t, left)
	checkMany(t, n, 100)
	require.Equal(t, rev+1, put(t, n, "next", "y"), "no revision is used twice and none is skipped")
	stopNode(t, n)
}

// TestOpenAcknowledgedBeyondStoredCommit: entries are acknowledged once the log
// has them; that they are committed is written with a later batch, which a crash
// may forestall.
func TestOpenAcknowledgedBeyondStoredCommit(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	put(t, n, "a", "1")
	left := crashed(cfg, 0, 1)
	stopNode(t, n)

	n = startNode(t, left)
	require.Equal(t, "1", get(t, n, "a"))
	stopNode(t, n)
}

// TestOpenStateBeyondStoredCommit: the state became durable beyond the commit
// index that the log knows of. raft would panic.
func TestOpenStateBeyondStoredCommit(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 10)
	require.NoError(t, n.disk.engine().db.Flush())
	left := crashed(cfg, 0, 1)
	stored := n.disk.log.HardState().GetCommit()
	stopNode(t, n)

	n = startNode(t, left)
	_, _, committed, applied := n.driver.Status()
	require.GreaterOrEqual(t, committed, applied)
	require.GreaterOrEqual(t, committed, stored)
	checkMany(t, n, 10)
	put(t, n, "next", "y")
	stopNode(t, n)
}

// shortenLog takes the log back to where it began.
func shortenLog(t *testing.T, cfg Config) {
	log, err := raftlog.Open("data/log", raftlog.Options{FS: cfg.FS})
	require.NoError(t, err)
	require.NoError(t, log.Reset(state.FirstIndex, state.FirstTerm))
	require.NoError(t, log.Close())
}

// TestOpenStateBeyondLog: the log ends before the state: it goes on behind the
// state, and nothing that the state holds is lost.
func TestOpenStateBeyondLog(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 10)
	term := n.Status().Term
	stopNode(t, n)
	shortenLog(t, cfg)

	n = startNode(t, cfg)
	checkMany(t, n, 10)
	require.GreaterOrEqual(t, n.Status().Term, term)
	rev := put(t, n, "next", "y")
	left := crashed(cfg, 0, 1)
	stopNode(t, n)

	n = startNode(t, left)
	require.Equal(t, "y", get(t, n, "next"))
	require.Equal(t, rev+1, put(t, n, "more", "z"))
	stopNode(t, n)
}

// TestOpenTornTail: a crash in the middle of an append leaves any part of it.
func TestOpenTornTail(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 20)
	var wait sync.WaitGroup
	for i := range 20 { // some of them are under way in each copy
		wait.Go(func() { put(t, n, "storm", fmt.Sprint(i)) })
	}
	var copies []Config
	for seed := range uint64(20) {
		copies = append(copies, crashed(cfg, int(seed*5), seed))
	}
	wait.Wait()
	stopNode(t, n)
	for _, left := range copies {
		n := startNode(t, left)
		checkMany(t, n, 20)
		put(t, n, "next", "y")
		stopNode(t, n)
	}
}

// TestOpenCheckpointOfUnflushedState: a checkpoint holds all that was applied
// when it was taken, though none of it had been flushed, and says how far it goes.
func TestOpenCheckpointOfUnflushedState(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	putMany(t, n, 0, 10)
	applied := n.Status().Applied
	index, err := checkpoint.Create(n.disk.engine().db, "data/copy", state.IndexIn)
	require.NoError(t, err)
	require.GreaterOrEqual(t, index, applied)
	putMany(t, n, 10, 20)
	stopNode(t, n)

	// The copy is a state like any other: a member that starts from it has what
	// it holds, and a log that begins behind it.
	require.NoError(t, cfg.FS.RemoveAll("data/state"))
	require.NoError(t, cfg.FS.Rename("data/copy", "data/state"))
	shortenLog(t, cfg)
	_, err = Start(cfg)
	require.ErrorContains(t, err, "what was acknowledged between them is missing", "the log has not forgotten what it committed")
	require.NoError(t, cfg.FS.RemoveAll("data/log"))
	shortenLog(t, cfg)
	n = startNode(t, cfg)
	checkMany(t, n, 10)
	require.Equal(t, "<none>", get(t, n, "k0010"))
	stopNode(t, n)
}

// TestOpenUnfinishedFounding: a crash at any moment of the first start leaves a
// directory in which the next one founds a member.
func TestOpenUnfinishedFounding(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		cfg := testConfig(t)
		var copies []Config
		fs := cfg.FS.(*storage.MemFS)
		cfg.FS = storage.WithFaults(fs, func(f storage.Fault) error {
			if f.Sync {
				copies = append(copies, crashed(Config{FS: fs}, percent, uint64(len(copies))))
			}
			return nil
		})
		cfg.Memory.Ring = 1 << 16
		d, err := openDisk(ptr(cfg.withDefaults()), newMetrics(nil), func(err error) { require.NoError(t, err) })
		require.NoError(t, err)
		require.NoError(t, d.close())
		require.Greater(t, len(copies), 5)
		for _, c := range copies {
			left := testConfig(t)
			left.FS = c.FS
			n := startNode(t, left)
			require.Equal(t, core.Rev(2), put(t, n, "a", "1"))
			stopNode(t, n)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestOpenRefuses lists what a member refuses to start on, with words that say
// what to do, and changes nothing.
func TestOpenRefuses(t *testing.T) {
	write := func(t *testing.T, cfg Config, name, content string) {
		f, err := cfg.FS.Create(cfg.FS.PathJoin("data", name), markerCategory)
		require.NoError(t, err)
		_, err = f.Write([]byte(content))
		require.NoError(t, errors.Join(err, f.Close()))
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, cfg *Config)
		want  string
	}{
		{"another cluster", func(_ *testing.T, cfg *Config) { cfg.Cluster.Token = "other" }, "belongs to member"},
		{"the mark is gone", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.Remove("data/member.json")) }, "but no member.json"},
		{"another cluster's state", func(t *testing.T, cfg *Config) {
			other := *cfg
			other.DataDir, other.Cluster.Token = "other", "other"
			stopNode(t, startNode(t, other))
			require.NoError(t, cfg.FS.RemoveAll("data/state"))
			require.NoError(t, cfg.FS.Rename("other/state", "data/state"))
		}, "the state in data/state is of cluster"},
		{"the log is gone", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.RemoveAll("data/log")) }, "the raft log in data/log is empty"},
		{"a newer format", func(t *testing.T, cfg *Config) {
			write(t, *cfg, markerName, `{"product":"triglot","format":99,"cluster":"1","member":"1"}`)
		}, "has format 99, this version reads format 1"},
		{"a damaged mark", func(t *testing.T, cfg *Config) { write(t, *cfg, markerName, "{") }, "not the mark of a Triglot member"},
		{"etcd's directory", func(t *testing.T, cfg *Config) { write(t, *cfg, "member", "") }, "is Triglot's, and etcd has been started on it: remove data/member"},
		{"ZooKeeper's directory", func(t *testing.T, cfg *Config) { write(t, *cfg, "myid", "1") }, "is ZooKeeper's"},
		{"somebody's file", func(t *testing.T, cfg *Config) { write(t, *cfg, "thesis.txt", "") }, `holds "thesis.txt", which is not Triglot's`},
		{"a member's directory within", func(t *testing.T, cfg *Config) {
			write(t, *cfg, "myid", "1")
			require.NoError(t, cfg.FS.MkdirAll("data/triglot", 0o700))
			write(t, *cfg, "triglot/"+markerName, "{}")
		}, "holds the one of a member: give --data-dir data/triglot"},
		{"the state is gone", func(t *testing.T, cfg *Config) { require.NoError(t, cfg.FS.RemoveAll("data/state")) }, "the state is empty"},
		{"two members", func(_ *testing.T, cfg *Config) {
			cfg.Cluster.Peers = []Peer{{Name: "default", URLs: []string{"http://localhost:2380"}}, {Name: "b", URLs: []string{"http://h:1"}}}
		}, "belongs to member"},
		{"a name that is not in the cluster", func(_ *testing.T, cfg *Config) {
			cfg.Name = "x"
			cfg.Cluster.Peers = []Peer{{Name: "y", URLs: []string{"http://h:1"}}}
		}, "does not mention"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t)
			n := startNode(t, cfg)
			put(t, n, "a", "1")
			stopNode(t, n)
			sound := crashed(cfg, 100, 1)
			c.spoil(t, &cfg)
			for range 2 { // a refusal leaves nothing behind that makes the next one differ
				_, err := Start(cfg)
				require.ErrorContains(t, err, c.want)
			}

			n = startNode(t, sound) // the error is of the spoiling
			require.Equal(t, "1", get(t, n, "a"))
			stopNode(t, n)
		})
	}
}

// TestFirstStartRefuses lists what a member is not founded from, however often it
// is asked to.
func TestFirstStartRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(cfg *Config)
		want  string
	}{
		{"several members", func(cfg *Config) {
			cfg.Cluster.Peers = []Peer{{Name: "default", URLs: []string{"http://localhost:2380"}}, {Name: "b", URLs: []string{"http://h:1"}}}
		}, "this member listens to no peers"},
		{"a cluster to join", func(cfg *Config) { cfg.Cluster.Existing = true }, "this member listens to no peers"},
		{"a name that is not in the cluster", func(cfg *Config) { cfg.Cluster.Peers = []Peer{{Name: "y", URLs: []string{"http://h:1"}}} }, "does not mention"},
	} {
		for _, trust := range []bool{false, true} {
			cfg := testConfig(t)
			cfg.Cluster.TrustDataDir = trust
			c.spoil(&cfg)
			require.NoError(t, cfg.FS.MkdirAll("data/lost+found", 0o700)) // a file system of its own
			for range 2 {
				_, err := Start(cfg)
				require.ErrorContains(t, err, c.want, c.name)
			}
			names, err := cfg.FS.List("data")
			require.NoError(t, err)
			require.Equal(t, []string{"lost+found"}, names)
		}
	}
	cfg := testConfig(t)
	require.NoError(t, cfg.FS.MkdirAll("data/lost+found", 0o700))
	stopNode(t, startNode(t, cfg))
}

// TestStrangersLogAndState: a directory whose files have our names is not ours.
func TestStrangersLogAndState(t *testing.T) {
	cfg := testConfig(t)
	require.NoError(t, cfg.FS.MkdirAll("data/log", 0o700))
	_, err := Start(cfg)
	require.ErrorContains(t, err, "but no member.json")
	_, err = cfg.FS.Stat("data/log")
	require.NoError(t, err)
}

// TestOpenLocksTheDirectory: two members never share one.
func TestOpenLocksTheDirectory(t *testing.T) {
	cfg := testConfig(t)
	cfg.FS, cfg.DataDir = nil, t.TempDir()
	n := startNode(t, cfg)
	_, err := Start(cfg)
	require.ErrorContains(t, err, "in use by another process")
	stopNode(t, n)
}

// TestTrustDataDir: etcd takes the directory's word over the flags'.
func TestTrustDataDir(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	was := n.Status().ClusterID
	stopNode(t, n)
	cfg.Cluster.Token, cfg.Cluster.TrustDataDir = "other", true
	cfg.Cluster.AdvertisePeerURLs = []string{"http://elsewhere:2380"}
	cfg.Cluster.Peers = []Peer{{Name: "somebody", URLs: []string{"http://h:1"}}}
	n = startNode(t, cfg)
	require.Equal(t, was, n.Status().ClusterID)
	put(t, n, "a", "1")
	stopNode(t, n)
}

// TestNoReplyBeforeItsSync is the durability of acknowledged writes: whenever the
// power fails, what had been acknowledged by then is there. Unlike a kill -9 it
// fails if the log is not synced before the reply.
func TestNoReplyBeforeItsSync(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	const writers, copies = 8, 15
	var mu sync.Mutex
	acknowledged := map[string]string{}
	ctx, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key, value := fmt.Sprintf("w%d/%d", w, i%10), fmt.Sprint(i)
				put(t, n, key, value)
				mu.Lock()
				acknowledged[key] = value
				mu.Unlock()
			}
		})
	}
	type failure struct {
		disk Config
		acks map[string]string
	}
	var failures []failure
	for seed := range uint64(copies) {
		before := n.Status().Rev
		require.Eventually(t, func() bool { return n.Status().Rev > before+20 }, pollLimit, pollEvery)
		mu.Lock()
		acks := make(map[string]string, len(acknowledged))
		for k, v := range acknowledged {
			acks[k] = v
		}
		mu.Unlock()
		failures = append(failures, failure{crashed(cfg, 0, seed), acks})
	}
	stop()
	wait.Wait()
	stopNode(t, n)
	for _, f := range failures {
		n := startNode(t, f.disk)
		for key, value := range f.acks {
			var have, want int
			_, err := fmt.Sscan(get(t, n, key), &have)
			require.NoError(t, err, "%s is gone", key)
			_, err = fmt.Sscan(value, &want)
			require.NoError(t, err)
			require.GreaterOrEqual(t, have, want, key)
		}
		stopNode(t, n)
	}
}

// TestFailedSyncStopsTheMember: after a failed fsync nothing more is
// acknowledged, and the member says why it must end.
func TestFailedSyncStopsTheMember(t *testing.T) {
	var failing sync.Map
	cfg := testConfig(t)
	cfg.FS = storage.WithFaults(cfg.FS, func(f storage.Fault) error {
		if _, on := failing.Load("on"); on && f.Sync {
			return errors.New("the disk is broken")
		}
		return nil
	})
	n := startNode(t, cfg)
	put(t, n, "a", "1")
	failing.Store("on", true)
	_, err := n.Do(testContext(t), core.Principal{}, &core.Put{Key: []byte("b")})
	require.Error(t, err)
	require.ErrorContains(t, <-n.Failed(), "the disk is broken")
	failing.Delete("on")
	require.ErrorContains(t, n.Stop(context.Background()), "the disk is broken")
}
