package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestIntoTriglot: whatever an etcd held can be read of Triglot, every revision of it,
// by both ways in.
func TestIntoTriglot(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			etcd := start(t, server.Etcd, "")
			client := connect(t, etcd, "")
			fill(t, client, seed, 300)
			fillAuth(t, client)
			file := save(t, etcd, "")
			want := dumpOf(t, client)
			require.NotEmpty(t, want.Events)
			require.NotEmpty(t, want.Leases)

			t.Run("triglot restore", func(t *testing.T) {
				requireSame(t, want, start(t, server.Triglot, restoreOurs(t, file)), "")
			})
			t.Run("etcdutl snapshot restore", func(t *testing.T) {
				dir := restoreTheirs(t, file)
				judge := t.TempDir()
				require.NoError(t, os.CopyFS(judge, os.DirFS(dir)))
				ours := start(t, server.Triglot, dir)
				requireSame(t, want, ours, "")
				theirs := headerOf(t, start(t, server.Etcd, judge))
				have := headerOf(t, ours)
				require.Equal(t, theirs, have)

				// The second start finds a data directory of Triglot.
				require.DirExists(t, filepath.Join(dir, "data", "member.etcd"))
				require.NoError(t, ours.Terminate())
				require.NoError(t, ours.Restart(deadline(t)))
				require.Equal(t, theirs, headerOf(t, ours))
			})
			t.Run("bumped", func(t *testing.T) {
				flags := []string{"--bump-revision", "1000000", "--mark-compacted"}
				bumped := dumpOf(t, connect(t, start(t, server.Etcd, restoreTheirs(t, file, flags...)), ""))
				require.Greater(t, bumped.Revision, int64(1000000))
				require.Equal(t, bumped.Revision, bumped.Compacted)
				requireSame(t, bumped, start(t, server.Triglot, restoreOurs(t, file, flags...)), "")
				requireSame(t, bumped, start(t, server.Triglot, restoreTheirs(t, file, flags...)), "")
			})
		})
	}
}

// headerOf is who a server says that it is.
func headerOf(t *testing.T, p *server.Process) string {
	t.Helper()
	res, err := connect(t, p, "").Get(deadline(t), "x")
	require.NoError(t, err)
	return fmt.Sprintf("cluster %x member %x", res.Header.ClusterId, res.Header.MemberId)
}

// TestAuthIntoTriglot: who could do what can do it still, with the same password.
func TestAuthIntoTriglot(t *testing.T) {
	etcd := start(t, server.Etcd, "")
	client := connect(t, etcd, "")
	fillAuth(t, client)
	_, err := client.Put(deadline(t), "k/a", "1")
	require.NoError(t, err)
	_, err = client.AuthEnable(deadline(t))
	require.NoError(t, err)
	root := connect(t, etcd, "root")
	file := save(t, etcd, "root")
	want := dumpOf(t, root)

	ours := start(t, server.Triglot, restoreOurs(t, file))
	requireSame(t, want, ours, "root")
	alice := connect(t, ours, "alice")
	res, err := alice.Get(deadline(t), "k/a")
	require.NoError(t, err)
	require.Len(t, res.Kvs, 1)
	_, err = alice.Put(deadline(t), "k/b", "1")
	require.ErrorContains(t, err, "permission denied")
	_, err = clientv3.New(clientv3.Config{Endpoints: []string{ours.Endpoint()}, Username: "alice", Password: "wrong", DialTimeout: patience, Logger: zap.NewNop()})
	require.ErrorContains(t, err, "authentication failed")
}
