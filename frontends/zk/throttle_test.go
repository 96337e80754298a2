package zk

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// full is a store that has no room for the next writes.
type full struct {
	core.Store
	refusals atomic.Int64
}

func (f *full) Lane() core.Lane { return fullLane{f, f.Store.Lane()} }

type fullLane struct {
	f *full
	core.Lane
}

func (l fullLane) Submit(who core.Principal, cmd core.Command) core.Pending {
	if l.f.refusals.Add(-1) >= 0 {
		return failed{core.TooManyRequests}
	}
	return l.Lane.Submit(who, cmd)
}

// A write that the store has no room for waits, and what is behind it too.
func TestFullStoreHoldsUpTheClient(t *testing.T) {
	store := new(full)
	s := startServer(t, func(c *Config) {
		store.Store = c.Store
		c.Store = store
	})
	c := s.connect()
	c.create("/a", "", wire.Persistent)
	store.refusals.Store(3)
	first := c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Data: []byte("1"), Version: 0})
	second := c.request(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Data: []byte("2"), Version: 1})
	c.write(append(first, second...))
	require.Equal(t, wire.OK, c.recv().Err)
	require.Equal(t, wire.OK, c.recv().Err)
	data, _ := c.get("/a", false)
	require.Equal(t, "2", data)
	require.Negative(t, store.refusals.Load())

	short := s.dial()
	short.hello(wire.ConnectRequest{TimeOut: 1000})
	store.refusals.Store(1 << 30)
	require.Equal(t, wire.ThrottledOp, short.call(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: -1}).Err)
	store.refusals.Store(0)
	short.set("/a", "3")
}
