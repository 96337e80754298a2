package crossproto

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// znode is all that ZooKeeper tells of a znode.
type znode struct {
	data string
	stat zk.Stat
	acl  []zk.ACL
}

// walk reads a subtree through ZooKeeper.
func (f *faces) walk(path string) map[string]znode {
	f.t.Helper()
	found := map[string]znode{}
	f.walkInto(path, found)
	return found
}

func (f *faces) walkInto(path string, found map[string]znode) {
	f.t.Helper()
	data, stat := f.zk.get(path)
	acl, _, err := f.zk.GetACL(path)
	require.NoError(f.t, err)
	found[path] = znode{data, *stat, acl}
	names := f.zk.list(path)
	require.Len(f.t, names, int(stat.NumChildren), path)
	for _, name := range names {
		if path == "/" {
			path = ""
		}
		f.walkInto(path+"/"+name, found)
	}
}

// makeAll makes znodes of every kind, with all that is not in their keys.
func (f *faces) makeAll() {
	f.t.Helper()
	f.put("/implicit/parent/leaf", "1")
	f.zk.create("/made", "a", 0)
	f.zk.create("/made/seq-", "", zk.FlagSequence)
	f.zk.create("/made/eph", "", zk.FlagEphemeral)
	_, err := f.zk.CreateContainer("/made/container", nil, zk.FlagContainer, open)
	require.NoError(f.t, err)
	_, err = f.zk.Set("/made", []byte("b"), 0)
	require.NoError(f.t, err)
	f.del("/made") // demoted
	f.zk.create("/pinned", "", 0)
	f.zk.create("/pinned/child", "", 0)
	require.NoError(f.t, f.zk.Delete("/pinned/child", 0))
	lease, err := f.etcd.Grant(f.ctx, 600)
	require.NoError(f.t, err)
	f.put("/leased", "", clientv3.WithLease(lease.ID))
	_, err = f.zk.Multi(
		&zk.CreateRequest{Path: "/multi", Acl: open},
		&zk.CreateRequest{Path: "/multi/a", Acl: open},
		&zk.DeleteRequest{Path: "/multi/a", Version: 0},
	)
	require.NoError(f.t, err)
}

// What is not in a key comes through a crash like what is: the half of X15 that
// needs one member.
func TestKillAndRestart(t *testing.T) {
	p := server.StartT(t, server.Options{Target: server.Triglot})
	f := newFaces(t, p, 3*patience)
	f.makeAll()
	before, session := f.walk("/"), f.zk.SessionID()
	next := func() string { return f.zk.create("/made/seq-", "", zk.FlagSequence) }
	require.Equal(t, "/made/seq-0000000003", next())
	for _, path := range []string{"/made", "/made/seq-0000000003"} {
		delete(before, path) // changed just now
	}

	require.NoError(t, p.Kill())
	require.NoError(t, p.Restart(f.ctx))
	require.Eventually(t, func() bool { return f.zk.State() == zk.StateHasSession }, patience, pollEvery)
	require.Equal(t, session, f.zk.SessionID(), "the session lives on")
	after := f.walk("/")
	for path, z := range before {
		require.Equal(t, z, after[path], path)
	}
	require.Len(t, after, len(before)+2)
	require.Equal(t, "/made/seq-0000000004", next())
	require.EqualValues(t, session, f.kv("/made/eph").Lease)
}
