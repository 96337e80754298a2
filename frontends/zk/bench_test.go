package zk

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// benchmarkPipelined sends b.N requests over one connection, some hundred at a
// time, and waits for all replies: the whole face and a member with its disk in
// memory. The client's side is in the figures, but allocates nothing.
func benchmarkPipelined(b *testing.B, prepare func(*client), request func(c *client, i int) []byte) {
	const depth = 100
	s := startServer(b)
	c := s.connect()
	prepare(c)
	frames := make([][]byte, depth)
	size := 0
	for i := range frames {
		frames[i] = request(c, i)
	}
	// All replies to a benchmark's requests have one size.
	c.write(frames[0])
	r, err := c.frame()
	require.NoError(b, err)
	require.Zero(b, r[12]|r[13]|r[14]|r[15], "%x", r)
	size = len(r) + 4
	var batch []byte
	for _, f := range frames {
		batch = append(batch, f...)
	}
	in := make([]byte, depth*size)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += depth {
		if _, err := c.nc.Write(batch); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c.nc, in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetData(b *testing.B) {
	benchmarkPipelined(b, func(c *client) {
		for i := range 100 {
			c.create(fmt.Sprintf("/a%02d", i), string(make([]byte, 100)), wire.Persistent)
		}
	}, func(c *client, i int) []byte {
		return c.request(wire.OpGetData, &wire.GetDataRequest{Path: fmt.Sprintf("/a%02d", i)})
	})
}

func BenchmarkSetData(b *testing.B) {
	benchmarkPipelined(b, func(c *client) {
		for i := range 100 {
			c.create(fmt.Sprintf("/a%02d", i), "", wire.Persistent)
		}
	}, func(c *client, i int) []byte {
		return c.request(wire.OpSetData, &wire.SetDataRequest{
			Path: fmt.Sprintf("/a%02d", i), Data: make([]byte, 100), Version: -1,
		})
	})
}

func BenchmarkCreate(b *testing.B) {
	benchmarkPipelined(b, func(c *client) {
		c.create("/d", "", wire.Persistent)
	}, func(c *client, _ int) []byte {
		return c.request(wire.OpCreate, &wire.CreateRequest{
			Path: "/d/n", Data: make([]byte, 100), ACL: wire.OpenACLUnsafe, Flags: wire.PersistentSequential,
		})
	})
}

func BenchmarkGetChildren(b *testing.B) {
	benchmarkPipelined(b, func(c *client) {
		c.create("/d", "", wire.Persistent)
		for i := range 10 {
			c.create(fmt.Sprintf("/d/%d", i), "", wire.Persistent)
		}
	}, func(c *client, _ int) []byte {
		return c.request(wire.OpGetChildren, &wire.GetChildrenRequest{Path: "/d"})
	})
}
