package backup

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// Z6: a client that has seen more than what was restored is turned away, and tries for
// ever, as with ZooKeeper; what has been given a revision beyond what was seen lets it
// in, with its session, and the first write is beyond, too.
func TestZ6RestoreOfLessThanWasSeen(t *testing.T) {
	old := start(t, server.Triglot, "", "--log-level", "warn")
	client := zkConnect(t, old)
	_, err := client.Create("/a", []byte("kept"), 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, err = client.Create("/e", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	session := client.SessionID()
	file := save(t, old, "")
	_, err = client.Create("/lost", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, lost, err := client.Get("/lost")
	require.NoError(t, err)
	require.NoError(t, old.Kill())

	less := start(t, server.Triglot, restoreOurs(t, file), "--log-level", "info")
	client.moveTo(less)
	fresh := zkConnect(t, less)
	_, stat, err := fresh.Get("/a")
	require.NoError(t, err, "who has seen nothing is served")
	require.Less(t, stat.Czxid, lost.Czxid)
	tries := client.dials.Load() + 3
	require.Eventually(t, func() bool { return client.dials.Load() >= tries }, patience, 10*time.Millisecond)
	require.NotEqual(t, zk.StateHasSession, client.State())

	bumped := start(t, server.Triglot, restoreOurs(t, file, "--bump-revision", "1000000", "--mark-compacted"), "--log-level", "warn")
	client.moveTo(bumped)
	reconnected(t, client, session)
	data, stat, err := client.Get("/a")
	require.NoError(t, err)
	require.Equal(t, "kept", string(data))
	there, _, err := client.Exists("/e")
	require.NoError(t, err)
	require.True(t, there)
	there, _, err = client.Exists("/lost")
	require.NoError(t, err)
	require.False(t, there)
	stat, err = client.Set("/a", []byte("new"), stat.Version)
	require.NoError(t, err)
	require.Greater(t, stat.Mzxid, lost.Czxid)
}
