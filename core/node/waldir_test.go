package node

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A member whose log is elsewhere survives a power failure, and is not started
// without it.
func TestWALDir(t *testing.T) {
	cfg := testConfig(t)
	cfg.WAL.Dir = "fast/disk"
	n := startNode(t, cfg)
	path := n.disk.dir.logPath()
	require.Regexp(t, `^fast/disk/triglot-[0-9a-f]+-8e9e05c52164694d$`, path)
	_, err := cfg.FS.Stat("data/log")
	require.ErrorIs(t, err, os.ErrNotExist)
	putMany(t, n, 0, 50)

	left := crashed(cfg, 0, 1)
	second := left
	second.DataDir = "other"
	_, err = Start(second)
	require.ErrorContains(t, err, "is the raft log of a member that was founded before")
	stopNode(t, n)

	n = startNode(t, left)
	checkMany(t, n, 50)
	_, err = openWALDir(left.FS, "fast/disk", n.disk.id)
	require.ErrorContains(t, err, "in use by another process")
	stopNode(t, n)

	forgotten := left
	forgotten.WAL.Dir = ""
	for range 2 {
		_, err = Start(forgotten)
		require.ErrorContains(t, err, "give the --wal-dir that it was founded with")
	}
	elsewhere := left
	elsewhere.WAL.Dir = "slow"
	_, err = Start(elsewhere)
	require.ErrorContains(t, err, "give the --wal-dir that it was founded with")

	n = startNode(t, left)
	checkMany(t, n, 50)
	stopNode(t, n)
}

// A founding that was cut short is begun again, with the log that it left.
func TestWALDirFoundingAgain(t *testing.T) {
	cfg := testConfig(t)
	cfg.WAL.Dir = "fast"
	n := startNode(t, cfg)
	id, path := n.disk.id, n.disk.dir.logPath()
	stopNode(t, n)
	require.NoError(t, cfg.FS.Remove("data/"+markerName))
	f, err := cfg.FS.Create("data/"+foundName, markerCategory)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	n = startNode(t, cfg)
	require.Equal(t, id, n.disk.id)
	require.Equal(t, path, n.disk.dir.logPath())
	putMany(t, n, 0, 3)
	checkMany(t, n, 3)
	stopNode(t, n)
}
