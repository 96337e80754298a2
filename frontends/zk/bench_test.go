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

// BenchmarkMulti is of ten setData each.
func BenchmarkMulti(b *testing.B) {
	const parts = 10
	benchmarkPipelined(b, func(c *client) {
		for i := range 100 {
			c.create(fmt.Sprintf("/a%02d", i), "", wire.Persistent)
		}
	}, func(c *client, i int) []byte {
		m := &wire.MultiRequest{}
		for n := range parts {
			m.Ops = append(m.Ops, wire.MultiOp{
				Op: wire.OpSetData, Path: fmt.Sprintf("/a%02d", (parts*i+n)%100), Data: make([]byte, 100), Version: -1,
			})
		}
		return c.request(wire.OpMulti, m)
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

// A reply of many names.
func BenchmarkGetManyChildren(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := startServer(b).connect()
			c.create("/d", "", wire.Persistent)
			m := &wire.MultiRequest{}
			for i := range n {
				m.Ops = append(m.Ops, wire.MultiOp{Op: wire.OpCreate, Path: fmt.Sprintf("/d/%08d", i), ACL: wire.OpenACLUnsafe})
				if len(m.Ops) == 1000 {
					c.ok(wire.OpMulti, m, new(wire.MultiResponse))
					m.Ops = m.Ops[:0]
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				c.send(wire.OpGetChildren, &wire.GetChildrenRequest{Path: "/d"})
				c.recv()
			}
		})
	}
}

// What a create costs whose ACL is not the open one, at the face.
func BenchmarkFixupACL(b *testing.B) {
	c := &conn{srv: &Server{}}
	c.who.Store(c.srv.newIdentities(nil))
	for name, acl := range map[string][]wire.ACL{
		"open": wire.OpenACLUnsafe, "read": {allow(1, "world", "anyone")}, "two": {allow(1, "world", "anyone"), allow(31, "digest", "a:b")},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				c.fixupACL(acl)
			}
		})
	}
}
