package zksnap

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// recorded is what a ZooKeeper 3.9.5 gave for GET /commands/snapshot.
func recorded(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/zookeeper-3.9.5.snapshot")
	require.NoError(t, err)
	return b
}

// all reads a snapshot to its end.
func all(r io.Reader) (Header, []*Node, error) {
	sr, err := NewReader(r)
	if err != nil {
		return Header{}, nil, err
	}
	var nodes []*Node
	for {
		n, err := sr.Next()
		if errors.Is(err, io.EOF) {
			return sr.Header, nodes, nil
		}
		if err != nil {
			return Header{}, nil, err
		}
		nodes = append(nodes, n)
	}
}

func written(t testing.TB, h Header, nodes []*Node) []byte {
	var acls []core.ACL
	for _, n := range nodes {
		if n.ACL != "" && !slices.Contains(acls, n.ACL) {
			acls = append(acls, n.ACL)
		}
	}
	var b bytes.Buffer
	w, err := NewWriter(&b, h, acls)
	require.NoError(t, err)
	for _, n := range nodes {
		require.NoError(t, w.Write(n))
	}
	size, err := w.Close()
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), size)
	return b.Bytes()
}

func TestReadsWhatZooKeeperWrites(t *testing.T) {
	h, nodes, err := all(bytes.NewReader(recorded(t)))
	require.NoError(t, err)
	require.EqualValues(t, 0x10, h.Zxid)
	require.Len(t, h.Sessions, 1)
	require.Equal(t, 10*time.Second, h.Sessions[0].Timeout)
	byPath := map[string]*Node{}
	for _, n := range nodes {
		byPath[n.Path] = n
	}
	require.Len(t, byPath, 16)
	require.Equal(t, "new", string(byPath["/a"].Data))
	require.EqualValues(t, 3, byPath["/a"].Creates)
	require.EqualValues(t, 1, byPath["/a"].Version)
	require.Empty(t, byPath["/a"].ACL)
	require.Equal(t, core.PackACL(
		core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "super:D/InIHSb7yEEbrWz8b9l71RjZJU="},
		core.ACLEntry{Perms: core.PermRead, Scheme: "world", ID: "anyone"}), byPath["/a/b"].ACL)
	require.True(t, byPath["/a/null"].Null)
	require.Equal(t, core.ZnodeContainer, byPath["/c"].Kind)
	require.Equal(t, core.ZnodeTTL, byPath["/t"].Kind)
	require.Equal(t, time.Hour, byPath["/t"].TTL)
	require.Equal(t, core.ZnodeEphemeral, byPath["/e"].Kind)
	require.Equal(t, h.Sessions[0].ID, byPath["/e"].Owner)
	require.Contains(t, byPath, "/")

	again := written(t, h, nodes)
	h2, nodes2, err := all(bytes.NewReader(again))
	require.NoError(t, err)
	require.Equal(t, h, h2)
	require.Equal(t, nodes, nodes2)

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(again)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, nodes2, err = all(&zipped)
	require.NoError(t, err)
	require.Equal(t, nodes, nodes2)
}

// Files of ZooKeeper before 3.6 and before 3.9 end earlier.
func TestOlderFiles(t *testing.T) {
	b := recorded(t)
	const seal, digest, zxid = 8 + 4 + 1, 8 + 4 + 8, 8
	for _, cut := range []int{zxid + seal, zxid + seal + digest + seal} {
		h, nodes, err := all(bytes.NewReader(b[:len(b)-cut]))
		require.NoError(t, err)
		require.Len(t, nodes, 16)
		require.Zero(t, h.Zxid)
	}
}

// Nothing but a whole snapshot is one.
func TestDamage(t *testing.T) {
	b := recorded(t)
	const seal, digest, zxid = 8 + 4 + 1, 8 + 4 + 8, 8
	whole := []int{len(b), len(b) - zxid - seal, len(b) - zxid - seal - digest - seal}
	for n := range b {
		if slices.Contains(whole, n) {
			continue
		}
		_, _, err := all(bytes.NewReader(b[:n]))
		require.ErrorIs(t, err, ErrFormat, "cut at %d", n)
	}
	for i := range b {
		damaged := slices.Clone(b)
		damaged[i] ^= 1
		_, _, err := all(bytes.NewReader(damaged))
		require.ErrorIs(t, err, ErrFormat, "damaged at %d", i)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(recorded(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, nodes, err := all(bytes.NewReader(b))
		if err != nil {
			return
		}
		h2, nodes2, err := all(bytes.NewReader(written(t, h, nodes)))
		require.NoError(t, err)
		require.Equal(t, h, h2)
		require.Equal(t, nodes, nodes2)
	})
}
