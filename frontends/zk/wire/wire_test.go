package wire_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// FuzzDecode reads any bytes as any message: it never panics and never allocates
// much more than there are bytes; and what it reads without an error, it writes
// so that it reads the same again.
func FuzzDecode(f *testing.F) {
	makers := all()
	for i, makeOne := range makers {
		f.Add(byte(i), makeOne().Append(nil))
		f.Add(byte(i), []byte("\x00\x00\x00\x02/a\x7f\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x01"))
		f.Add(byte(i), []byte("\x3f\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x01"))
	}
	for _, seed := range []message{
		&wire.SyncRequest{Path: wire.NullText},
		&wire.SetACLRequest{Path: "/a", ACL: []wire.ACL{{Perms: 31, Scheme: "ip", ID: wire.NullText}}},
		&wire.MultiRequest{Ops: []wire.MultiOp{
			{Op: wire.OpCreateTTL, Path: "/a", Flags: wire.PersistentTTL, TTL: wire.MaxTTL},
			{Op: wire.OpCreate, Path: "/a", ACL: wire.OpenACLUnsafe, Flags: wire.Container},
		}},
		&wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpGetData, Path: "/a"}, {Op: wire.OpGetChildren, Path: "/", Watch: true}}},
		&wire.MultiResponse{Results: []wire.MultiResult{{Op: wire.OpGetChildren, Children: []string{"a"}}, {Op: wire.OpError, Err: wire.NoAuth}}},
		&wire.WhoAmIResponse{ClientInfo: []wire.ClientInfo{{Scheme: "ip", User: "127.0.0.1"}}},
	} {
		for which := range makers { // any decoder may meet any message
			f.Add(byte(which), seed.Append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		makeOne := makers[int(which)%len(makers)]
		m := makeOne()
		r := jute.NewReader(b)
		before := allocated()
		m.Decode(&r)
		// The largest of our types to its fewest bytes; and what others allocate.
		const factor, others = 64, 1 << 20
		require.Less(t, allocated()-before, uint64(factor*len(b)+others))
		if r.Err() != nil {
			return
		}
		b = m.Append(nil)
		again := makeOne()
		r = jute.NewReader(b)
		again.Decode(&r)
		require.NoError(t, r.Err())
		require.Empty(t, r.Rest())
		require.Equal(t, m, again)
	})
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// Null is told from the empty text where ZooKeeper tells them apart.
func TestNullText(t *testing.T) {
	for _, text := range []string{"", "x", wire.NullText} {
		acl := wire.SetACLRequest{Path: "/a", ACL: []wire.ACL{{Perms: 1, Scheme: "digest", ID: text}}}
		var gotACL wire.SetACLRequest
		r := jute.NewReader(acl.Append(nil))
		gotACL.Decode(&r)
		require.NoError(t, r.Err())
		require.Equal(t, acl, gotACL)
		sync, gotSync := wire.SyncRequest{Path: text}, wire.SyncRequest{}
		r = jute.NewReader(sync.Append(nil))
		gotSync.Decode(&r)
		require.NoError(t, r.Err())
		require.Equal(t, sync, gotSync)
	}
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, (&wire.SyncRequest{Path: wire.NullText}).Append(nil))
}

// TestNullPaths: seen on ZooKeeper 3.9.5. The paths without which ZooKeeper ends with a
// MarshallingError, and those that it takes for illegal or unknown ones.
func TestNullPaths(t *testing.T) {
	refused := map[wire.OpCode]bool{
		wire.OpCreate: true, wire.OpCreate2: true, wire.OpCreateContainer: true, wire.OpCreateTTL: true,
		wire.OpDelete: true, wire.OpExists: true, wire.OpGetData: true, wire.OpGetACL: true,
		wire.OpGetChildren: true, wire.OpGetChildren2: true, wire.OpGetAllChildrenNumber: true,
		wire.OpSetWatches: true, wire.OpSetWatches2: true,
	}
	for op, e := range exchanges {
		if e.request == nil {
			continue
		}
		null := jute.AppendNull(make([]byte, 0, 64))
		if op == wire.OpSetWatches || op == wire.OpSetWatches2 {
			null = jute.AppendNull(jute.AppendInt64(nil, 1))
		}
		r := jute.NewReader(append(null, make([]byte, 32)...))
		e.request().Decode(&r)
		if refused[op] {
			require.ErrorIs(t, r.Err(), jute.ErrNull, op.String())
		} else {
			require.NotErrorIs(t, r.Err(), jute.ErrNull, op.String())
		}
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "getChildren2", wire.OpGetChildren2.String())
	require.Equal(t, "500", wire.OpCode(500).String())
	require.Equal(t, "NoNode", wire.NoNode.String())
	require.Equal(t, "-99", wire.ErrorCode(-99).String())
	require.EqualError(t, wire.BadVersion, "zookeeper: BadVersion")
	for op := range exchanges {
		require.NotRegexp(t, `^-?\d`, op.String())
	}
}

func TestModes(t *testing.T) {
	type traits struct{ valid, ephemeral, sequential, ttl bool }
	for mode, want := range map[wire.CreateMode]traits{
		-1:                           {},
		wire.Persistent:              {valid: true},
		wire.Ephemeral:               {valid: true, ephemeral: true},
		wire.PersistentSequential:    {valid: true, sequential: true},
		wire.EphemeralSequential:     {valid: true, ephemeral: true, sequential: true},
		wire.Container:               {valid: true},
		wire.PersistentTTL:           {valid: true, ttl: true},
		wire.PersistentSequentialTTL: {valid: true, sequential: true, ttl: true},
		7:                            {},
	} {
		require.Equal(t, want, traits{mode.Valid(), mode.Ephemeral(), mode.Sequential(), mode.TTL()}, "mode %d", mode)
	}
	require.True(t, wire.WatcherChildren.Valid() && wire.WatcherPersistentRecursive.Valid())
	require.False(t, wire.WatcherType(0).Valid() || wire.WatcherType(6).Valid())
	require.True(t, wire.AddPersistent.Valid() && wire.AddPersistentRecursive.Valid())
	require.False(t, wire.AddWatchMode(2).Valid() || wire.AddWatchMode(-1).Valid())
}

// TestAllocations: writing never allocates, and reading what servers read all day
// only for the path.
func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, 1<<12)
	for name, m := range samples() {
		require.Zero(t, testing.AllocsPerRun(100, func() { dst = m.Append(dst[:0]) }), name)
	}
	for name, allocs := range map[string]float64{
		"RequestHeader": 0, "ReplyHeader": 0, "GetDataRequest": 1, "SetDataRequest": 1, "CreateRequest": 1,
		"GetDataResponse": 0, "StatResponse": 0,
	} {
		m := samples()[name]
		b := m.Append(nil)
		var r jute.Reader // it escapes, because of the interface
		require.Equal(t, allocs, testing.AllocsPerRun(100, func() {
			r = jute.NewReader(b)
			m.Decode(&r)
		}), name)
	}
}

// samples are messages of a usual size.
func samples() map[string]message {
	path, data := "/services/api/member-0000000042", make([]byte, 256)
	stat := wire.Stat{Czxid: 1 << 33, Mzxid: 1 << 34, Version: 3, DataLength: 256}
	return map[string]message{
		"RequestHeader":       &wire.RequestHeader{Xid: 7, Op: wire.OpGetData},
		"ReplyHeader":         &wire.ReplyHeader{Xid: 7, Zxid: 1 << 34},
		"GetDataRequest":      &wire.GetDataRequest{Path: path, Watch: true},
		"SetDataRequest":      &wire.SetDataRequest{Path: path, Data: data, Version: -1},
		"CreateRequest":       &wire.CreateRequest{Path: path, Data: data, ACL: wire.OpenACLUnsafe},
		"GetDataResponse":     &wire.GetDataResponse{Data: data, Stat: stat},
		"StatResponse":        &wire.StatResponse{Stat: stat},
		"GetChildrenResponse": &wire.GetChildrenResponse{Children: []string{"a", "b", "c", "d"}},
		"WatcherEvent":        &wire.WatcherEvent{Type: wire.EventNodeCreated, State: wire.StateSyncConnected, Path: path},
		"MultiRequest": &wire.MultiRequest{Ops: []wire.MultiOp{
			{Op: wire.OpCheck, Path: path, Version: 3}, {Op: wire.OpSetData, Path: path, Data: data, Version: 3},
		}},
	}
}

// Encodings and decodings of what a server sees most, with allocations.
func BenchmarkAppend(b *testing.B) {
	for name, m := range samples() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = m.Append(dst[:0])
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, m := range samples() {
		body := m.Append(nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var r jute.Reader
			for b.Loop() {
				r = jute.NewReader(body)
				m.Decode(&r)
			}
		})
	}
}
