package zk

import (
	"fmt"
	"slices"
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

// What looks at watches, at many paths, at the root by its other name or at a
// sequential znode's path comes before the writes that were sent behind it.
func TestRequestsTakeEffectInTheirOrder(t *testing.T) {
	c := startServer(t).connect()
	c.create("/g", "", wire.Persistent)
	c.create("/a", "", wire.Persistent)
	slow := func() []byte { return c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/g", Version: -1}) }
	change := func(path string) []byte {
		return c.request(wire.OpSetData, &wire.SetDataRequest{Path: path, Version: -1})
	}
	for i := range 50 {
		c.get("/a", true)
		c.write(slices.Concat(slow(), c.request(wire.OpRemoveWatches, &wire.WatchesRequest{Path: "/a", Type: wire.WatcherData}), change("/a")))
		for range 3 {
			require.Equal(t, wire.OK, c.recv().Err, "the watch is removed, and does not fire")
		}

		c.write(slices.Concat(slow(), c.request(wire.OpGetData, &wire.ReadRequest{}), change("/")))
		c.recv()
		var root wire.GetDataResponse
		c.recv().into(t, &root)
		c.recv()
		require.Equal(t, int32(i), root.Stat.Version)

		next := fmt.Sprintf("/a/n%010d", i)
		c.write(slices.Concat(slow(), c.request(wire.OpExists, &wire.ReadRequest{Path: next}),
			c.request(wire.OpCreate, &wire.CreateRequest{Path: "/a/n", ACL: wire.OpenACLUnsafe, Flags: wire.PersistentSequential})))
		c.recv()
		require.Equal(t, wire.NoNode, c.recv().Err)
		require.Equal(t, wire.OK, c.recv().Err)

		last := c.set("/g", "").Mzxid + 1
		c.write(slices.Concat(slow(), c.request(wire.OpSetWatches, &wire.SetWatches{
			RelativeZxid: last, DataWatches: []string{"/a"}, ExistWatches: []string{}, ChildWatches: []string{},
		}), change("/a")))
		c.recv()
		require.Equal(t, wire.OK, c.recv().Err, "nothing has happened yet")
		require.Equal(t, wire.XidEvent, c.recv().Xid)
		require.Equal(t, wire.OK, c.recv().Err)
	}
}
