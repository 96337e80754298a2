package zk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// A refused write is answered at the revision at which it was refused, although
// what was sent behind it has been applied by then.
func TestARefusedWriteTellsOfNothingBehindIt(t *testing.T) {
	c := startServer(t).connect()
	c.create("/a", "", wire.Persistent)
	var b []byte
	const n = 200
	for i := range int32(n) {
		b = append(b, c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: i + 1})...)
		b = append(b, c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: i})...)
	}
	c.write(b)
	for range n {
		refused, done := c.recv(), c.recv()
		require.Equal(t, wire.BadVersion, refused.Err)
		require.Equal(t, wire.OK, done.Err)
		require.Equal(t, done.Zxid-1, refused.Zxid)
	}
}

// ZooKeeper answers a ping under the xid of pings, whatever xid it came with.
func TestAPingIsAnsweredUnderItsOwnXid(t *testing.T) {
	c := startServer(t).connect()
	c.write(c.request(wire.OpPing, nil))
	require.Equal(t, wire.XidPing, c.recv().Xid)
}

// Only a createTTL in a multi can have flags that are none: then it fails, and the
// multi with it (tried on ZooKeeper 3.9.5).
func TestAMultiWithFlagsThatAreNone(t *testing.T) {
	c := startServer(t).connect()
	for _, flags := range []wire.CreateMode{-1, 7} {
		op := wire.MultiOp{Op: wire.OpCreateTTL, Path: "/a", ACL: wire.OpenACLUnsafe, Flags: flags}
		r := c.call(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{op}})
		require.Equal(t, wire.OK, r.Err)
		var m wire.MultiResponse
		r.into(t, &m)
		require.Equal(t, []wire.MultiResult{{Op: wire.OpError, Err: wire.BadArguments}}, m.Results)
	}
}
