package zkoracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// aged is a znode of a snapshot that is older than a test could make it.
type aged struct {
	path                        string
	version, cversion, aversion int32
}

// snapshotOf is a snapshot in ZooKeeper's format, of znodes that are open to the world
// and have no data.
func snapshotOf(znodes []aged) []byte {
	b := append([]byte("ZKSN"), 0, 0, 0, 2)
	b = putLong(b, -1)
	b = putInt(b, 0) // sessions
	b = putInt(b, 0) // ACLs
	for _, z := range znodes {
		b = putString(b, z.path)
		b = putInt(b, 0)
		b = putLong(b, -1) // open
		for range 4 {
			b = putLong(b, 1) // czxid, mzxid, ctime, mtime
		}
		b = putInt(putInt(putInt(b, z.version), z.cversion), z.aversion)
		b = putLong(b, 0) // owner
		b = putLong(b, 1) // pzxid
	}
	b = putString(b, "/")
	seal := binary.BigEndian.AppendUint64(nil, uint64(adler32.Checksum(b)))
	return append(append(b, seal...), 0, 0, 0, 1, '/')
}

// agedTree is close to the ends of its counters, which no test reaches by counting.
var agedTree = []aged{
	{path: ""}, {path: "/zookeeper"}, {path: "/zookeeper/quota"},
	{path: "/s", cversion: 1<<31 - 1},
	{path: "/v", version: 1<<31 - 1, aversion: 1<<31 - 1},
	{path: "/w", version: -2, aversion: -2},
}

// A real ZooKeeper starts from a snapshot that is close to the ends of its counters.
//
// S2: "overflow prints -2147483648" is right only while the creates are under way, in
// one multi or a pipeline: the tree keeps the larger of two counters, and so the one of
// 3.9.5 stops at 2147483647, with pzxid, and the same name fails from then on.
//
// S4: versions wrap. 3.9.5 gives a version -1, which matches any; 3.10
// (ZOOKEEPER-4743) and Triglot go on with 0.
func TestCountersOfAnOldZooKeeper(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "version-2", "snapshot.1")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, snapshotOf(agedTree), 0o600))
	p := zkserver.StartT(t, zkserver.Options{Dir: dir, NoSync: true})
	s := newSide(p, p.Endpoint())
	defer func() {
		for _, c := range s.conns {
			c.close()
		}
	}()
	s.clock.learn(1, "z")
	s.clock.times[1] = 1
	for _, step := range []struct{ command, answer string }{
		{"c connect", "connected: timeout 30000, 37 bytes"},
		{"c exists /s", "{czxid z, mzxid z, pzxid z, cversion -2} z"},
		{"c multi create /s/m seq ; create /s/m seq ; create /s/m seq", "[create /s/m2147483647; create /s/m-2147483648; create /s/m-2147483647] z1"},
		{"c exists /s", "{czxid z, mzxid z, pzxid z, cversion -5, children 3} z1"},
		{"c create /s/n seq", "/s/n2147483647 z2"},
		{"c create /s/n seq", "NodeExists z2"},
		{"c exists /s", "{czxid z, mzxid z, pzxid z, cversion -6, children 4} z2"},
		{"c setData /v", "{czxid z, mzxid z3, pzxid z, version -2147483648, aversion 2147483647} z3"},
		{"c setACL /v open", "{czxid z, mzxid z3, pzxid z, version -2147483648, aversion -2147483648} z4"},
		{"c setData /w null -2", "{czxid z, mzxid z5, pzxid z, version -1, aversion -2} z5"},
		{"c setACL /w open -2", "{czxid z, mzxid z5, pzxid z, version -1, aversion -1} z6"},
	} {
		lines, err := s.do(step.command)
		require.NoError(t, err)
		require.Equal(t, []string{step.answer}, lines, step.command)
	}
}

// Triglot restores the same snapshot. Its counter goes on (S2), and its versions skip the
// one that matches any (S4).
func TestCountersOfAnOldTree(t *testing.T) {
	port, err := server.FreePort()
	require.NoError(t, err)
	p := zkserver.StartT(t, zkserver.Options{Triglot: true, Config: []string{
		superConfig, "admin.enableServer=true", "admin.serverAddress=127.0.0.1", fmt.Sprintf("admin.serverPort=%d", port),
	}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		fmt.Sprintf("http://127.0.0.1:%d/commands/restore", port), bytes.NewReader(snapshotOf(agedTree)))
	require.NoError(t, err)
	request.Header.Set("Authorization", "digest super:test")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	require.Equal(t, http.StatusOK, answer.StatusCode)

	conn, _, err := zk.Connect([]string{p.Endpoint()}, 10*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	stat := func(path string) *zk.Stat {
		_, s, err := conn.Exists(path)
		require.NoError(t, err)
		return s
	}
	open := zk.WorldACL(zk.PermAll)
	require.EqualValues(t, -2, stat("/s").Cversion)
	next := &zk.CreateRequest{Path: "/s/m", Acl: open, Flags: zk.FlagSequence}
	made, err := conn.Multi(next, next, next)
	require.NoError(t, err)
	var names []string
	for _, m := range made {
		names = append(names, m.String)
	}
	require.Equal(t, []string{"/s/m2147483647", "/s/m-2147483648", "/s/m-2147483647"}, names)
	require.EqualValues(t, 1, stat("/s").Cversion)
	name, err := conn.Create("/s/n", nil, zk.FlagSequence, open)
	require.NoError(t, err)
	require.Equal(t, "/s/n-2147483646", name)
	for path, version := range map[string]int32{"/v": 1<<31 - 1, "/w": -2} {
		next := map[string]int32{"/v": -1 << 31, "/w": 0}[path]
		s, err := conn.Set(path, nil, version)
		require.NoError(t, err)
		require.Equal(t, next, s.Version)
		s, err = conn.SetACL(path, open, version)
		require.NoError(t, err)
		require.Equal(t, next, s.Aversion)
	}
}
