package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// The order of what is wrong with a create (PrepRequestProcessor): its flags, then its
// time to live, then its path, its ACL, and its parent.
func TestCreateModes(t *testing.T) {
	const longest = wire.MaxTTL
	for _, test := range []struct {
		op           wire.OpCode
		flags        wire.CreateMode
		ttl          int64
		off, on, bad wire.ErrorCode // without and with extended types, and with them and a bad path
	}{
		{wire.OpCreate, 7, 0, wire.BadArguments, wire.BadArguments, wire.BadArguments},
		{wire.OpCreate2, -1, 0, wire.BadArguments, wire.BadArguments, wire.BadArguments},
		{wire.OpCreate, wire.PersistentTTL, 0, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreate2, wire.PersistentSequentialTTL, 0, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateContainer, wire.PersistentTTL, 0, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateContainer, wire.Persistent, 0, wire.OK, wire.OK, wire.BadArguments},
		{wire.OpCreate, wire.Container, 0, wire.OK, wire.OK, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentTTL, 1, wire.Unimplemented, wire.OK, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentSequentialTTL, longest, wire.Unimplemented, wire.OK, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentTTL, 0, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentTTL, -1, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentTTL, longest + 1, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.PersistentTTL, math.MaxInt64, wire.Unimplemented, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.Persistent, 1, wire.BadArguments, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.Container, 0, wire.BadArguments, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, wire.Ephemeral, -1, wire.BadArguments, wire.BadArguments, wire.BadArguments},
		{wire.OpCreateTTL, 7, 1, wire.BadArguments, wire.BadArguments, wire.BadArguments},
	} {
		t.Run(fmt.Sprint(test.op, test.flags, test.ttl), func(t *testing.T) {
			create := func(c *client, path string, acl []wire.ACL) wire.ErrorCode {
				var m message = &wire.CreateRequest{Path: path, ACL: acl, Flags: test.flags}
				if test.op == wire.OpCreateTTL {
					m = &wire.CreateTTLRequest{CreateRequest: *m.(*wire.CreateRequest), TTL: test.ttl}
				}
				return c.call(test.op, m).Err
			}
			off, on := startServer(t).connect(), startServer(t, extended).connect()
			require.Equal(t, test.off, create(off, "/x", wire.OpenACLUnsafe))
			require.Equal(t, test.on, create(on, "/x", wire.OpenACLUnsafe))
			require.Equal(t, test.bad, create(on, "x", nil))
			if test.on == wire.OK {
				require.Equal(t, wire.InvalidACL, create(on, "/none/x", nil))
				require.Equal(t, wire.NoNode, create(on, "/none/x", wire.OpenACLUnsafe))
			}
		})
	}
}

// E1, S1: znodes that may be reaped have children, and no owner that a client sees.
func TestContainersAndTTL(t *testing.T) {
	c := startServer(t, extended).connect()
	var made wire.Create2Response
	c.ok(wire.OpCreateContainer, &wire.CreateRequest{Path: "/c", ACL: wire.OpenACLUnsafe, Flags: wire.Container}, &made)
	require.Equal(t, "/c", made.Path)
	require.Zero(t, made.Stat.EphemeralOwner)
	c.ok(wire.OpCreateTTL, &wire.CreateTTLRequest{
		CreateRequest: wire.CreateRequest{Path: "/t-", ACL: wire.OpenACLUnsafe, Flags: wire.PersistentSequentialTTL}, TTL: wire.MaxTTL,
	}, &made)
	require.Equal(t, "/t-0000000001", made.Path)
	require.Zero(t, made.Stat.EphemeralOwner)
	c.create("/c/child", "", wire.Ephemeral)
	c.create(made.Path+"/child", "", wire.Persistent)
	require.Equal(t, wire.NoChildrenForEphemerals, c.call(wire.OpCreate, &wire.CreateRequest{Path: "/c/child/x", ACL: wire.OpenACLUnsafe}).Err)
}

// M1, M2: a multi may make every kind of znode, and fails with what is wrong with one.
func TestMultiOfKinds(t *testing.T) {
	create := func(op wire.OpCode, path string, flags wire.CreateMode, ttl int64) wire.MultiOp {
		return wire.MultiOp{Op: op, Path: path, ACL: wire.OpenACLUnsafe, Flags: flags, TTL: ttl}
	}
	multi := func(c *client, ops ...wire.MultiOp) []wire.MultiResult {
		var m wire.MultiResponse
		c.ok(wire.OpMulti, &wire.MultiRequest{Ops: ops}, &m)
		return m.Results
	}
	on, off := startServer(t, extended).connect(), startServer(t).connect()
	results := multi(on, create(wire.OpCreateTTL, "/t", wire.PersistentTTL, 5), create(wire.OpCreate, "/c", wire.Container, 0),
		create(wire.OpCreateTTL, "/p", wire.Persistent, 5), create(wire.OpCreate, "/p/e", wire.Ephemeral, 0))
	for i, want := range []wire.OpCode{wire.OpCreate2, wire.OpCreate2, wire.OpCreate, wire.OpCreate} {
		require.Equal(t, want, results[i].Op, "%+v", results[i])
	}
	check := wire.MultiOp{Op: wire.OpCheck, Path: "/", Version: -1}
	failed := func(code wire.ErrorCode) []wire.MultiResult {
		return []wire.MultiResult{{Op: wire.OpError}, {Op: wire.OpError, Err: code}, {Op: wire.OpError, Err: wire.RuntimeInconsistency}}
	}
	for ttl, want := range map[int64]wire.ErrorCode{0: wire.BadArguments, -1: wire.BadArguments, wire.MaxTTL + 1: wire.BadArguments} {
		require.Equal(t, failed(want), multi(on, check, create(wire.OpCreateTTL, "/x", wire.PersistentTTL, ttl), check))
		require.Equal(t, failed(wire.Unimplemented), multi(off, check, create(wire.OpCreateTTL, "/x", wire.PersistentTTL, ttl), check))
	}
	require.Equal(t, failed(wire.InvalidACL), multi(off, check, wire.MultiOp{Op: wire.OpCreate, Path: "/x", ACL: []wire.ACL{}}, check))
	// What fails before it is told instead.
	results = multi(off, wire.MultiOp{Op: wire.OpDelete, Path: "/none", Version: -1}, create(wire.OpCreateTTL, "/x", wire.PersistentTTL, 1))
	require.Equal(t, wire.NoNode, results[0].Err)
	require.Equal(t, wire.RuntimeInconsistency, results[1].Err)
	// Lists are those of who asks.
	on.auth("digest", "u:p")
	multi(on, wire.MultiOp{Op: wire.OpCreate, Path: "/mine", ACL: []wire.ACL{allow(31, "auth", "")}})
	acl, _ := on.getACL("/mine")
	require.Equal(t, []wire.ACL{allow(31, "digest", digestOf)}, acl)
}

// FinalRequestProcessor's multiRead: each read for itself.
func TestMultiRead(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/a", "1", wire.Persistent)
	c.create("/a/b", "", wire.Persistent)
	require.Equal(t, wire.OK, c.createWith("/secret", allow(31, "digest", "a:b")))
	read := func(op wire.OpCode, path string) wire.MultiOp { return wire.MultiOp{Op: op, Path: path, Watch: true} }
	var m wire.MultiResponse
	c.ok(wire.OpMultiRead, &wire.MultiRequest{Ops: []wire.MultiOp{
		read(wire.OpGetData, "/a"), read(wire.OpGetChildren, "/a"), read(wire.OpGetData, "/none"), read(wire.OpGetData, "/secret"),
		read(wire.OpGetChildren, "/secret"), read(wire.OpGetChildren, "no path//"), read(wire.OpGetChildren, "/a/b"),
	}}, &m)
	_, stat := c.get("/a", false)
	require.Equal(t, []wire.MultiResult{
		{Op: wire.OpGetData, Data: []byte("1"), Stat: stat},
		{Op: wire.OpGetChildren, Children: []string{"b"}},
		{Op: wire.OpError, Err: wire.NoNode},
		{Op: wire.OpError, Err: wire.NoAuth},
		{Op: wire.OpError, Err: wire.NoAuth},
		{Op: wire.OpError, Err: wire.NoNode},
		{Op: wire.OpGetChildren, Children: []string{}},
	}, m.Results)
	c.ok(wire.OpMultiRead, &wire.MultiRequest{}, &m)
	require.Empty(t, m.Results)
	c.set("/a", "2") // there are no watches: the reply comes first
	for _, ops := range [][]wire.MultiOp{
		{{Op: wire.OpExists, Path: "/"}}, {{Op: wire.OpGetData, Path: "/"}, {Op: wire.OpCheck, Path: "/"}},
	} {
		require.Equal(t, wire.MarshallingError, c.call(wire.OpMultiRead, &wire.MultiRequest{Ops: ops}).Err)
	}
	xid := c.send(wire.OpMultiRead, &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpDelete, Path: "/a", Version: -1}}})
	r := c.recv()
	require.Equal(t, xid, r.Xid)
	require.Equal(t, wire.MarshallingError, r.Err)
	r.into(t, &m) // ZooKeeper has the end of the results there, in spite of the error
	require.Empty(t, m.Results)
}

// A small request must not make a reply of any size.
func TestMultiReadIsBounded(t *testing.T) {
	c := startServer(t).connect()
	c.create("/big", strings.Repeat("x", 1<<20-100), wire.Persistent)
	m := &wire.MultiRequest{}
	for range maxMultiRead + 3 {
		m.Ops = append(m.Ops, wire.MultiOp{Op: wire.OpGetData, Path: "/big"})
	}
	require.Equal(t, wire.BadArguments, c.call(wire.OpMultiRead, m).Err)
	c.ok(wire.OpPing, nil, nil)
}

func TestGetEphemerals(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/d", "", wire.Persistent)
	for _, path := range []string{"/d/a", "/d/ab", "/e"} {
		c.create(path, "", wire.Ephemeral)
	}
	s.connect().create("/other", "", wire.Ephemeral)
	all := []string{"/d/a", "/d/ab", "/e"}
	for prefix, want := range map[string][]string{
		"": all, "/": all, " / ": all, "\x00/\x1f": all, wire.NullText: all,
		"/d": all[:2], "/d/a": all[:2], "/d/ab": all[1:2], "/d/": all[:2], " /d": {}, "/d ": {}, "d": {}, "/none": {}, "/other": {},
	} {
		body := raw(jute.AppendUstring(nil, prefix))
		if prefix == wire.NullText {
			body = jute.AppendNull(nil)
		}
		var m wire.GetEphemeralsResponse
		c.ok(wire.OpGetEphemerals, body, &m)
		require.Equal(t, want, m.Ephemerals, "%q", prefix)
	}
}

// S5: a fresh tree has three znodes below the root. The empty path counts the root too.
func TestGetAllChildrenNumber(t *testing.T) {
	c := startServer(t).connect()
	number := func(path string) int32 {
		t.Helper()
		var m wire.GetAllChildrenNumberResponse
		c.ok(wire.OpGetAllChildrenNumber, &wire.GetAllChildrenNumberRequest{Path: path}, &m)
		return m.TotalNumber
	}
	require.Equal(t, int32(3), number("/"))
	require.Equal(t, int32(4), number(""))
	require.Equal(t, int32(2), number("/zookeeper"))
	for _, path := range []string{"/a", "/a/b", "/a/b/c", "/a-1", "/ab"} {
		c.create(path, "", wire.Persistent)
	}
	require.Equal(t, int32(8), number("/"))
	require.Equal(t, int32(2), number("/a"))
	require.Equal(t, int32(0), number("/a/b/c"))
	for _, path := range []string{"/none", "/a/", "a"} {
		require.Equal(t, wire.NoNode, c.call(wire.OpGetAllChildrenNumber, &wire.GetAllChildrenNumberRequest{Path: path}).Err, path)
	}
	require.Equal(t, wire.MarshallingError, c.call(wire.OpGetAllChildrenNumber, raw(jute.AppendNull(nil))).Err)
}

// E5: reconfig as a server has it on which it is disabled, or a standalone one.
func TestReconfig(t *testing.T) {
	for enabled, want := range map[bool]wire.ErrorCode{false: wire.ReconfigDisabled, true: wire.Unimplemented} {
		c := startServer(t, func(c *Config) { c.Features.Reconfig = enabled }).connect()
		require.Equal(t, want, c.call(wire.OpReconfig, &wire.ReconfigRequest{JoiningServers: "?", CurConfigID: 7}).Err)
		require.Equal(t, wire.MarshallingError, c.call(wire.OpReconfig, raw{0, 0}).Err)
		data, _ := c.get("/zookeeper/config", false)
		require.Empty(t, data)
		acl, _ := c.getACL("/zookeeper/config")
		require.Equal(t, []wire.ACL{allow(1, "world", "anyone")}, acl)
		require.Equal(t, wire.NoAuth, c.call(wire.OpSetData, &wire.SetDataRequest{Path: "/zookeeper/config", Version: -1}).Err)
	}
}

// Z7: what a sync names is nobody's business, and comes back.
func TestSyncAnswersWhatItWasAsked(t *testing.T) {
	c := startServer(t).connect()
	for _, path := range []string{"", "a//", "/none", "/\x00", wire.NullText} {
		m := &wire.SyncRequest{Path: path}
		require.Equal(t, m.Append(nil), c.call(wire.OpSync, m).body, "%q", path)
	}
}

// Z1, Z2, Z3: a write takes one zxid, which its reply and the znode show; what fails
// takes none.
func TestZxids(t *testing.T) {
	c := startServer(t).connect()
	var made wire.Create2Response
	create := func(path string) reply {
		return c.ok(wire.OpCreate2, &wire.CreateRequest{Path: path, ACL: wire.OpenACLUnsafe}, &made)
	}
	first := create("/a")
	require.Equal(t, first.Zxid, made.Stat.Czxid)
	for i, test := range []struct {
		op   wire.OpCode
		body message
	}{
		{wire.OpSetData, &wire.SetDataRequest{Path: "/a", Version: -1}},
		{wire.OpSetACL, &wire.SetACLRequest{Path: "/a", ACL: wire.OpenACLUnsafe, Version: -1}},
		{wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCreate, Path: "/b", ACL: wire.OpenACLUnsafe}, {Op: wire.OpDelete, Path: "/b", Version: -1}}}},
	} {
		for _, failing := range []message{
			&wire.DeleteRequest{Path: "/none", Version: -1}, &wire.DeleteRequest{Path: "none", Version: -1}, &wire.DeleteRequest{Path: "/a", Version: 9},
		} {
			require.NotEqual(t, wire.OK, c.call(wire.OpDelete, failing).Err)
		}
		r := c.call(test.op, test.body)
		require.Equal(t, wire.OK, r.Err)
		require.Equal(t, first.Zxid+int64(i)+1, r.Zxid)
		require.Equal(t, r.Zxid, c.call(wire.OpExists, &wire.ReadRequest{Path: "/a"}).Zxid)
	}
}

// S3, S4: a number makes a name of its own; no data is not empty data; any version.
func TestNamesDataAndVersions(t *testing.T) {
	c := startServer(t).connect()
	c.create("/a", "", wire.Persistent)
	require.Equal(t, "/a/0000000000", c.create("/a/", "", wire.PersistentSequential))
	require.Equal(t, wire.BadArguments, c.createWith("/a/", open))
	require.Equal(t, wire.NoNode, c.createWith("/none/", open))
	for _, data := range [][]byte{nil, {}} {
		c.ok(wire.OpSetData, &wire.SetDataRequest{Path: "/a", Data: data, Version: -1}, new(wire.SetDataResponse))
		var m wire.GetDataResponse
		c.ok(wire.OpGetData, &wire.GetDataRequest{Path: "/a"}, &m)
		require.Equal(t, data, m.Data)
		require.Zero(t, m.Stat.DataLength)
	}
	require.Equal(t, wire.BadVersion, c.setACL("/a", 1, open))
	require.Equal(t, wire.OK, c.setACL("/a", 0, open))
	_, stat := c.getACL("/a")
	require.Equal(t, [2]int32{2, 1}, [2]int32{stat.Version, stat.Aversion})
}

// A reply that a Java client would refuse, and then ask for for ever, is told of: once,
// not at every try.
func TestOversizedRepliesAreToldOf(t *testing.T) {
	var log bytes.Buffer
	s := startServer(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	c := s.connect()
	c.create("/list", "", wire.Persistent)
	name := strings.Repeat("n", 20_000)
	for i := range 55 {
		c.create(fmt.Sprintf("/list/%s%d", name, i), "", wire.Persistent)
	}
	require.Nil(t, s.face.stats.oversizes.figures())
	var size int
	for range 3 {
		size = len(c.call(wire.OpGetChildren, &wire.ReadRequest{Path: "/list"}).body) + 16
		require.Greater(t, size, clientMaxFrame)
	}
	c.ok(wire.OpPing, nil, nil)
	figures := s.face.stats.oversizes.figures()
	require.Equal(t, float64(3), figures[0].value)
	require.Equal(t, float64(size), figures[1].value)
	require.NoError(t, s.face.Shutdown(s.ctx()))
	require.Equal(t, 1, strings.Count(log.String(), "jute.maxbuffer"), log.String())
	require.Contains(t, log.String(), fmt.Sprintf("path=/list op=getChildren bytes=%d limit=1048575 session=%s", size, sessionID(core.LeaseID(c.session.SessionID))))
}

// The limits of connections: of one address, and of all (maxClientCnxns, maxCnxns).
func TestConnectionsOfAll(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.MaxConns = 2 })
	first, second := s.connect(), s.connect()
	s.dial().gone()
	require.NoError(t, first.nc.Close())
	require.Eventually(t, func() bool { return s.face.stats.connections.Load() == 1 }, patience, time.Millisecond)
	s.connect().ok(wire.OpPing, nil, nil)
	second.ok(wire.OpPing, nil, nil)
}

// What may take long to read is written at once: a client may ask for it many times, and
// waits for the first.
func TestLongReadsAreAnsweredOneByOne(t *testing.T) {
	s := startServer(t)
	ours, theirs := net.Pipe()
	s.face.start(theirs)
	c := &client{TB: t, nc: ours}
	t.Cleanup(func() { _ = ours.Close() })
	c.hello(wire.ConnectRequest{TimeOut: 5000})
	var many []byte
	for range 3 {
		many = append(many, c.request(wire.OpGetAllChildrenNumber, &wire.GetAllChildrenNumberRequest{Path: "/zookeeper"})...)
	}
	c.write(many)
	packet := make([]byte, 4096)
	for range 3 {
		n, err := ours.Read(packet) // one write of the server's
		require.NoError(t, err)
		require.EqualValues(t, n-jute.FrameHeader, binary.BigEndian.Uint32(packet))
	}
}
