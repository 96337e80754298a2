package crossproto

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestX11 is what one who may not learns through etcd and HTTP of a znode that is not
// open to the world: nothing.
func TestX11(t *testing.T) {
	p := server.StartT(t, server.Options{Target: server.Triglot})
	f := newFaces(t, p, 3*patience)
	require.NoError(t, f.zk.AddAuth("digest", []byte("alice:wonder")))
	mine := zk.DigestACL(zk.PermAll, "alice", "wonder")

	f.zk.create("/x", "", 0)
	f.zk.create("/x/open", "o", 0)
	w := f.etcd.Watch(f.ctx, key("/x"), clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	require.True(t, (<-w).Created)
	_, err := f.zk.Create("/x/secret", []byte("s"), 0, mine)
	require.NoError(t, err)
	_, err = f.zk.Create("/x/secret/child", []byte("c"), 0, open)
	require.NoError(t, err)
	_, stat, err := f.zk.Get("/x/secret")
	require.NoError(t, err)
	at := stat.Mzxid

	t.Run("requests are refused whole", func(t *testing.T) { refused(t, f, clientv3.WithRev(0)) })
	t.Run("history is no way around", func(t *testing.T) { refused(t, f, clientv3.WithRev(at)) })
	t.Run("HTTP is no way around", func(t *testing.T) {
		for path, request := range map[string]object{
			"/v3/kv/range":       {"key": text(key("/x/secret"))},
			"/v3/kv/put":         {"key": text(key("/x/secret")), "value": text("mine")},
			"/v3/kv/deleterange": {"key": text(key("/x/")), "range_end": text(key("/x0"))},
			"/v3/kv/txn": {"compare": []object{{"key": text(key("/x/secret")), "target": "VALUE", "value": text("s")}},
				"success": []object{}},
			"/v3/maintenance/snapshot": {},
			"/v3/maintenance/hash":     {},
		} {
			_, err := f.http.try(path, request)
			var refusal *httpError
			require.ErrorAs(t, err, &refusal, path)
			require.Equal(t, http.StatusForbidden, refusal.status, "%s: %s", path, refusal.body)
		}
	})
	t.Run("a lease does not name what is attached", func(t *testing.T) {
		_, err := f.zk.Create("/x/secret/e", nil, zk.FlagEphemeral, mine)
		require.NoError(t, err)
		session := clientv3.LeaseID(f.zk.SessionID())
		_, err = f.etcd.TimeToLive(f.ctx, session, clientv3.WithAttachedKeys())
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		_, err = f.etcd.TimeToLive(f.ctx, session)
		require.NoError(t, err)
		_, err = f.etcd.Revoke(f.ctx, session) // it would delete below a znode that it may not delete below
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
	})
	t.Run("backups and sums are for the administrator", func(t *testing.T) {
		body, err := f.etcd.Snapshot(f.ctx)
		if err == nil {
			_, err = io.ReadAll(body)
		}
		require.ErrorContains(t, err, "permission denied")
		_, err = f.etcd.HashKV(f.ctx, p.Endpoint(), 0)
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		admin := newAdmin(t, p)
		body, err = admin.Snapshot(f.ctx)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, body)
		require.NoError(t, err)
		require.Positive(t, n)
		r, err := admin.Get(f.ctx, key("/x/secret"))
		require.NoError(t, err)
		require.Equal(t, "s", string(r.Kvs[0].Value))
	})
	t.Run("who may sees it, and its ACL is as it was", func(t *testing.T) {
		data, _ := f.zk.get("/x/secret")
		require.Equal(t, "s", data)
		acl, _, err := f.zk.GetACL("/x/secret")
		require.NoError(t, err)
		require.Equal(t, mine, acl)
		_, err = f.zk.Create("/x/near", []byte("n"), 0, []zk.ACL{{Perms: zk.PermAll, Scheme: "ip", ID: "127.0.0.1"}})
		require.NoError(t, err)
		require.Equal(t, "n", string(f.kv("/x/near").Value), "an etcd client has an address, too")
	})

	// What is deleted or opened later stays hidden as it was.
	_, err = f.zk.Set("/x/secret", []byte("s2"), -1)
	require.NoError(t, err)
	require.NoError(t, f.zk.Delete("/x/secret/e", -1))
	require.NoError(t, f.zk.Delete("/x/secret/child", -1))
	require.NoError(t, f.zk.Delete("/x/secret", -1))
	f.zk.create("/x/late", "l", 0)
	_, err = f.zk.SetACL("/x/late", mine, -1)
	require.NoError(t, err)
	last := f.put("/x/last", "z")
	t.Run("a watch hears of the others alone", func(t *testing.T) {
		require.Equal(t, []string{"/x/secret/child", "/x/near", "/x/secret/child", "/x/late", "/x/last"}, paths(f.revisions(w, last)),
			"an open child of a protected znode is what ZooKeeper would tell of, too")
	})
	t.Run("and so does one that starts in the past", func(t *testing.T) {
		past := f.etcd.Watch(f.ctx, key("/x"), clientv3.WithPrefix(), clientv3.WithRev(2), clientv3.WithPrevKV())
		require.Equal(t, []string{"/x", "/x/open", "/x/secret/child", "/x/near", "/x/secret/child", "/x/last"}, paths(f.revisions(past, last)),
			"what is protected now has been readable once, and is not any more")
	})
	t.Run("history of what was deleted", func(t *testing.T) {
		_, err := f.etcd.Get(f.ctx, key("/x/secret"), clientv3.WithRev(at))
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
		r, err := f.etcd.Get(f.ctx, key("/x/secret"))
		require.NoError(t, err)
		require.Empty(t, r.Kvs)
	})
}

// refused makes every kind of request that touches /x/secret; the option is for those
// that read.
func refused(t *testing.T, f *faces, read clientv3.OpOption) {
	t.Helper()
	secret := key("/x/secret")
	reads := map[string]clientv3.Op{
		"the key":         clientv3.OpGet(secret, read),
		"its parent's":    clientv3.OpGet(key("/x/"), clientv3.WithPrefix(), read),
		"its children":    clientv3.OpGet(secret+"/", clientv3.WithPrefix(), read),
		"everything":      clientv3.OpGet("", clientv3.WithFromKey(), read),
		"the number":      clientv3.OpGet(key("/x/"), clientv3.WithPrefix(), clientv3.WithCountOnly(), read),
		"the names":       clientv3.OpGet(key("/x/"), clientv3.WithPrefix(), clientv3.WithKeysOnly(), read),
		"the first":       clientv3.OpGet(key("/x/"), clientv3.WithPrefix(), clientv3.WithLimit(1), read),
		"what is not it":  clientv3.OpGet(key("/x/"), clientv3.WithPrefix(), clientv3.WithMinModRev(1<<40), read),
		"what lies there": clientv3.OpGet(secret+"//opaque", read),
	}
	for name, op := range reads {
		_, err := f.etcd.Do(f.ctx, op)
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied, name)
		_, err = f.etcd.Txn(f.ctx).If(clientv3.Compare(clientv3.Version("none"), "=", 1)).Then(op).Commit()
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied, "in a branch that does not run: %s", name)
	}
	writes := map[string]clientv3.Op{
		"put":             clientv3.OpPut(secret, "mine"),
		"put a child":     clientv3.OpPut(secret+"/new", "mine"),
		"put far below":   clientv3.OpPut(secret+"/a/b/c", "mine"),
		"put beside":      clientv3.OpPut(secret+"//opaque", "mine"),
		"delete a child":  clientv3.OpDelete(secret + "/child"),
		"delete all":      clientv3.OpDelete(key("/x/secret/"), clientv3.WithPrefix()),
		"delete the tree": clientv3.OpDelete(key("/x"), clientv3.WithPrefix(), clientv3.WithPrevKV()),
	}
	for name, op := range writes {
		_, err := f.etcd.Do(f.ctx, op)
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied, name)
	}
	for _, value := range []string{"s", "guess"} {
		_, err := f.etcd.Txn(f.ctx).If(clientv3.Compare(clientv3.Value(secret), "=", value)).Commit()
		require.ErrorIs(t, err, rpctypes.ErrPermissionDenied, "a compare is no oracle")
	}
	_, err := f.etcd.Txn(f.ctx).If(clientv3.Compare(clientv3.ModRevision(key("/x/")), ">", 0).WithPrefix()).Commit()
	require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
}

// paths are those of what revisions did, in order.
func paths(revs []revision) []string {
	var all []string
	for _, rev := range revs {
		for _, c := range rev.changes {
			all = append(all, c.path)
		}
	}
	return all
}

// newAdmin is an etcd client on the socket that is in the member's data directory.
func newAdmin(t *testing.T, p *server.Process) *clientv3.Client {
	t.Helper()
	return newAdminAt(t, filepath.Join(p.DataDir(), "admin.sock"))
}

func newAdminAt(t *testing.T, socket string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"unix://" + socket}, DialTimeout: patience, Logger: zap.NewNop(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// TestPolicy is what --zk-acl-over-etcd makes of it.
func TestPolicy(t *testing.T) {
	for policy, want := range map[string][]string{"hide": {"/open"}, "off": {"/open", "/secret"}} {
		t.Run(policy, func(t *testing.T) {
			p := server.StartT(t, server.Options{Target: server.Triglot, Args: []string{"--zk-acl-over-etcd", policy}})
			f := newFaces(t, p, patience)
			require.NoError(t, f.zk.AddAuth("digest", []byte("alice:wonder")))
			_, err := f.zk.Create("/secret", []byte("s"), 0, zk.DigestACL(zk.PermAll, "alice", "wonder"))
			require.NoError(t, err)
			f.put("/open", "o")
			r, err := f.etcd.Get(context.Background(), key("/"), clientv3.WithPrefix())
			require.NoError(t, err)
			var seen []string
			for _, kv := range r.Kvs {
				seen = append(seen, string(kv.Key)[len(mount):])
			}
			require.Equal(t, want, seen)
			require.EqualValues(t, len(want), r.Count)
			_, err = f.etcd.Put(f.ctx, key("/secret"), "mine")
			if policy == "off" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, rpctypes.ErrPermissionDenied)
			}
		})
	}
}

// x18: ZooKeeper tells no data from empty data, and etcd does not.
func x18(f *faces) {
	for path, data := range map[string][]byte{"/x18-null": nil, "/x18-empty": {}} {
		_, err := f.zk.Create(path, data, 0, open)
		require.NoError(f.t, err)
		require.Empty(f.t, f.kv(path).Value)
		got, stat, err := f.zk.Get(path)
		require.NoError(f.t, err)
		require.Equal(f.t, data == nil, got == nil, "%s comes back as it was", path)
		require.Zero(f.t, stat.DataLength)
	}
	f.put("/x18-null", "")
	got, _, err := f.zk.Get("/x18-null")
	require.NoError(f.t, err)
	require.NotNil(f.t, got, "what an etcd client puts is data")
}
