package zkops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// restore posts a snapshot to AdminServer.
func restore(t *testing.T, port int, snapshot []byte) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/commands/restore", port), bytes.NewReader(snapshot))
	require.NoError(t, err)
	r.Header.Set("Authorization", "digest super:test")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }() // it was only read
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	http.DefaultClient.CloseIdleConnections()
	return answer.StatusCode, string(b)
}

// moving is a client that connects to wherever target says.
func moving(t *testing.T, target *atomic.Value) *zk.Conn {
	dialer := func(_, _ string, timeout time.Duration) (net.Conn, error) {
		return net.DialTimeout("tcp", target.Load().(string), timeout)
	}
	conn, _, err := zk.Connect([]string{"127.0.0.1:1"}, 30*time.Second, zk.WithLogger(quiet{}), zk.WithDialer(dialer))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// fill makes znodes of all kinds, with what a Stat can tell of them.
func fill(t *testing.T, conn *zk.Conn) {
	open := zk.WorldACL(zk.PermAll)
	for _, path := range []string{
		"/a", "/a/b", "/a/b/c", "/gone", "/q", "/q/1", "/q/2",
		"/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits", "/zookeeper/quota/q/zookeeper_stats",
	} {
		data := "data of " + path
		switch {
		case strings.HasSuffix(path, "limits"):
			data = "count=100,bytes=-1=;byteHardLimit=-1;countHardLimit=-1"
		case strings.HasSuffix(path, "stats"):
			data = "count=0,bytes=0"
		}
		_, err := conn.Create(path, []byte(data), 0, open)
		require.NoError(t, err, path)
	}
	_, err := conn.Create("/secret", []byte("s"), 0, append(zk.DigestACL(zk.PermAll, "u", "p"), zk.WorldACL(zk.PermRead)...))
	require.NoError(t, err)
	_, err = conn.Create("/secret/below", nil, 0, zk.DigestACL(zk.PermAll, "u", "p"))
	require.NoError(t, err)
	_, err = conn.CreateContainer("/container", nil, zk.FlagContainer, open)
	require.NoError(t, err)
	_, err = conn.Create("/container/x", nil, 0, open)
	require.NoError(t, err)
	_, err = conn.CreateTTL("/ttl", []byte("t"), zk.FlagTTL, open, time.Hour)
	require.NoError(t, err)
	for range 3 {
		_, err = conn.Create("/a/n-", nil, zk.FlagSequence, open)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Delete("/a/n-0000000002", 0))
	require.NoError(t, conn.Delete("/gone", 0))
	for i := range int32(3) {
		_, err = conn.Set("/a", []byte(strings.Repeat("x", int(i))), i)
		require.NoError(t, err)
	}
	_, err = conn.SetACL("/a/b", zk.AuthACL(zk.PermAll), 0)
	require.NoError(t, err)
	_, err = conn.Set("/", []byte("of the root"), 0)
	require.NoError(t, err)
	_, err = conn.Create("/q/3", []byte("333"), 0, open)
	require.NoError(t, err)
}

// unranked is what a tree shows but for the revisions that changed data: they are those of
// the restore.
func unranked(tree map[string]znode) map[string]znode {
	all := maps.Clone(tree)
	for path, z := range all {
		z.stat.Mzxid = 0
		all[path] = z
	}
	return all
}

// What AdminServer of a real ZooKeeper gave, restored into a Triglot that held something
// else, shows what it showed; the client of a session goes on there with its id and
// password, and its ephemerals (N3). And back: Triglot's, restored into a real one.
func TestRestoreFromZooKeeperAndBack(t *testing.T) {
	admin, lines := config(t)
	real := zkserver.StartT(t, zkserver.Options{Config: lines})
	var target atomic.Value
	target.Store(real.Endpoint())
	live := moving(t, &target)
	conn := dial(t, real)
	fill(t, conn)
	_, err := live.Create("/a/ephemeral", []byte("mine"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	session := live.SessionID()
	snapshot, _ := fetch(t, admin)
	want := tree(t, conn, "/")

	admin, lines = config(t)
	triglot := zkserver.StartT(t, zkserver.Options{Triglot: true, Config: append(lines, "admin.rateLimiterIntervalInMS=10")})
	old := dial(t, triglot)
	_, err = old.Create("/a", []byte("another"), 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, err = old.Create("/a/old", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, err = old.Create("/old", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	before := old.SessionID()
	status, _ := restore(t, admin, snapshot[:len(snapshot)/2])
	require.Equal(t, http.StatusInternalServerError, status)
	_, _, err = old.Get("/a/old")
	require.NoError(t, err, "nothing was changed")
	var body string
	require.Eventually(t, func() bool { // one in 10 ms
		status, body = restore(t, admin, snapshot)
		return status != http.StatusTooManyRequests
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, status, body)

	target.Store(triglot.Endpoint())
	require.NoError(t, real.Kill())
	require.Eventually(t, func() bool {
		_, _, err := live.Get("/a/ephemeral")
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	require.Equal(t, session, live.SessionID(), "the session went on")
	require.Eventually(t, func() bool {
		_, _, err := old.Get("/a")
		return err == nil && old.SessionID() != before
	}, time.Minute, 20*time.Millisecond, "who was connected before has another session")
	got := tree(t, old, "/")
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	require.Equal(t, unranked(want), unranked(got))

	name, err := live.Create("/a/n-", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	require.Equal(t, "/a/n-0000000005", name, "the counter went on")
	data, stat, err := old.Get("/")
	require.NoError(t, err)
	require.Equal(t, "of the root", string(data))
	require.EqualValues(t, 1, stat.Version)
	live.Close()
	require.Eventually(t, func() bool {
		there, _, err := old.Exists("/a/ephemeral")
		return err == nil && !there
	}, time.Minute, 20*time.Millisecond, "the ephemeral went with its session")

	snapshot, _ = fetch(t, admin)
	want = tree(t, old, "/")
	admin, lines = config(t)
	stock := zkserver.StartT(t, zkserver.Options{Config: lines})
	status, body = restore(t, admin, snapshot)
	require.Equal(t, http.StatusOK, status, body)
	got = tree(t, dial(t, stock), "/")
	require.Equal(t, want, got)
}
