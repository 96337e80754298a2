package crossproto

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func x7(f *faces) {
	paths := []string{"/x7", "/x7/x", "/x7/x/y", "/x7/x/y/z"}
	for _, p := range paths {
		f.zk.watchExists(p)
	}
	rev := f.http.put("/x7/x/y/z", "leaf")
	require.Equal(f.t, []event{
		{created, paths[0]}, {created, paths[1]}, {created, paths[2]}, {created, paths[3]},
	}, f.zk.told())
	require.Equal(f.t, []string{"x"}, f.zk.list("/x7"))
	require.Equal(f.t, []string{"y"}, f.zk.list("/x7/x"))
	require.EqualValues(f.t, 1, f.count("/x7"))
	data, stat := f.zk.get("/x7/x")
	require.Empty(f.t, data)
	require.Equal(f.t, rev, stat.Czxid)
	require.EqualValues(f.t, 1, stat.NumChildren)
	require.EqualValues(f.t, 1, stat.Cversion)
	require.Zero(f.t, stat.Version)

	for _, p := range paths {
		f.zk.watchExists(p)
	}
	_, n := f.del("/x7/x/y/z")
	require.EqualValues(f.t, 1, n)
	require.Equal(f.t, []event{
		{deleted, paths[3]}, {deleted, paths[2]}, {deleted, paths[1]}, {deleted, paths[0]},
	}, f.zk.told())
	f.zk.gone("/x7")

	// A parent under which ZooKeeper created something stays.
	f.put("/x7/x/y/z", "leaf")
	f.zk.create("/x7/x/own", "", 0)
	f.del("/x7/x/y/z")
	require.NoError(f.t, f.zk.Delete("/x7/x/own", -1))
	f.zk.gone("/x7/x/y")
	require.Empty(f.t, f.zk.list("/x7/x"))
	require.Zero(f.t, f.count("/x7"))
}

func x8(f *faces) {
	paths := []string{"/x8", "/x8/a", "/x8/a/b", "/x8/a/b/c", "/x8/a/d", "/x8/e"}
	for i, p := range paths {
		if i%2 == 0 {
			f.zk.create(p, p, 0)
		} else {
			f.put(p, p)
		}
	}
	w := f.watch("/x8")
	for _, p := range paths {
		f.zk.watchData(p)
		f.zk.watchChildren(p)
	}
	f.zk.watchChildren("/")
	rev, n := f.del("/x8", clientv3.WithPrefix())
	require.EqualValues(f.t, len(paths), n)
	events := f.zk.told()
	var want []event
	for _, p := range paths {
		want = append(want, event{deleted, p})
	}
	for _, p := range []string{"/", "/x8", "/x8/a", "/x8/a/b"} {
		want = append(want, event{children, p})
	}
	require.ElementsMatch(f.t, want, events)
	for i, e := range events {
		for _, later := range events[i+1:] {
			require.False(f.t, e.kind == deleted && later.kind == deleted && strings.HasPrefix(later.path, e.path+"/"),
				"%s goes before %s", e.path, later.path)
		}
	}
	for _, zxid := range f.zk.line.eventZxids() {
		require.Equal(f.t, rev, zxid)
	}
	revs := f.revisions(w, rev)
	require.Len(f.t, revs, 1)
	var order []string
	for _, c := range revs[0].changes {
		require.Equal(f.t, "DELETE", c.kind)
		order = append(order, c.path)
	}
	require.Equal(f.t, paths, order, "etcd's events are in key order")
	f.zk.gone("/x8")
}

func x9(f *faces) {
	f.zk.create("/x9", "data", 0)
	f.zk.create("/x9/child", "", 0)
	_, err := f.zk.Set("/x9", []byte("more"), 0)
	require.NoError(f.t, err)
	_, before := f.zk.get("/x9")
	f.zk.watchData("/x9")
	f.zk.watchChildren("/x9")
	rev, _ := f.del("/x9")
	require.Equal(f.t, []event{{changed, "/x9"}}, f.zk.told())

	data, stat := f.zk.get("/x9")
	require.Empty(f.t, data)
	require.Equal(f.t, before.Version+1, stat.Version)
	require.Equal(f.t, rev, stat.Mzxid)
	require.Equal(f.t, before.Czxid, stat.Czxid)
	require.Equal(f.t, before.Cversion, stat.Cversion)
	require.Equal(f.t, []string{"child"}, f.zk.list("/x9"))
	require.Nil(f.t, f.kv("/x9"))
	_, err = f.zk.Set("/x9", []byte("stale"), before.Version)
	require.ErrorIs(f.t, err, zk.ErrBadVersion)

	// A write makes it a key again; what ZooKeeper sees never goes back.
	after, err := f.zk.Set("/x9", []byte("again"), stat.Version)
	require.NoError(f.t, err)
	kv := f.kv("/x9")
	require.EqualValues(f.t, 1, kv.Version)
	require.Equal(f.t, "again", string(kv.Value))
	require.Equal(f.t, stat.Version+1, after.Version)
	require.Equal(f.t, before.Czxid, after.Czxid)
	require.Equal(f.t, kv.ModRevision, after.Mzxid)
	f.put("/x9", "etcd's")
	_, last := f.zk.get("/x9")
	require.Equal(f.t, after.Version+1, last.Version)
}

func x10(f *faces) {
	for _, p := range []string{"/x10/a", "/x10/b", "/x10/n-0000000005"} {
		f.put(p, "")
	}
	sequential := func() string { return f.zk.create("/x10/n-", "", zk.FlagSequence) }
	require.Equal(f.t, "/x10/n-0000000003", sequential(), "three siblings were created")
	f.del("/x10/a")
	require.Equal(f.t, "/x10/n-0000000004", sequential(), "a deleted one counts, too")
	require.Equal(f.t, "/x10/n-0000000006", sequential(), "a name that exists is skipped")
	f.put("/x10/n-0000000008", "")
	seen := map[string]bool{}
	for range 5 {
		made := sequential()
		require.False(f.t, seen[made])
		seen[made] = true
	}
	require.False(f.t, seen["/x10/n-0000000008"])
	require.Len(f.t, f.zk.list("/x10"), 2+3+1+5)
	require.EqualValues(f.t, 11, f.count("/x10"))
}

func x12(f *faces) {
	f.put("/x12", "")
	f.zk.create("/x12/a", "", 0)
	_, before := f.zk.get("/x12")
	f.zk.watchChildren("/x12")
	f.zk.watchChildren("/x12/a")
	f.zk.watchChildren("/")
	illegal := []string{
		"/x12/", "/x12//b", "/x12/./b", "/x12/..", "/x12/a/", "/x12/\xff", "/x12/b\x00c", "/x12/b\x1fc",
		"/x12/\U0001F600", "/x12/\ue000", "/x12/\u009f", "/x12/\ufff0",
		"x12", "foo/bar",
	}
	for _, p := range illegal {
		f.put(p, "opaque")
		require.Equal(f.t, "opaque", string(f.kv(p).Value))
	}
	require.Empty(f.t, f.zk.told())
	require.Equal(f.t, []string{"a"}, f.zk.list("/x12"))
	_, after := f.zk.get("/x12")
	require.Equal(f.t, before, after)
	for _, p := range illegal {
		_, n := f.del(p)
		require.EqualValues(f.t, 1, n, "%q", p)
	}
	require.Empty(f.t, f.zk.told())
	require.Equal(f.t, []string{"a"}, f.zk.list("/x12"))
}

func x13(f *faces) {
	for range 50 {
		rev := f.put("/x13", "")
		_, err := f.zk.Sync("/x13")
		require.NoError(f.t, err)
		require.GreaterOrEqual(f.t, f.zk.line.lastReply(), rev)
		_, stat := f.zk.get("/x13")
		require.Equal(f.t, rev, stat.Mzxid)
		require.GreaterOrEqual(f.t, f.zk.line.lastReply(), rev)
	}
}

func x14(f *faces) {
	compact := func() {
		rev := f.put("/x14/other", "")
		_, err := f.etcd.Compact(f.ctx, rev, clientv3.WithCompactPhysical())
		require.NoError(f.t, err)
	}
	f.zk.create("/x14", "1", 0)
	f.zk.create("/x14/a", "a", 0)
	f.zk.watchData("/x14")
	f.zk.watchExists("/x14/none")
	f.zk.watchChildren("/x14/a")
	compact()
	data, _ := f.zk.get("/x14")
	require.Equal(f.t, "1", data)
	require.Equal(f.t, []string{"a", "other"}, f.zk.list("/x14"))
	require.Empty(f.t, f.zk.told())

	// What happens while the client is away is compacted before it comes back.
	f.zk.line.cut()
	f.put("/x14", "2")
	f.put("/x14/none", "")
	f.put("/x14/a/child", "")
	compact()
	f.zk.line.mend()
	require.Eventually(f.t, func() bool {
		f.zk.mu.Lock()
		defer f.zk.mu.Unlock()
		return len(f.zk.events) >= 3
	}, patience, pollEvery)
	require.ElementsMatch(f.t, []event{{changed, "/x14"}, {created, "/x14/none"}, {children, "/x14/a"}}, f.zk.told())
	data, _ = f.zk.get("/x14")
	require.Equal(f.t, "2", data)
}

// emptyRevision reads, watches and compacts at a revision that changed no key.
func emptyRevision(f *faces) {
	w := f.watch("/empty")
	f.put("/empty/a/b", "1")
	f.zk.create("/empty/a/c", "", 0) // which pins the parent
	require.NoError(f.t, f.zk.Delete("/empty/a/c", -1))
	last, _ := f.del("/empty/a/b")
	f.zk.watchExists("/empty/a")
	require.NoError(f.t, f.zk.Delete("/empty/a", -1))
	empty := f.zk.line.lastReply()
	require.Equal(f.t, last+1, empty)
	require.Equal(f.t, []event{{deleted, "/empty/a"}}, f.zk.told())

	at := func(rev int64) (int64, error) {
		r, err := f.etcd.Get(f.ctx, key("/empty"), clientv3.WithPrefix(), clientv3.WithRev(rev))
		if err != nil {
			return 0, err
		}
		require.Equal(f.t, empty, r.Header.Revision)
		return r.Count, nil
	}
	for rev, want := range map[int64]int64{last - 1: 1, last: 0, empty: 0} {
		n, err := at(rev)
		require.NoError(f.t, err)
		require.Equal(f.t, want, n, "at %d", rev)
	}
	require.NoError(f.t, f.etcd.RequestProgress(f.ctx))
	for progress := false; !progress; {
		r := <-w
		require.NoError(f.t, r.Err())
		progress = r.IsProgressNotify()
		require.True(f.t, !progress || r.Header.Revision == empty, r.Header.Revision)
	}

	_, err := f.etcd.Compact(f.ctx, empty, clientv3.WithCompactPhysical())
	require.NoError(f.t, err)
	_, err = at(empty)
	require.NoError(f.t, err)
	_, err = at(last)
	require.ErrorIs(f.t, err, rpctypes.ErrCompacted)
	_, err = at(empty + 1)
	require.ErrorIs(f.t, err, rpctypes.ErrFutureRev)
	again := f.etcd.Watch(f.ctx, key("/empty"), clientv3.WithPrefix(), clientv3.WithRev(empty))
	next := f.put("/empty", "2")
	require.Equal(f.t, empty+1, next)
	want := []revision{{next, []change{{"PUT", "/empty", "2", 0}}}}
	require.Equal(f.t, want, f.revisions(w, next))
	require.Equal(f.t, want, f.revisions(again, next))
}

// largeMulti changes many keys twice: etcd sees each once, with its last state.
func largeMulti(f *faces) {
	const n = 5000
	f.zk.create("/multi", "", 0)
	w := f.watch("/multi/")
	f.zk.watchChildren("/multi")
	path := func(i int) string { return fmt.Sprintf("/multi/%04d", i) }
	var ops []any
	for i := range n {
		ops = append(ops, &zk.CreateRequest{Path: path(i), Data: []byte("1"), Acl: open})
	}
	for i := range n {
		if i%2 == 0 {
			ops = append(ops, &zk.SetDataRequest{Path: path(i), Data: []byte("2"), Version: 0})
		} else {
			ops = append(ops, &zk.DeleteRequest{Path: path(i), Version: 0})
		}
	}
	_, err := f.zk.Multi(ops...)
	require.NoError(f.t, err)
	rev := f.zk.line.lastReply()
	require.Equal(f.t, []event{{children, "/multi"}}, f.zk.told())
	revs := f.revisions(w, rev)
	require.Len(f.t, revs, 1)
	require.Len(f.t, revs[0].changes, n)
	for i, c := range revs[0].changes {
		want := change{"PUT", path(i), "2", 0}
		if i%2 == 1 {
			want = change{kind: "DELETE", path: path(i)}
		}
		require.Equal(f.t, want, c)
	}
	_, stat := f.zk.get("/multi")
	require.EqualValues(f.t, n/2, stat.NumChildren)
	require.EqualValues(f.t, n+n/2, stat.Cversion)
	require.EqualValues(f.t, n/2, f.count("/multi/"))
}

// protected is what keeps an etcd client from breaking a ZooKeeper lock by accident.
func protected(f *faces) {
	f.zk.create("/lock", "", 0)
	f.zk.create("/lock/held", "me", zk.FlagEphemeral)
	refused := func(err error) {
		f.t.Helper()
		require.Equal(f.t, codes.FailedPrecondition, status.Code(err), err)
	}
	_, err := f.etcd.Put(f.ctx, key("/lock/held"), "for ever")
	refused(err)
	_, err = f.etcd.Put(f.ctx, key("/lock/held/child"), "")
	refused(err)
	_, err = f.etcd.Put(f.ctx, key("/lock"), "", clientv3.WithLease(clientv3.LeaseID(f.zk.SessionID())))
	refused(err)
	_, err = f.etcd.Txn(f.ctx).Then(
		clientv3.OpPut(key("/lock/innocent"), ""), clientv3.OpPut(key("/lock/held"), "for ever"),
	).Commit()
	refused(err)
	require.Equal(f.t, []string{"held"}, f.zk.list("/lock"), "the transaction is undone")
	rev := f.put("/lock/held", "still", clientv3.WithIgnoreLease())
	data, stat := f.zk.get("/lock/held")
	require.Equal(f.t, "still", data)
	require.Equal(f.t, rev, stat.Mzxid)
	require.Equal(f.t, f.zk.SessionID(), stat.EphemeralOwner)
	f.del("/lock/held") // whoever may delete the key may break the lock
	f.zk.gone("/lock/held")
}

// sessionLease is what an etcd client may do with the lease of a session.
func sessionLease(f *faces) {
	other := dialZK(f.t, shared)
	session := clientv3.LeaseID(other.SessionID())
	leases, err := f.etcd.Leases(f.ctx)
	require.NoError(f.t, err)
	require.True(f.t, slices.ContainsFunc(leases.Leases, func(l clientv3.LeaseStatus) bool { return l.ID == session }))
	_, err = f.etcd.KeepAliveOnce(f.ctx, session)
	require.ErrorIs(f.t, err, rpctypes.ErrLeaseNotFound, "what the client makes of a TTL of zero")
	_, err = f.etcd.Grant(f.ctx, 60)
	require.NoError(f.t, err)

	// etcd's key on a session's lease goes with the session.
	f.put("/lease/of-session", fmt.Sprint(session), clientv3.WithLease(session))
	_, stat := f.zk.get("/lease/of-session")
	require.EqualValues(f.t, session, stat.EphemeralOwner)
	f.zk.watchData("/lease/of-session")
	other.Close()
	require.Equal(f.t, []event{{deleted, "/lease/of-session"}}, f.zk.told())

	// A plain lease makes a znode ephemeral, in nobody's session.
	grant, err := f.etcd.Grant(f.ctx, 60)
	require.NoError(f.t, err)
	f.put("/lease/plain", "", clientv3.WithLease(grant.ID))
	_, stat = f.zk.get("/lease/plain")
	require.EqualValues(f.t, grant.ID, stat.EphemeralOwner)
	_, err = f.zk.Create("/lease/plain/child", nil, 0, open)
	require.ErrorIs(f.t, err, zk.ErrNoChildrenForEphemerals)
	f.zk.watchData("/lease/plain")
	_, err = f.etcd.Revoke(context.Background(), grant.ID)
	require.NoError(f.t, err)
	require.Equal(f.t, []event{{deleted, "/lease/plain"}}, f.zk.told())
	f.zk.gone("/lease")
}
