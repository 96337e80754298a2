package zk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

func TestCreateReadWriteDelete(t *testing.T) {
	c := startServer(t).connect()
	require.Equal(t, "/a", c.create("/a", "one", wire.Persistent))
	data, stat := c.get("/a", false)
	require.Equal(t, "one", data)
	require.Equal(t, stat.Czxid, stat.Mzxid)
	require.Equal(t, int32(3), stat.DataLength)
	changed := c.set("/a", "two")
	require.Equal(t, int32(1), changed.Version)
	require.Equal(t, stat.Mzxid+1, changed.Mzxid)
	data, again := c.get("/a", false)
	require.Equal(t, "two", data)
	require.Equal(t, changed, again)
	require.Equal(t, "/a/n0000000000", c.create("/a/n", "", wire.PersistentSequential))
	require.Equal(t, "/a/n0000000001", c.create("/a/n", "", wire.EphemeralSequential))
	require.Equal(t, []string{"n0000000000", "n0000000001"}, c.children("/a", false))
	require.Equal(t, wire.NotEmpty, c.call(wire.OpDelete, &wire.DeleteRequest{Path: "/a", Version: -1}).Err)
	c.remove("/a/n0000000000")
	c.remove("/a/n0000000001")
	c.remove("/a")
	require.Equal(t, wire.NoNode, c.exists("/a", false))
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	c := startServer(t).connect()
	c.create("/a", "", wire.Persistent)
	const n = maxOutstanding // of three requests each: more than may be outstanding
	go func() {
		var b []byte
		for i := range n {
			text := fmt.Appendf(nil, "%d", i)
			b = append(b, c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Data: text, Version: int32(i)})...)
			b = append(b, c.request(wire.OpGetData, &wire.GetDataRequest{Path: "/a"})...)
			b = append(b, c.request(wire.OpPing, nil)...)
		}
		c.write(b)
	}()
	zxid := int64(0)
	for i := range n {
		for range 3 {
			r := c.recv()
			require.Equal(t, wire.OK, r.Err)
			require.GreaterOrEqual(t, r.Zxid, zxid)
			zxid = r.Zxid
			if r.Xid > 0 && (r.Xid-1)%3 == 2 {
				var m wire.GetDataResponse
				r.into(t, &m)
				require.Equal(t, fmt.Sprint(i), string(m.Data), "a read sees the writes before it, and none after it")
			}
		}
	}
}
