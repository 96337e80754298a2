package node

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
)

// unpack puts the files of a .tar.gz into a directory of fs.
func unpack(t testing.TB, fs storage.FS, archive, dir string) {
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		name := path.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			require.NoError(t, fs.MkdirAll(name, 0o700))
			continue
		}
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		writeFile(t, fs, name, content)
		require.NoError(t, syncDir(fs, path.Dir(name)))
	}
}

// TestEarlierData opens what the build of commit bf45c36 has left when it was killed:
// rows that have grown since, and entries to replay. It kept no number of keys, no
// size of the rows of znodes, and one kind of lease fewer.
func TestEarlierData(t *testing.T) {
	cfg := testConfig(t)
	unpack(t, cfg.FS, "testdata/earlier/bf45c36.tar.gz", "data")
	n := startNode(t, cfg)
	check := func(keys int64) {
		for key, want := range map[string]string{
			"k": "19", "k00": "<none>", "k05": "<none>", "k10": "<none>", "k15": "b", "new": "c", "late": "1",
			"leased": "x", "/zk/a/b": "znode", "/zk/a/c": "2", "/zk/e": "me",
		} {
			require.Equal(t, want, get(t, n, key), key)
		}
		v, err := n.View(testContext(t), core.Principal{}, core.Consistency{Linearizable: true})
		require.NoError(t, err)
		defer v.Close()
		z, err := v.Znodes().Znode("/a", 0)
		require.NoError(t, err)
		require.Equal(t, int32(2), z.NumChildren)
		all, err := v.Range(testContext(t), &core.Range{Interval: core.Interval{Key: core.FromKey, End: core.FromKey}, CountOnly: true})
		require.NoError(t, err)
		require.Equal(t, keys, all.Count)
		held := n.published.hold()
		defer held.Close()
		require.Equal(t, keys, held.Keys())
		require.Positive(t, held.RowBytes())
	}
	check(8)
	const lease = core.LeaseID(0x21b3f17284319246)
	left, err := n.Leases().Status(testContext(t), core.Principal{}, lease, true)
	require.NoError(t, err)
	require.Equal(t, time.Hour, left.Granted)
	require.Equal(t, [][]byte{[]byte("leased")}, left.Keys)
	_, err = n.do(testContext(t), &core.LeaseRevoke{ID: lease})
	require.NoError(t, err)
	put(t, n, "leased", "x")
	put(t, n, "more", "y")
	check(9)
	stopNode(t, n)

	n = startNode(t, cfg) // now with the rows of this build
	check(9)
	stopNode(t, n)
}
