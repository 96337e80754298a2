package backup

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/triglot/triglot/compat-tests/server"
)

// zkClient is a ZooKeeper client that is moved from one server to another, as by a
// name that comes to stand for another address.
type zkClient struct {
	*zk.Conn
	address atomic.Pointer[string]
	dials   atomic.Int32 // how often it has called
}

func zkConnect(t *testing.T, p *server.Process) *zkClient {
	t.Helper()
	c := &zkClient{}
	c.moveTo(p)
	conn, _, err := zk.Connect([]string{"127.0.0.1:1"}, patience, zk.WithLogger(silent{}),
		zk.WithDialer(func(network, _ string, timeout time.Duration) (net.Conn, error) {
			c.dials.Add(1)
			return net.DialTimeout(network, *c.address.Load(), timeout)
		}))
	require.NoError(t, err)
	c.Conn = conn
	t.Cleanup(conn.Close)
	return c
}

func (c *zkClient) moveTo(p *server.Process) {
	address := p.ZKEndpoint()
	c.address.Store(&address)
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// walk is everything that a ZooKeeper client can see, a line a znode.
func walk(t *testing.T, c *zkClient, path string) []string {
	t.Helper()
	data, stat, err := c.Get(path)
	require.NoError(t, err, path)
	children, _, err := c.Children(path)
	require.NoError(t, err, path)
	acl, _, err := c.GetACL(path)
	require.NoError(t, err, path)
	slices.Sort(children)
	lines := []string{fmt.Sprintf("%s %q null=%v %+v %+v %v", path, data, data == nil, *stat, acl, children)}
	for _, child := range children {
		lines = append(lines, walk(t, c, strings.TrimSuffix(path, "/")+"/"+child)...)
	}
	return lines
}

// grow makes znodes of every kind that there is, by both faces.
func grow(t *testing.T, p *server.Process, c *zkClient) {
	t.Helper()
	open := zk.WorldACL(zk.PermAll)
	create := func(path string, data []byte, flags int32) string {
		made, err := c.Create(path, data, flags, open)
		require.NoError(t, err, path)
		return made
	}
	create("/app", []byte("data"), 0)
	create("/app/null", nil, 0)
	create("/app/empty", []byte{}, 0)
	create("/queue", nil, 0)
	for i := range 5 {
		made := create("/queue/n-", []byte(fmt.Sprint(i)), zk.FlagSequence)
		if i%2 == 0 {
			require.NoError(t, c.Delete(made, -1))
		}
	}
	for i := range 3 {
		_, err := c.Set("/app", []byte(fmt.Sprint(i)), -1)
		require.NoError(t, err)
	}
	create("/app/lock", []byte("mine"), zk.FlagEphemeral)
	create("/queue/e-", nil, zk.FlagEphemeral|zk.FlagSequence)
	_, err := c.CreateContainer("/box", []byte("c"), zk.FlagContainer, open)
	require.NoError(t, err)
	_, err = c.Multi(&zk.CreateRequest{Path: "/m", Acl: open}, &zk.CreateRequest{Path: "/m/1", Acl: open}, &zk.SetDataRequest{Path: "/m", Data: []byte("x"), Version: 0})
	require.NoError(t, err)

	etcd := connect(t, p, "")
	ctx := deadline(t)
	for _, key := range []string{"/zk/implicit/deep/leaf", "/zk/demoted", "/zk/demoted/child", "/zk/app/put", "/zk/bad//path", "beside"} {
		_, err := etcd.Put(ctx, key, key)
		require.NoError(t, err)
	}
	_, err = etcd.Delete(ctx, "/zk/demoted")
	require.NoError(t, err)
	lease, err := etcd.Grant(ctx, 3000)
	require.NoError(t, err)
	_, err = etcd.Put(ctx, "/zk/leased", "l", clientv3.WithLease(lease.ID))
	require.NoError(t, err)
}

// reconnected waits until the client has its session on the server that it was moved
// to.
func reconnected(t *testing.T, c *zkClient, session int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, _, err := c.Get("/")
		return err == nil
	}, patience, 10*time.Millisecond)
	require.Equal(t, session, c.SessionID(), "the session has gone on")
}

// TestFacesRoundTrip is X15: a store that went through a file is the same on both faces,
// and its sessions go on.
func TestFacesRoundTrip(t *testing.T) {
	old := start(t, server.Triglot, "", "--log-level", "warn")
	client := zkConnect(t, old)
	grow(t, old, client)
	session := client.SessionID()
	fill(t, connect(t, old, ""), 3, 100)
	want := walk(t, client, "/")
	file := save(t, old, "")
	all := dumpOf(t, connect(t, old, ""))

	// dumpOf has written; the file is older, and what it has not seen must not be there.
	dir := restoreOurs(t, file)
	require.NoError(t, old.Kill())
	renewed := start(t, server.Triglot, dir, "--log-level", "warn")
	requireSame(t, all, renewed, "")

	client.moveTo(renewed)
	reconnected(t, client, session)
	require.Empty(t, cmp.Diff(want, walk(t, client, "/")))
	made, err := client.Create("/queue/n-", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	require.Equal(t, "/queue/n-0000000006", made, "the counter goes on")
	requireGone(t, renewed, client)
}

// requireGone closes the session and looks that its ephemerals go with it.
func requireGone(t *testing.T, p *server.Process, client *zkClient) {
	t.Helper()
	other := zkConnect(t, p)
	there, _, err := other.Exists("/app/lock")
	require.NoError(t, err)
	require.True(t, there)
	client.Close()
	require.Eventually(t, func() bool {
		there, _, err := other.Exists("/app/lock")
		return err == nil && !there
	}, patience, 10*time.Millisecond)
}

// TestThroughEtcd: Triglot's store lives in a stock etcd for a while, which changes
// it, and comes back: what the keys tell is right, and the rest is said.
func TestThroughEtcd(t *testing.T) {
	old := start(t, server.Triglot, "", "--log-level", "warn")
	client := zkConnect(t, old)
	grow(t, old, client)
	session := client.SessionID()
	_, before, err := client.Get("/app")
	require.NoError(t, err)
	etcd := start(t, server.Etcd, restoreTheirs(t, save(t, old, "")))
	require.NoError(t, old.Kill())
	ctx := deadline(t)
	theirs := connect(t, etcd, "")
	for _, key := range []string{"/zk/app/new", "/zk/queue/n-0000000100", "/zk/app/put"} {
		_, err := theirs.Put(ctx, key, "etcd's")
		require.NoError(t, err)
	}
	gone, err := theirs.Delete(ctx, "/zk/m", clientv3.WithPrefix())
	require.NoError(t, err)
	_, err = theirs.Compact(ctx, gone.Header.Revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)

	file := save(t, etcd, "")
	dir := t.TempDir()
	said := mustRun(t, "triglot", append([]string{"restore", file}, restoreFlags(dir)...)...)
	require.Contains(t, said, "etcd has written to the store since Triglot did")
	back := start(t, server.Triglot, dir, "--log-level", "warn")
	client.moveTo(back)
	reconnected(t, client, session)

	tree := strings.Join(walk(t, client, "/"), "\n")
	require.Contains(t, tree, `/app/new "etcd's"`)
	require.Contains(t, tree, `/implicit/deep/leaf "/zk/implicit/deep/leaf"`)
	require.NotContains(t, tree, "\n/m ")
	_, stat, err := client.Get("/app/lock")
	require.NoError(t, err)
	require.Equal(t, session, stat.EphemeralOwner)
	made, err := client.Create("/queue/n-", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	require.NotContains(t, tree, made+" ", "no name is given twice")
	require.GreaterOrEqual(t, made, "/queue/n-0000000006", "nor is one that was deleted")
	_, after, err := client.Get("/app")
	require.NoError(t, err)
	require.Equal(t, before.Ctime, after.Ctime)
	require.Equal(t, before.Mtime, after.Mtime)
	require.Equal(t, before.Version, after.Version)
	require.Equal(t, before.NumChildren+1, after.NumChildren)
	requireGone(t, back, client)
}
