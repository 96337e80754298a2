package zk

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

func TestHandshakeMirrorsReadOnly(t *testing.T) {
	s := startServer(t)
	for _, has := range []bool{false, true} {
		c := s.dial()
		c.write(framed((&wire.ConnectRequest{TimeOut: 5000, Password: make([]byte, 16), HasReadOnly: has}).Append))
		frame, err := c.frame()
		require.NoError(t, err)
		want := 36
		if has {
			want = 37
		}
		require.Len(t, frame, want)
	}
}

// N1: between 2 and 20 ticks.
func TestTimeoutIsNegotiated(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.MaxSession = 0 }) // a tick of 500 ms
	for asked, granted := range map[int32]int32{0: 1000, -5: 1000, 999: 1000, 4000: 4000, 10001: 10000, 1 << 30: 10000} {
		c := s.dial()
		c.hello(wire.ConnectRequest{TimeOut: asked})
		require.Equal(t, granted, c.session.TimeOut)
	}
}

// N7, N3: ids are positive, passwords cannot be told from them.
func TestSessionIsNewEachTime(t *testing.T) {
	s := startServer(t)
	a, b := s.connect(), s.connect()
	require.Positive(t, a.session.SessionID)
	require.NotEqual(t, a.session.SessionID, b.session.SessionID)
	require.NotEqual(t, a.session.Password, b.session.Password)
	require.Len(t, a.session.Password, 16)
}

// N3: the reply is of zeros, the connection closed and the session as it was.
func TestUnknownSessionIsAnsweredWithZeros(t *testing.T) {
	s := startServer(t)
	owner := s.connect()
	for name, m := range map[string]wire.ConnectRequest{
		"unknown":        {SessionID: 12345, Password: make([]byte, 16)},
		"negative":       {SessionID: -1, Password: make([]byte, 16)},
		"wrong password": {SessionID: owner.session.SessionID, Password: make([]byte, 16)},
		"short password": {SessionID: owner.session.SessionID, Password: owner.session.Password[:15]},
		"long password":  {SessionID: owner.session.SessionID, Password: append(owner.session.Password[:16:16], 0)},
		"no password":    {SessionID: owner.session.SessionID},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			m.TimeOut, m.HasReadOnly = 5000, true
			c.hello(m)
			require.Equal(t, wire.ConnectResponse{Password: make([]byte, 16), HasReadOnly: true}, c.session)
			c.gone()
			owner.ok(wire.OpPing, nil, nil)
		})
	}
}

// N4: the old connection of the session is closed first, and may not write.
func TestReattachClosesTheOldConnection(t *testing.T) {
	s := startServer(t)
	old := s.connect()
	old.create("/e", "", wire.Ephemeral)
	next := s.dial()
	next.hello(wire.ConnectRequest{TimeOut: 3000, SessionID: old.session.SessionID, Password: old.session.Password})
	require.Equal(t, old.session.SessionID, next.session.SessionID)
	require.Equal(t, old.session.Password, next.session.Password)
	require.Equal(t, int32(3000), next.session.TimeOut)
	old.gone()
	_, stat := next.get("/e", false)
	require.Equal(t, old.session.SessionID, stat.EphemeralOwner)
}

// Z6: it is closed in silence.
func TestClientThatHasSeenMoreIsClosed(t *testing.T) {
	s := startServer(t)
	c := s.dial()
	c.write(framed((&wire.ConnectRequest{TimeOut: 5000, LastZxidSeen: 1 << 40}).Append))
	c.gone()
}

// N9: what comes behind a ConnectRequest waits for its session.
func TestRequestsBehindTheHandshakeWait(t *testing.T) {
	c := startServer(t).dial()
	b := framed((&wire.ConnectRequest{TimeOut: 5000}).Append)
	c.write(append(b, c.request(wire.OpPing, nil)...))
	_, err := c.frame()
	require.NoError(t, err)
	require.Equal(t, wire.OK, c.recv().Err)
}

func TestCloseSessionDeletesEphemeralsAndCloses(t *testing.T) {
	s := startServer(t)
	c, other := s.connect(), s.connect()
	c.create("/e", "", wire.Ephemeral)
	require.Equal(t, wire.OK, other.exists("/e", true))
	c.ok(wire.OpCloseSession, nil, nil)
	c.gone()
	require.Equal(t, wire.WatcherEvent{Type: wire.EventNodeDeleted, State: wire.StateSyncConnected, Path: "/e"}, other.recv().event(t))
	require.Equal(t, wire.NoNode, other.exists("/e", false))
	again := s.dial()
	again.hello(wire.ConnectRequest{TimeOut: 5000, SessionID: c.session.SessionID, Password: c.session.Password})
	require.Zero(t, again.session.SessionID)
}

// A session lives as long as packets come, and its connection is closed when it
// expires.
func TestSessionExpires(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.Tick = 100 * time.Millisecond })
	silent, lively := s.dial(), s.dial()
	silent.hello(wire.ConnectRequest{TimeOut: 200})
	lively.hello(wire.ConnectRequest{TimeOut: 600})
	silent.create("/e", "", wire.Ephemeral)
	lively.create("/f", "", wire.Ephemeral)
	require.Equal(t, wire.OK, lively.exists("/e", true))
	pings := 0
	for deadline := time.Now().Add(patience); ; pings++ {
		require.True(t, time.Now().Before(deadline))
		lively.send(wire.OpPing, nil)
		if r := lively.recv(); r.Xid == wire.XidEvent {
			require.Equal(t, wire.EventNodeDeleted, r.event(t).Type)
			break
		}
	}
	require.Positive(t, pings)
	lively.recv() // the reply of the last ping
	silent.gone()
	_, stat := lively.get("/f", false)
	require.Equal(t, lively.session.SessionID, stat.EphemeralOwner)
}

// X6: whoever revokes the lease of a session ends it.
func TestRevokedSessionIsClosed(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	_, err := s.node.Do(s.ctx(), core.Principal{}, &core.LeaseRevoke{ID: core.LeaseID(c.session.SessionID)})
	require.NoError(t, err)
	c.gone()
}

func TestSilentConnectionIsClosed(t *testing.T) {
	s := startServer(t, func(c *Config) { c.handshake = 50 * time.Millisecond })
	for name, sent := range map[string][]byte{"nothing": nil, "half a length": {0, 0}, "half a frame": {0, 0, 0, 44, 0}} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.write(sent)
			c.gone()
		})
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Limits.MaxPerIP = 2 })
	a := s.connect()
	s.connect()
	s.dial().gone()
	a.ok(wire.OpCloseSession, nil, nil)
	a.gone()
	require.Eventually(t, func() bool { return s.face.stats.connections.Load() == 1 }, patience, time.Millisecond)
	s.connect()
}
