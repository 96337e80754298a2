package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// TestMount: a mount is chosen once. Later starts may leave it out, and are refused
// if they ask for another.
func TestMount(t *testing.T) {
	for _, tt := range []struct{ founded, mount, other, key string }{
		{"", "/zk", "/", "/zk/a"},
		{"/zk", "/zk", "/zoo", "/zk/a"},
		{"/apps/zk", "/apps/zk", "/apps", "/apps/zk/a"},
		{"/", "/", "/zk", "/a"},
	} {
		t.Run(tt.founded, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Cluster.Mount = tt.founded
			n := startNode(t, cfg)
			put(t, n, tt.key, "1")
			stopNode(t, n)
			for _, again := range []string{"", tt.mount} {
				cfg.Cluster.Mount = again
				n = startNode(t, cfg)
				mount, ok := n.Mount()
				require.True(t, ok)
				require.Equal(t, tt.mount, mount)
				view, err := n.View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
				require.NoError(t, err)
				z, err := view.Znodes().Znode("/a", 0)
				view.Close()
				require.NoError(t, err)
				require.Equal(t, "1", string(z.Data))
				stopNode(t, n)
			}
			cfg.Cluster.Mount = tt.other
			_, err := Start(cfg)
			require.ErrorContains(t, err, "--zk-prefix="+tt.other+" is given, but the cluster in data was founded with "+tt.mount+",")
			cfg.Cluster.Mount = ""
			stopNode(t, startNode(t, cfg)) // no harm was done
		})
	}
}

func TestMountsThatAreNone(t *testing.T) {
	for _, mount := range []string{"zk", "/zk/", "//", "/a/../b", "/\x00", " "} {
		cfg := testConfig(t)
		cfg.Cluster.Mount = mount
		_, err := Start(cfg)
		require.ErrorContains(t, err, "--zk-prefix", mount)
		_, err = cfg.FS.Stat(cfg.DataDir)
		require.Error(t, err, "something was made under %q", mount)
	}
}

// TestNoMount: a cluster that was founded before there were znodes has none.
func TestNoMount(t *testing.T) {
	cfg := testConfig(t)
	stopNode(t, startNode(t, cfg))
	db, err := storage.Open("data/"+stateName, storage.Options{FS: cfg.FS})
	require.NoError(t, err)
	b := db.NewBatch()
	b.Delete(keys.AppendMeta(nil, keys.MetaMount))
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close())
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())

	n := startNode(t, cfg)
	_, ok := n.Mount()
	require.False(t, ok)
	put(t, n, "/zk/a", "1")
	stopNode(t, n)
	cfg.Cluster.Mount = "/zk"
	_, err = Start(cfg)
	require.ErrorContains(t, err, "was founded before there were znodes and has none")
}
