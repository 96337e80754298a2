package zk

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// losable is a cluster whose leader can be lost.
type losable struct {
	core.Cluster
	lost *atomic.Bool
}

func (l losable) Self() core.Self {
	self := l.Cluster.Self()
	if l.lost.Load() {
		self.Leader = 0
	}
	return self
}

// startLosable starts a server in whose configuration read-only mode is enabled.
func startLosable(t *testing.T, grace time.Duration) (*server, *atomic.Bool) {
	lost := new(atomic.Bool)
	return startServer(t, allWords, func(c *Config) {
		c.Cluster = losable{c.Cluster, lost}
		c.Features.ReadOnly = true
		c.readOnlyGrace = grace
	}), lost
}

func (s *server) until(word, answer string) {
	s.Helper()
	require.Eventually(s, func() bool { return s.word(word) == answer }, patience, 5*time.Millisecond)
}

// The section "Read-only mode" of the reference. A real 3.9.5, one of two members, with
// readonlymode.enabled and localSessionsEnabled, answered the same to each request here
// when it was asked by hand; but a renewal that is refused gets zeros from it.
func TestReadOnlyMode(t *testing.T) {
	s, lost := startLosable(t, time.Millisecond)
	before := s.connect()
	before.create("/a", "data", wire.Persistent)
	before.create("/a/b", "", wire.Persistent)

	lost.Store(true)
	before.gone()
	s.until("isro", "ro")
	srvr := s.word("srvr")
	require.Contains(t, srvr, " UTC\nREAD-ONLY mode; serving only read-only clients\nLatency ")
	require.Contains(t, srvr, "\nMode: read-only\n")

	refused := s.dial()
	refused.write(framed((&wire.ConnectRequest{TimeOut: 5000, HasReadOnly: true}).Append))
	refused.gone()
	renewing := s.dial()
	renewing.write(framed((&wire.ConnectRequest{
		TimeOut: 5000, SessionID: before.session.SessionID, Password: before.session.Password, ReadOnly: true, HasReadOnly: true,
	}).Append))
	renewing.gone()

	c := s.dial()
	c.hello(wire.ConnectRequest{TimeOut: 5000, ReadOnly: true, HasReadOnly: true})
	require.NotZero(t, c.session.SessionID)
	require.True(t, c.session.ReadOnly)
	require.EqualValues(t, 5000, c.session.TimeOut)
	data, _ := c.get("/a", true)
	require.Equal(t, "data", data)
	require.Equal(t, []string{"b"}, c.children("/a", false))
	require.Equal(t, wire.NoNode, c.exists("/none", true))
	c.ok(wire.OpPing, nil, nil)
	for op, m := range map[wire.OpCode]message{
		wire.OpGetACL: &wire.GetACLRequest{Path: "/a"}, wire.OpGetEphemerals: &wire.GetEphemeralsRequest{PrefixPath: "/"},
		wire.OpGetAllChildrenNumber: &wire.GetAllChildrenNumberRequest{Path: "/"}, wire.OpWhoAmI: nil, wire.OpMultiRead: &wire.MultiRequest{},
		wire.OpGetChildren2: &wire.GetChildren2Request{Path: "/a"},
	} {
		require.Equal(t, wire.OK, c.call(op, m).Err, "%v", op)
	}
	c.watchRecursively("/a")
	c.refusesToWrite()
	require.Contains(t, s.word("mntr"), "zk_local_sessions\t1\n")
	require.Contains(t, s.word("mntr"), "zk_server_state\tread-only\n")
	require.Contains(t, s.admin(AdminConfig{}).ask("GET", "/commands/isro", "-").Body.String(), `"read_only" : true`)

	s.renewsLocally()

	lost.Store(false)
	c.gone()
	s.until("isro", "rw")
	again := s.dial()
	again.hello(wire.ConnectRequest{
		TimeOut: 5000, SessionID: before.session.SessionID, Password: before.session.Password, ReadOnly: true, HasReadOnly: true,
	})
	require.Equal(t, before.session.SessionID, again.session.SessionID, "the session went on")
	require.False(t, again.session.ReadOnly)
	again.set("/a", "written")
	s.until("ruok", "imok")
	require.Contains(t, s.word("mntr"), "zk_local_sessions\t0\n")
}

// refusesToWrite requires that all that needs a leader is refused.
func (c *client) refusesToWrite() {
	c.Helper()
	for op, m := range map[wire.OpCode]message{
		wire.OpCreate:          &wire.CreateRequest{Path: "/x", ACL: wire.OpenACLUnsafe},
		wire.OpCreate2:         &wire.CreateRequest{Path: "/x", ACL: wire.OpenACLUnsafe},
		wire.OpCreateContainer: &wire.CreateRequest{Path: "/x", ACL: wire.OpenACLUnsafe, Flags: wire.Container},
		wire.OpDelete:          &wire.DeleteRequest{Path: "/a", Version: -1},
		wire.OpSetData:         &wire.SetDataRequest{Path: "/a", Version: -1},
		wire.OpMulti:           &wire.MultiRequest{},
		wire.OpSync:            &wire.SyncRequest{Path: "/"},
		wire.OpSetACL:          &wire.SetACLRequest{Path: "/", ACL: wire.OpenACLUnsafe, Version: -1},
		wire.OpCreateTTL:       appender(func(dst []byte) []byte { return dst }), // not even decoded
		wire.OpReconfig:        appender(func(dst []byte) []byte { return dst }),
	} {
		require.Equal(c, wire.NotReadOnly, c.call(op, m).Err, "%v", op)
	}
}

// renewsLocally requires that a local session can be renewed, by who knows its password.
func (s *server) renewsLocally() {
	s.Helper()
	other := s.dial()
	other.hello(wire.ConnectRequest{TimeOut: 5000, ReadOnly: true, HasReadOnly: true})
	named := wire.ConnectRequest{
		TimeOut: 5000, SessionID: other.session.SessionID, Password: other.session.Password, ReadOnly: true, HasReadOnly: true,
	}
	moved := s.dial()
	moved.hello(named)
	require.Equal(s, other.session.SessionID, moved.session.SessionID, "a local session can be renewed where it is")
	other.gone()
	named.Password = make([]byte, wire.PasswordSize)
	wrong := s.dial()
	wrong.write(framed(named.Append))
	wrong.gone()
	other = moved
	other.ok(wire.OpCloseSession, nil, nil)
	other.gone()
}

// A session of a client that only reads runs out, too.
func TestReadOnlySessionsRunOut(t *testing.T) {
	s, lost := startLosable(t, time.Millisecond)
	lost.Store(true)
	s.until("isro", "ro")
	c := s.dial()
	c.hello(wire.ConnectRequest{TimeOut: 1, ReadOnly: true, HasReadOnly: true})
	require.EqualValues(t, 1000, c.session.TimeOut)
	c.ok(wire.OpPing, nil, nil)
	c.gone()
}

// A leader that is away for less than the grace disturbs nobody.
func TestAShortLossIsNone(t *testing.T) {
	s, lost := startLosable(t, time.Hour)
	c := s.connect()
	lost.Store(true)
	s.until("isro", "null")
	c.get("/", false)
	lost.Store(false)
	s.until("isro", "rw")
	c.get("/", false)
}
