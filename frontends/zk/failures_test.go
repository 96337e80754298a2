package zk

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// recorder is a log that a test reads.
type recorder struct {
	mu    sync.Mutex
	lines []line
}

// line is a line of the log at info or above.
type line struct {
	level slog.Level
	text  string
	about map[string]string
}

func (r *recorder) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	l := line{record.Level, record.Message, map[string]string{}}
	record.Attrs(func(a slog.Attr) bool {
		l.about[a.Key] = a.Value.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorder) WithGroup(string) slog.Handler      { return r }

// of waits for a line of some kind, and returns all of that kind.
func (r *recorder) of(t *testing.T, kind string) (all []line) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		all = nil
		for _, l := range r.lines {
			if l.text == kind {
				all = append(all, l)
			}
		}
		return len(all) > 0
	}, patience, time.Millisecond, "%s", kind)
	return all
}

// What a client does wrong is told of once, however often it tries: who, which session,
// and why, and no secret.
func TestFailuresAreLogged(t *testing.T) {
	secret := []byte("s3cret-of-a-session"[:wire.PasswordSize])
	tooLongHead := binary.BigEndian.AppendUint32(nil, wire.MaxFrame+1)
	for kind, test := range map[string]struct {
		fail  func(s *server, victim *client)
		level slog.Level
		about map[string]string // "client" is there anyway
	}{
		clientAhead: {func(s *server, _ *client) {
			c := s.dial()
			c.write(framed((&wire.ConnectRequest{TimeOut: 5000, LastZxidSeen: 1 << 40, Password: secret}).Append))
			c.gone()
		}, slog.LevelWarn, nil},
		wrongPassword: {func(s *server, victim *client) {
			s.dial().hello(wire.ConnectRequest{TimeOut: 5000, SessionID: victim.session.SessionID, Password: secret})
		}, slog.LevelWarn, map[string]string{"session": "victim"}},
		sessionUnknown: {func(s *server, _ *client) {
			s.dial().hello(wire.ConnectRequest{TimeOut: 5000, SessionID: 0xabc, Password: secret})
		}, slog.LevelInfo, map[string]string{"session": "0xabc"}},
		frameTooLong: {func(_ *server, victim *client) {
			victim.write(tooLongHead)
			victim.gone()
		}, slog.LevelWarn, map[string]string{
			"session": "victim", "reason": "the length of a frame is out of range: 1048576 bytes, and jute.maxbuffer is 1048575",
		}},
		authRefused: {func(_ *server, victim *client) {
			victim.send(wire.OpAuth, &wire.AuthPacket{Scheme: "kerberos", Auth: secret})
			victim.recv()
			victim.gone()
		}, slog.LevelWarn, map[string]string{"session": "victim", "scheme": "kerberos", "reason": "the scheme is not served"}},
		unknownOpcode: {func(_ *server, victim *client) {
			victim.send(wire.OpCode(999), nil)
			victim.recv()
			victim.gone()
		}, slog.LevelWarn, map[string]string{"session": "victim", "opcode": "999"}},
		badRequest: {func(_ *server, victim *client) {
			victim.write(framed(raw("half").Append))
			victim.gone()
		}, slog.LevelWarn, map[string]string{"session": "victim", "reason": "message is cut short"}},
		noZooKeeper: {func(s *server, _ *client) {
			c := s.dial()
			c.write([]byte("GET / HTTP/1.1\r\n\r\n"))
			c.gone()
		}, slog.LevelWarn, map[string]string{"looks_like": "HTTP"}},
	} {
		t.Run(kind, func(t *testing.T) {
			log := &recorder{}
			s := startServer(t, func(c *Config) { c.Logger = slog.New(log) })
			var victims []string
			for range 3 {
				victim := s.connect()
				victims = append(victims, sessionID(core.LeaseID(victim.session.SessionID)))
				test.fail(s, victim)
			}
			all := log.of(t, kind)
			require.Len(t, all, 1, "once, however often")
			require.Equal(t, test.level, all[0].level)
			require.Contains(t, all[0].about["client"], "127.0.0.1:")
			for key, want := range test.about {
				if want == "victim" {
					// Which one: a connection is closed before there is a line of it, and by
					// then the next may have failed.
					require.Contains(t, victims, all[0].about[key], key)
					continue
				}
				require.Equal(t, want, all[0].about[key], key)
			}
			for _, value := range all[0].about {
				require.NotContains(t, value, string(secret))
			}
		})
	}
}

func TestConnectionsRefusedAreLogged(t *testing.T) {
	for kind, limits := range map[string]Limits{tooManyOfOne: {MaxPerIP: 1}, tooManyOfAll: {MaxConns: 1}} {
		log := &recorder{}
		s := startServer(t, func(c *Config) {
			c.Logger, c.Limits.MaxPerIP, c.Limits.MaxConns = slog.New(log), limits.MaxPerIP, limits.MaxConns
		})
		s.connect()
		for range 500 {
			s.dial().gone()
		}
		require.Len(t, log.of(t, kind), 1)
		failures := &s.face.stats.failures
		about := failure{kind, "127.0.0.1"}
		require.Eventually(t, func() bool { // a connection is closed before there is a line of it
			failures.mu.Lock()
			defer failures.mu.Unlock()
			return failures.told[about].left == 499
		}, patience, time.Millisecond)
		failures.mu.Lock()
		failures.told[about] = spared{failures.told[about].at - sparingPause, 499} // a minute passes
		failures.mu.Unlock()
		s.dial().gone()
		require.Eventually(t, func() bool { return len(log.of(t, kind)) == 2 }, patience, time.Millisecond)
		again := log.of(t, kind)
		require.Equal(t, "499", again[len(again)-1].about["left_out"])
	}
}

// A probe that sends nothing, and one that speaks TLS.
func TestStrangers(t *testing.T) {
	log := &recorder{}
	s := startServer(t, func(c *Config) { c.Logger = slog.New(log) })
	for range 10 {
		require.NoError(t, s.dial().nc.Close())
	}
	c := s.dial()
	c.write([]byte{0x16, 3, 1, 2, 0, 1})
	c.gone()
	all := log.of(t, noZooKeeper)
	require.Equal(t, "TLS", all[0].about["looks_like"])
	require.Len(t, log.lines, 1)
	require.Equal(t, "HTTP/2 or gRPC", guess([]byte("PRI ")))
	require.Equal(t, "unknown", guess([]byte{1, 2, 3, 4}))
	require.Equal(t, 64+len("..."), len(shortened(string(make([]byte, 1000)))))
}
