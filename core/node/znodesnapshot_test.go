package node

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup/zksnap"
)

func TestZnodeSnapshot(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	ref := openSession(t, n, 7, time.Minute)
	require.NoError(t, createEphemeral(t, n, ref, "/e"))
	for _, op := range []core.ZnodeOp{
		{Path: "/a", Data: []byte("1"), OpenACL: true},
		{Path: "/a/b", Null: true, OpenACL: true},
		{Path: "/a/c", Kind: core.ZnodeContainer, OpenACL: true},
		{Path: "/a/b", Type: core.ZnodeDelete, Version: core.AnyVersion},
		{Path: "/a", Type: core.ZnodeSetData, Data: []byte("2"), Version: core.AnyVersion},
	} {
		_, err := n.Do(testContext(t), core.Principal{}, &core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{op}})
		require.NoError(t, err)
	}
	put(t, n, "/zk/implicit/key", "v")
	sessions, err := n.Sessions().List(testContext(t))
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, time.Minute, sessions[0].Timeout)
	require.LessOrEqual(t, sessions[0].Remaining, time.Minute)

	s, err := n.Znodes().Snapshot(testContext(t), core.Principal{})
	require.NoError(t, err)
	b, err := io.ReadAll(s.Body)
	require.NoError(t, err)
	require.NoError(t, s.Body.Close())
	require.EqualValues(t, len(b), s.Size)
	nodes, h := readSnapshot(t, b)
	require.Equal(t, s.Rev, h.Zxid)
	require.Equal(t, []zksnap.Session{{ID: 7, Timeout: time.Minute}}, h.Sessions)
	require.Equal(t, "2", string(nodes["/a"].Data))
	require.EqualValues(t, 2, nodes["/a"].Creates)
	require.EqualValues(t, 1, nodes["/a"].Version)
	require.Equal(t, core.ZnodeContainer, nodes["/a/c"].Kind)
	require.Equal(t, core.LeaseID(7), nodes["/e"].Owner)
	require.Equal(t, "v", string(nodes["/implicit/key"].Data))
	require.Contains(t, nodes, "/implicit")
	require.NotContains(t, nodes, "/a/b")
	require.NotEmpty(t, nodes["/zookeeper/config"].ACL)
	require.EqualValues(t, n.Znodes().Counts().Znodes, len(nodes)+1) // ZooKeeper counts its root twice
}

func readSnapshot(t *testing.T, b []byte) (map[string]*zksnap.Node, zksnap.Header) {
	r, err := zksnap.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	nodes := map[string]*zksnap.Node{}
	for {
		one, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nodes, r.Header
		}
		require.NoError(t, err)
		nodes[one.Path] = one
	}
}
