package crossproto

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestAcceptance is the list of what a write of one face does to the others.
func TestAcceptance(t *testing.T) {
	for _, x := range []struct {
		name string
		test func(*faces)
	}{
		{"X1 a put creates a znode", x1},
		{"X2 a put changes it", x2},
		{"X3 both compare and swap the same version", x3},
		{"X4 etcd watches ZooKeeper's writes", x4},
		{"X5 closing a session deletes in one revision", x5},
		{"X6 revoking its lease expires a session", x6},
		{"X7 parents are implicit", x7},
		{"X8 a subtree goes deepest first", x8},
		{"X9 a parent without its key is demoted", x9},
		{"X10 sequence numbers count all siblings", x10},
		{"X12 an illegal path is no znode", x12},
		{"X13 a sync covers etcd's writes", x13},
		{"X14 compaction does not concern ZooKeeper", x14},
		{"X18 null is not empty", x18},
		{"a revision may change no key", emptyRevision},
		{"a large multi is one revision", largeMulti},
		{"a lock's ephemeral is protected", protected},
		{"a session's lease is a lease", sessionLease},
	} {
		t.Run(x.name, func(t *testing.T) { x.test(newFaces(t, shared, 3*patience)) })
	}
}

func x1(f *faces) {
	f.put("/x1", "")
	f.zk.watchExists("/x1/a")
	f.zk.watchChildren("/x1")
	before := time.Now().Add(-time.Second)
	rev := f.put("/x1/a", "hello")
	require.Equal(f.t, []event{{created, "/x1/a"}, {children, "/x1"}}, f.zk.told())
	require.Equal(f.t, []int64{rev, rev}, f.zk.line.eventZxids())

	data, stat := f.zk.get("/x1/a")
	require.Equal(f.t, "hello", data)
	kv := f.kv("/x1/a")
	require.Equal(f.t, rev, kv.CreateRevision)
	require.Equal(f.t, rev, stat.Czxid)
	require.Equal(f.t, rev, stat.Mzxid)
	require.Zero(f.t, stat.Version)
	require.EqualValues(f.t, 5, stat.DataLength)
	require.Equal(f.t, stat.Ctime, stat.Mtime)
	require.WithinRange(f.t, time.UnixMilli(stat.Ctime), before, time.Now().Add(time.Second))

	made := f.http.get("/x1/a")
	require.Equal(f.t, "hello", bytesOf(made["value"]))
	require.Equal(f.t, rev, number(made["create_revision"]))
	require.Equal(f.t, int64(1), number(made["version"]))
}

func x2(f *faces) {
	first := f.put("/x2", "1")
	f.zk.watchData("/x2")
	rev := f.http.put("/x2", "2")
	require.Equal(f.t, []event{{changed, "/x2"}}, f.zk.told())
	require.Equal(f.t, []int64{rev}, f.zk.line.eventZxids())
	data, stat := f.zk.get("/x2")
	require.Equal(f.t, "2", data)
	require.Equal(f.t, rev, f.kv("/x2").ModRevision)
	require.Equal(f.t, rev, stat.Mzxid)
	require.Equal(f.t, first, stat.Czxid)
	require.EqualValues(f.t, 1, stat.Version)
}

func x3(f *faces) {
	f.zk.create("/x3", "0", 0)
	old := f.kv("/x3")
	require.EqualValues(f.t, 1, old.Version)
	stat, err := f.zk.Set("/x3", []byte("1"), 0)
	require.NoError(f.t, err)
	swap := func(compare clientv3.Cmp, value string) bool {
		r, err := f.etcd.Txn(f.ctx).If(compare).Then(clientv3.OpPut(key("/x3"), value)).Commit()
		require.NoError(f.t, err)
		return r.Succeeded
	}
	k := key("/x3")
	require.False(f.t, swap(clientv3.Compare(clientv3.ModRevision(k), "=", old.ModRevision), "stale"))
	require.False(f.t, swap(clientv3.Compare(clientv3.Version(k), "=", old.Version), "stale"))
	require.True(f.t, swap(clientv3.Compare(clientv3.ModRevision(k), "=", stat.Mzxid), "2"))
	require.True(f.t, swap(clientv3.Compare(clientv3.Version(k), "=", int64(stat.Version)+2), "3"))

	_, err = f.zk.Set("/x3", []byte("stale"), stat.Version)
	require.ErrorIs(f.t, err, zk.ErrBadVersion)
	_, err = f.zk.Set("/x3", []byte("4"), stat.Version+2)
	require.NoError(f.t, err)
	require.ErrorIs(f.t, f.zk.Delete("/x3", 3), zk.ErrBadVersion)
	require.Equal(f.t, "4", string(f.kv("/x3").Value))
	require.NoError(f.t, f.zk.Delete("/x3", 4))
	require.Nil(f.t, f.kv("/x3"))
}

func x4(f *faces) {
	w := f.watch("/x4")
	f.zk.create("/x4", "p", 0)
	first := f.kv("/x4").CreateRevision
	f.zk.create("/x4/e", "eph", zk.FlagEphemeral)
	_, err := f.zk.Set("/x4", []byte("q"), -1)
	require.NoError(f.t, err)
	_, err = f.zk.Multi(
		&zk.CreateRequest{Path: "/x4/m", Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: "/x4/m", Data: []byte("2"), Version: 0},
		&zk.CreateRequest{Path: "/x4/gone", Data: []byte("3"), Acl: open},
		&zk.CreateRequest{Path: "/x4/n", Data: []byte("4"), Acl: open},
		&zk.DeleteRequest{Path: "/x4/gone", Version: -1},
		&zk.CheckVersionRequest{Path: "/x4", Version: 1},
	)
	require.NoError(f.t, err)
	_, err = f.zk.Multi(
		&zk.CreateRequest{Path: "/x4/undone", Acl: open},
		&zk.CheckVersionRequest{Path: "/x4", Version: 7},
	)
	require.ErrorIs(f.t, err, zk.ErrBadVersion)
	require.NoError(f.t, f.zk.Delete("/x4/m", 1))

	session := f.zk.SessionID()
	require.Equal(f.t, []revision{
		{first, []change{{"PUT", "/x4", "p", 0}}},
		{first + 1, []change{{"PUT", "/x4/e", "eph", session}}},
		{first + 2, []change{{"PUT", "/x4", "q", 0}}},
		{first + 3, []change{{"PUT", "/x4/m", "2", 0}, {"DELETE", "/x4/gone", "", 0}, {"PUT", "/x4/n", "4", 0}}},
		{first + 4, []change{{"DELETE", "/x4/m", "", 0}}},
	}, f.revisions(w, first+4))
	require.Equal(f.t, first+4, f.zk.line.lastReply())
}

func x5(f *faces) {
	f.zk.create("/x5", "", 0)
	other := dialZK(f.t, shared)
	session := clientv3.LeaseID(other.SessionID())
	var keys [][]byte
	for _, name := range []string{"/x5/a", "/x5/b", "/x5/c"} {
		other.create(name, name, zk.FlagEphemeral)
		f.zk.watchData(name)
		keys = append(keys, []byte(key(name)))
		_, stat := f.zk.get(name)
		require.EqualValues(f.t, session, stat.EphemeralOwner)
		require.EqualValues(f.t, session, f.kv(name).Lease)
	}
	ttl, err := f.etcd.TimeToLive(f.ctx, session, clientv3.WithAttachedKeys())
	require.NoError(f.t, err)
	require.EqualValues(f.t, 10, ttl.GrantedTTL)
	require.Equal(f.t, keys, ttl.Keys)

	w := f.watch("/x5/")
	before := f.kv("/x5/c").ModRevision
	other.Close()
	require.Equal(f.t, []revision{{before + 1, []change{
		{"DELETE", "/x5/a", "", 0}, {"DELETE", "/x5/b", "", 0}, {"DELETE", "/x5/c", "", 0},
	}}}, f.revisions(w, before+1))
	require.ElementsMatch(f.t, []event{{deleted, "/x5/a"}, {deleted, "/x5/b"}, {deleted, "/x5/c"}}, f.zk.told())
	ttl, err = f.etcd.TimeToLive(f.ctx, session)
	require.NoError(f.t, err)
	require.EqualValues(f.t, -1, ttl.TTL)
}

func x6(f *faces) {
	other := newZK(f.t, shared)
	session := other.SessionID()
	other.create("/x6", "", zk.FlagEphemeral)
	f.zk.watchExists("/x6")
	_, err := f.etcd.Revoke(f.ctx, clientv3.LeaseID(session))
	require.NoError(f.t, err)
	require.Equal(f.t, []event{{deleted, "/x6"}}, f.zk.told())
	other.await(zk.StateExpired)
	require.Eventually(f.t, func() bool { // the client makes a session anew
		id := other.SessionID()
		return id != 0 && id != session && other.State() == zk.StateHasSession
	}, patience, pollEvery)
	f.zk.gone("/x6")
}
