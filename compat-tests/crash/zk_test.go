package crash

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestKillZooKeeper kills the server under ZooKeeper clients. Each writes a tree of
// its own, so that after a restart every znode's data, version, owner and counter of
// children are known: as after all answers, or with the one request more that was
// under way. Sessions live on; those whose clients are gone, the ghosts, end with
// all of their ephemerals. X16: no multi is seen in part, on either face.
func TestKillZooKeeper(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	if target == server.Etcd {
		t.Skip("etcd has no ZooKeeper clients")
	}
	random := newRandom(t)
	p := server.StartT(t, server.Options{
		Dir: t.TempDir(), Args: append(quickTicks, "--snapshot-count", "1000", "--zk-tick", "1s"),
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*rounds+1)*lifeTimeout)
	defer cancel()
	workers := startWorkers(ctx, t, p, 6, random.Uint64())

	var ghosts []*ghost
	for round := range *rounds {
		g, err := newGhost(ctx, p.ZKEndpoint(), round)
		require.NoError(t, err)
		ghosts = append(ghosts, g)
		newest, broken := liveZooKeeper(ctx, t, p, workers, 200+random.Int64N(1500))
		requireKept(t, broken, round)
		g.conn.Close() // nobody hears it
		kills := 1 + killAtStart(t, random, p)
		require.NoError(t, p.Restart(ctx), "round %d", round)
		for _, w := range workers {
			require.NoError(t, w.audit(ctx, never), "round %d", round)
		}
		conn, err := dial(p.Endpoint())
		require.NoError(t, err)
		_, current, err := rowsOf(ctx, conn, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, current, newest, "someone has been told of a revision that is gone")
		ephemerals, sessions, err := haunting(ctx, conn)
		require.NoError(t, err)
		require.NoError(t, checkGhosts(ghosts, ephemerals), "round %d", round)
		for _, w := range workers {
			require.True(t, sessions[w.session], "%s: the lease of session %x is gone", w.name(), w.session)
		}
		require.NoError(t, conn.Close())
		t.Logf("round %d: %d kills, at revision %d, %d sessions", round, kills, current, len(sessions))
	}
	layToRest(ctx, t, p, workers, ghosts)
}

// startWorkers starts the workers' sessions.
func startWorkers(ctx context.Context, t *testing.T, p *server.Process, n int, seed uint64) []*zkWorker {
	t.Helper()
	conn, err := zkConnect(ctx, p.ZKEndpoint(), workerTimeout)
	require.NoError(t, err)
	for _, path := range []string{zkRoot, ghostRoot} {
		_, err := conn.Create(path, nil, 0, openACL)
		require.NoError(t, err)
	}
	conn.Close()
	var workers []*zkWorker
	for i := range n {
		w, err := newZKWorker(ctx, p.ZKEndpoint(), i, seed)
		require.NoError(t, err)
		t.Cleanup(w.conn.Close)
		workers = append(workers, w)
	}
	return workers
}

// liveZooKeeper loads the server until so many requests were answered, and kills it.
func liveZooKeeper(
	ctx context.Context, t *testing.T, p *server.Process, workers []*zkWorker, quota int64,
) (newest int64, broken []error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	life := newLife(quota)
	var clients sync.WaitGroup
	for _, w := range workers {
		clients.Go(func() { w.run(ctx, life) })
	}
	clients.Go(func() { readGroups(ctx, conn, workers, life) })
	life.await(ctx)
	life.doomed.Store(true)
	require.NoError(t, p.Kill())
	clients.Wait()
	require.NoError(t, conn.Close())
	return life.newest.Load(), life.broken
}

// readGroups looks, through etcd's face, for multis that are done in part.
func readGroups(ctx context.Context, conn *grpc.ClientConn, workers []*zkWorker, life *life) {
	kv := etcdserverpb.NewKVClient(conn)
	for i := 0; ; i++ {
		w := workers[i%len(workers)]
		resp, err := kv.Range(ctx, &etcdserverpb.RangeRequest{
			Key: []byte(mount + w.base() + "/g"), RangeEnd: []byte(mount + w.base() + "/h"), Serializable: i%2 == 0,
		})
		if err != nil {
			life.failed("reader of groups", err)
			return
		}
		life.learned(resp.Header.Revision)
		torn := len(resp.Kvs) != zkGroup
		for _, kv := range resp.Kvs {
			// Before the first multi each is at the revision of its own creation.
			torn = torn || kv.Version > 1 && kv.ModRevision != resp.Kvs[0].ModRevision ||
				string(kv.Value) != string(resp.Kvs[0].Value)
		}
		if torn {
			life.report("revision %d: a multi of %s is torn: %v", resp.Header.Revision, w.name(), resp.Kvs)
			return
		}
	}
}

// layToRest waits for the end of the ghosts, then ends the workers' sessions: their
// ephemerals go with them, what is persistent stays.
func layToRest(ctx context.Context, t *testing.T, p *server.Process, workers []*zkWorker, ghosts []*ghost) {
	t.Helper()
	conn, err := dial(p.Endpoint())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	end, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	require.NoError(t, exorcise(end, conn, ghosts))

	last, err := zkConnect(ctx, p.ZKEndpoint(), workerTimeout)
	require.NoError(t, err)
	defer last.Close()
	writes, losses := 0, 0
	for _, w := range workers {
		require.NoError(t, w.audit(ctx, never), "the sessions of others have ended, not this one")
		w.conn.Close()
		actual, err := readTree(last, w.base())
		require.NoError(t, err)
		for path, z := range w.sure {
			if z.owner != 0 {
				delete(w.sure, path)
			}
		}
		require.NoError(t, judge(w.sure, nil, actual), "%s closed its session", w.name())
		writes += w.written
		losses += w.losses
	}
	_, sessions, err := haunting(ctx, conn)
	require.NoError(t, err)
	require.Equal(t, map[int64]bool{last.SessionID(): true}, sessions)
	t.Logf("%d requests, %d connections lost", writes, losses)
	if losses > 0 {
		require.Contains(t, p.Log(), "slow fdatasync", "connections were lost for no reason")
	}
}

// The checker finds what a broken server would show.
func TestJudge(t *testing.T) {
	before := tree{"/b": {creates: 1}, "/b/a": {value: "1", version: 3, mzxid: 7}}
	set := change{kind: changeSet, path: "/b/a", value: "2"}
	next := change{kind: changeCreate, path: "/b/s-", value: "x", sequential: true, owner: 9}
	after := before.after(set, next)
	require.Equal(t, tree{
		"/b":              {creates: 2},
		"/b/a":            {value: "2", version: 4},
		"/b/s-0000000001": {value: "x", owner: 9},
	}, after)
	require.Equal(t, tree{"/b": {creates: 2}, "/b/s-0000000001": after["/b/s-0000000001"]},
		after.after(change{kind: changeDelete, path: "/b/a"}))

	with := func(path string, z znode) tree {
		t := before.after()
		t[path] = z
		return t
	}
	tests := []struct {
		name   string
		maybe  tree
		actual tree
		broken string
	}{
		{"as it was", nil, before, ""},
		{"as it was, though more was asked for", after, before, ""},
		{"with what was asked for", after, after.after(), ""},
		{"a write is lost", nil, tree{"/b": {creates: 1}}, "/b/a is missing"},
		{"a write is undone", nil, with("/b/a", znode{value: "0", version: 2, mzxid: 6}), "it must be"},
		{"a version goes back", nil, with("/b/a", znode{value: "1", version: 2, mzxid: 7}), "version 2"},
		{"a counter goes back", nil, with("/b", znode{}), "0 creates"},
		{"another zxid", nil, with("/b/a", znode{value: "1", version: 3, mzxid: 8}), "mzxid 8"},
		{"nobody asked for it", nil, after, "must not exist"},
		{"half a multi", after, before.after(set), "neither"},
		{"the other half", after, before.after(next), "neither"},
		{"an ephemeral without its session", after, func() tree {
			t := after.after()
			z := t["/b/s-0000000001"]
			z.owner = 0
			t["/b/s-0000000001"] = z
			return t
		}(), "neither"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := judge(before, tt.maybe, tt.actual)
			if tt.broken == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.broken)
			}
		})
	}
	require.NoError(t, checkGhosts([]*ghost{{id: 1}, {id: 2}}, map[int]int{1: ghostSize}))
	require.ErrorContains(t, checkGhosts([]*ghost{{id: 1}}, map[int]int{1: ghostSize - 1}), "3 of 4")
}
