package zkops

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// dial connects, as super.
func dial(t *testing.T, p *zkserver.Process) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{p.Endpoint()}, 30*time.Second, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, conn.AddAuth("digest", []byte("super:test")))
	return conn
}

// config makes super:test the superuser, and puts AdminServer on a port.
func config(t *testing.T) (admin int, lines []string) {
	admin, err := server.FreePort()
	require.NoError(t, err)
	return admin, []string{
		"DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
		"extendedTypesEnabled=true", "admin.enableServer=true", "admin.serverAddress=127.0.0.1", fmt.Sprintf("admin.serverPort=%d", admin),
	}
}

func TestZooKeeperStartsFromASnapshot(t *testing.T) {
	admin, lines := config(t)
	p := zkserver.StartT(t, zkserver.Options{Triglot: true, Config: lines})
	conn := dial(t, p)
	open := zk.WorldACL(zk.PermAll)
	for _, path := range []string{"/a", "/a/b", "/a/c", "/gone", "/zookeeper/quota/a"} {
		_, err := conn.Create(path, []byte("data of "+path), 0, open)
		require.NoError(t, err, path)
	}
	_, err := conn.Create("/zookeeper/quota/a/zookeeper_limits", []byte("count=100,bytes=-1"), 0, open)
	require.NoError(t, err)
	_, err = conn.Create("/secret", []byte("s"), 0, append(zk.DigestACL(zk.PermAll, "u", "p"), zk.WorldACL(zk.PermRead)...))
	require.NoError(t, err)
	_, err = conn.Create("/empty", nil, 0, open)
	require.NoError(t, err)
	_, err = conn.Create("/ephemeral", []byte("mine"), zk.FlagEphemeral, open)
	require.NoError(t, err)
	_, err = conn.CreateContainer("/container", nil, zk.FlagContainer, open)
	require.NoError(t, err)
	_, err = conn.CreateTTL("/ttl", []byte("t"), zk.FlagTTL, open, time.Hour)
	require.NoError(t, err)
	for range 3 {
		_, err = conn.Create("/a/n-", nil, zk.FlagSequence, open)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Delete("/gone", 0))
	_, err = conn.Set("/a", []byte("changed"), 0)
	require.NoError(t, err)
	want := tree(t, conn, "/")

	snapshot, zxid := fetch(t, admin)
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "version-2", "snapshot."+zxid)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, snapshot, 0o600))
	stock := zkserver.StartT(t, zkserver.Options{Dir: dir, Config: lines[:2]})
	other := dial(t, stock)
	require.Equal(t, want, tree(t, other, "/"))
	name, err := other.Create("/a/n-", nil, zk.FlagSequence, open)
	require.NoError(t, err)
	require.Equal(t, "/a/n-0000000005", name, "the counter went on: five children were ever made")
	_, err = other.Set("/a", []byte("again"), 1)
	require.NoError(t, err)
}

// fetch asks AdminServer for a snapshot.
func fetch(t *testing.T, port int) (b []byte, zxid string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/commands/snapshot", port), nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "digest super:test")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }() // it was only read
	b, err = io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", b)
	http.DefaultClient.CloseIdleConnections()
	return b, strings.TrimPrefix(answer.Header.Get("last_zxid"), "0x")
}

// znode is all that a client sees of a znode.
type znode struct {
	data string
	stat zk.Stat
	acl  []zk.ACL
}

// tree is all znodes but ZooKeeper's own, which each server makes for itself.
func tree(t *testing.T, conn *zk.Conn, path string) map[string]znode {
	all := map[string]znode{}
	var walk func(path string)
	walk = func(path string) {
		data, stat, err := conn.Get(path)
		require.NoError(t, err, path)
		acl, _, err := conn.GetACL(path)
		require.NoError(t, err, path)
		if path != "/" && path != "/zookeeper" && path != "/zookeeper/config" && path != "/zookeeper/quota" {
			all[path] = znode{string(data), *stat, acl}
		}
		children, _, err := conn.Children(path)
		require.NoError(t, err, path)
		slices.Sort(children)
		for _, name := range children {
			walk(strings.TrimSuffix(path, "/") + "/" + name)
		}
	}
	walk(path)
	return all
}
