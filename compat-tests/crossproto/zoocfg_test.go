package crossproto

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// zooKeeper is Triglot started from a zoo.cfg, with etcd's face.
type zooKeeper struct {
	*zkserver.Process
	etcd string
}

func (z zooKeeper) Endpoint() string   { return z.etcd }
func (z zooKeeper) URL() string        { return "http://" + z.etcd }
func (z zooKeeper) ZKEndpoint() string { return z.Process.Endpoint() }

// startZooKeeper has the leader look for what is to be reaped five times a second.
func startZooKeeper(t *testing.T) zooKeeper {
	t.Helper()
	port, err := server.FreePort()
	require.NoError(t, err)
	z := zooKeeper{etcd: fmt.Sprintf("127.0.0.1:%d", port)}
	z.Process = zkserver.StartT(t, zkserver.Options{
		Triglot: true, TickTime: time.Second,
		Config: []string{"extendedTypesEnabled=true", "triglot.listen-client-urls=" + z.URL()},
		JVM:    []string{"-Dznode.container.checkIntervalMs=200"},
	})
	return z
}

// TestX17 is what is seen of the reaper: containers and TTL znodes go one at a time,
// each in a revision of its own, as a DELETE to etcd and as an event to ZooKeeper.
func TestX17(t *testing.T) {
	t.Parallel()
	f := newFaces(t, startZooKeeper(t), 3*patience)
	w := f.watch("/")
	_, err := f.zk.CreateContainer("/box", []byte("c"), zk.FlagContainer, open)
	require.NoError(t, err)
	f.zk.create("/box/child", "", 0)
	f.zk.watchExists("/box")
	f.zk.watchChildren("/")
	require.NoError(t, f.zk.Delete("/box/child", -1))
	last := f.zk.line.lastReply()
	revs := f.revisions(w, last+1)
	require.Equal(t, revision{last + 1, []change{{kind: "DELETE", path: "/box"}}}, revs[len(revs)-1])
	require.Equal(t, []event{{deleted, "/box"}, {children, "/"}}, f.zk.told())
	require.Equal(t, last+1, f.zk.line.lastReply())
	require.Nil(t, f.kv("/box"))

	// A child that etcd made keeps it; its going lets it go.
	_, err = f.zk.CreateTTL("/short", []byte("t"), zk.FlagTTL, open, 2*time.Second)
	require.NoError(t, err)
	f.put("/short/child", "kept")
	_, err = f.zk.CreateTTL("/other", nil, zk.FlagTTL, open, 3*time.Second)
	require.NoError(t, err)
	f.zk.watchExists("/short")
	last = f.zk.line.lastReply()
	revs = f.revisions(w, last+1)
	require.Equal(t, revision{last + 1, []change{{kind: "DELETE", path: "/other"}}}, revs[len(revs)-1])
	require.NotNil(t, f.kv("/short"))
	require.Empty(t, f.zk.told())
	last, _ = f.del("/short/child")
	revs = f.revisions(w, last+1)
	require.Equal(t, []change{{kind: "DELETE", path: "/short"}}, revs[len(revs)-1].changes)
	require.Equal(t, []event{{deleted, "/short"}}, f.zk.told())
	require.Zero(t, f.count("/"))
}

// TestX15 makes everything that a key does not tell of - counters, times, ACLs, times
// to live, quotas, sessions - and walks both faces before and after a crash.
func TestX15(t *testing.T) {
	t.Parallel()
	p := startZooKeeper(t)
	f := newFaces(t, p, 3*patience)
	require.NoError(t, f.zk.AddAuth("digest", []byte("alice:wonder")))
	mine := zk.DigestACL(zk.PermAll, "alice", "wonder")
	create := func(path string, acl []zk.ACL, flags int32) {
		t.Helper()
		_, err := f.zk.Create(path, []byte(path), flags, acl)
		require.NoError(t, err, path)
	}
	create("/mine", append(mine, zk.WorldACL(zk.PermRead)...), 0)
	create("/mine/lock-", mine, zk.FlagEphemeral|zk.FlagSequence)
	create("/mine/gone", open, 0)
	require.NoError(t, f.zk.Delete("/mine/gone", 0))
	_, err := f.zk.SetACL("/mine", append(mine, zk.WorldACL(zk.PermRead|zk.PermCreate)...), 0)
	require.NoError(t, err)
	_, err = f.zk.CreateContainer("/box", nil, zk.FlagContainer, open)
	require.NoError(t, err)
	create("/box/x", open, 0)
	_, err = f.zk.CreateTTL("/ttl", nil, zk.FlagTTL, mine, 12*time.Second)
	require.NoError(t, err)
	create("/zookeeper/quota/box", open, 0)
	create("/zookeeper/quota/box/zookeeper_limits", open, 0)
	_, err = f.zk.Set("/zookeeper/quota/box/zookeeper_limits", []byte("count=9,bytes=-1"), 0)
	require.NoError(t, err)
	_, err = f.zk.Create("/zookeeper/quota/box/zookeeper_stats", []byte("count=0,bytes=0"), 0, open)
	require.NoError(t, err)
	f.put("/implicit/leaf", "1")
	f.zk.watchExists("/ttl")

	admin := adminOf(t, p)
	before, keys, session := f.walk("/"), f.all(admin), f.zk.SessionID()
	require.Equal(t, "count=2,bytes=6", before["/zookeeper/quota/box/zookeeper_stats"].data)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(f.ctx))
	require.Eventually(t, func() bool { return f.zk.State() == zk.StateHasSession }, patience, pollEvery)
	require.Equal(t, session, f.zk.SessionID())
	require.Equal(t, before, f.walk("/"))
	require.Equal(t, keys, f.all(adminOf(t, p)))

	// What they do, they do still.
	require.Equal(t, "/mine/lock-0000000002", f.zk.create("/mine/lock-", "", zk.FlagSequence))
	require.NoError(t, f.zk.Delete("/box/x", 0))
	require.Eventually(t, func() bool {
		box, _, err := f.zk.Exists("/box")
		require.NoError(t, err)
		ttl, _, err := f.zk.Exists("/ttl")
		require.NoError(t, err)
		return !box && !ttl
	}, patience, pollEvery)
	stranger := newZK(t, p)
	require.ErrorIs(t, stranger.Delete("/mine/lock-0000000000", -1), zk.ErrNoAuth)
	f.zk.Close()
	require.Eventually(t, func() bool {
		names, _, err := stranger.Children("/mine")
		require.NoError(t, err)
		return strings.Join(names, " ") == "lock-0000000002"
	}, patience, pollEvery)
}

// adminOf is the member itself, to whom nothing is closed.
func adminOf(t *testing.T, p zooKeeper) *clientv3.Client {
	t.Helper()
	return newAdminAt(t, filepath.Join(p.DataDir(), "triglot", "admin.sock"))
}

// all is every key with all that etcd tells of it.
func (f *faces) all(admin *clientv3.Client) (rows []string) {
	f.t.Helper()
	r, err := admin.Get(f.ctx, "\x00", clientv3.WithFromKey())
	require.NoError(f.t, err)
	for _, kv := range r.Kvs {
		rows = append(rows, (&mvccpb.KeyValue{
			Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Value: kv.Value, Lease: kv.Lease,
		}).String())
	}
	return rows
}

// TestZ2 is that zxids of writes that follow one another differ by one, whatever
// does not write comes in between: reads, pings, failed writes, syncs, leases of
// etcd's clients that begin, are kept alive and end, sessions that begin and end.
func TestZ2(t *testing.T) {
	t.Parallel()
	p := startZooKeeper(t)
	f := newFaces(t, p, 3*patience)
	f.zk.create("/z2", "", 0)
	first := f.zk.line.lastReply()
	lease, err := f.etcd.Grant(f.ctx, 60)
	require.NoError(t, err)
	between := []func(){
		func() { f.zk.list("/z2") },
		func() { require.ErrorIs(t, f.zk.Delete("/none", -1), zk.ErrNoNode) },
		func() {
			_, err := f.zk.Multi(&zk.CreateRequest{Path: "/z2/m", Acl: open}, &zk.CheckVersionRequest{Path: "/z2", Version: 9})
			require.ErrorIs(t, err, zk.ErrBadVersion)
		},
		func() {
			_, err := f.zk.Multi(&zk.CheckVersionRequest{Path: "/z2", Version: 0})
			require.NoError(t, err)
		},
		func() {
			_, err := f.zk.Sync("/z2")
			require.NoError(t, err)
		},
		func() {
			_, err := f.etcd.KeepAliveOnce(f.ctx, lease.ID)
			require.NoError(t, err)
		},
		func() {
			l, err := f.etcd.Grant(f.ctx, 60)
			require.NoError(t, err)
			_, err = f.etcd.Revoke(f.ctx, l.ID)
			require.NoError(t, err)
		},
		func() { dialZK(t, p).Close() },
		func() {
			r, err := f.etcd.Txn(f.ctx).If(clientv3.Compare(clientv3.Version(key("/none")), ">", 0)).Then(clientv3.OpPut(key("/z2/no"), "")).Commit()
			require.NoError(t, err)
			require.False(t, r.Succeeded)
		},
		f.zk.awaitPing,
	}
	for i, fn := range between {
		fn()
		_, stat := f.zk.get(f.zk.create(fmt.Sprintf("/z2/%d", i), "", 0))
		require.Equal(t, first+int64(i)+1, stat.Czxid, "%d", i)
		_, parent := f.zk.get("/z2")
		require.Equal(t, stat.Czxid, parent.Pzxid)
		require.Equal(t, stat.Czxid, f.zk.line.lastReply(), "Z3")
	}
}
