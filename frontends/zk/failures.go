package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"unicode/utf8"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// failure is what a line of the log is about that clients' failures have: at most one a
// minute of a kind and an address, however many clients there fail.
type failure struct{ kind, address string }

// The kinds of failures, as the log names them. ZooKeeper 3.9 logs each, at info or warn.
const (
	tooManyOfOne    = "a zookeeper client is refused: its address has as many connections as maxClientCnxns allows"
	tooManyOfAll    = "a zookeeper client is refused: there are as many connections as maxCnxns allows"
	noZooKeeper     = "what connected to the zookeeper port does not speak its protocol"
	frameTooLong    = "a zookeeper client sent a longer frame than jute.maxbuffer allows, or no frame, and is closed"
	clientAhead     = "a zookeeper client is refused: it has seen a later zxid than this server, as of other data or of another cluster; it tries again for ever"
	wrongPassword   = "a zookeeper client is refused: it names a session and not its password"
	sessionUnknown  = "a zookeeper client is told that its session has expired"
	handshakeFailed = "a zookeeper client got no session"
	badRequest      = "a zookeeper client sent what makes no sense, and is closed"
	unknownOpcode   = "a zookeeper client asked for an operation that there is not, and is closed"
	authRefused     = "a zookeeper client failed to authenticate, and is closed"
	saslRefused     = "a zookeeper client failed to authenticate by SASL"
	authRequired    = "a zookeeper client is turned away: it has not authenticated by one of the schemes that are required"
	clientSlow      = "a zookeeper client does not read what it is sent, and is closed"
)

// complain has the log say that something at an address failed, unless it has said so of
// late.
func (s *Server) complain(level slog.Level, kind string, nc net.Conn, about ...any) {
	if left, ok := s.stats.failures.due(failure{kind, remoteIP(nc)}, s.clock()); ok {
		s.say(level, kind, nc, left, about...)
	}
}

// say has the log say it, and how many lines like it were left out.
func (s *Server) say(level slog.Level, kind string, nc net.Conn, left int, about ...any) {
	about = append([]any{"client", nc.RemoteAddr()}, about...)
	if left > 0 {
		about = append(about, "left_out", left)
	}
	s.cfg.Logger.Log(context.Background(), level, kind, about...)
}

// complain is the server's, about a connection that has a session.
func (c *conn) complain(kind string, about ...any) {
	c.srv.complain(slog.LevelWarn, kind, c.nc, append([]any{"session", sessionID(c.session.ID)}, about...)...)
}

// refused tells of a client that there is no place for.
func (s *Server) refused(nc net.Conn, full string) {
	limit, name := s.cfg.Limits.MaxPerIP, "maxClientCnxns"
	if full == tooManyOfAll {
		limit, name = s.cfg.Limits.MaxConns, "maxCnxns"
	}
	s.complain(slog.LevelWarn, full, nc, name, limit)
}

// strange tells of a connection whose first frame is none; head is how it begins.
func (s *Server) strange(nc net.Conn, head []byte, err error) {
	if !errors.Is(err, errFrameLength) {
		return // it went away, or sent nothing in time: port scanners and probes do
	}
	s.complain(slog.LevelWarn, noZooKeeper, nc, "looks_like", guess(head), "reason", err)
}

// guess says what begins with head.
func guess(head []byte) string {
	switch {
	case len(head) > 2 && head[0] == 0x16 && head[1] == 3: // RFC 8446, 5.1
		return "TLS"
	case bytes.HasPrefix(head, []byte("PRI ")):
		return "HTTP/2 or gRPC"
	}
	for _, method := range [...]string{"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "CONN"} {
		if bytes.HasPrefix(head, []byte(method)) {
			return "HTTP"
		}
	}
	return "unknown"
}

// turnedDown tells of a handshake that failed for a reason of the client's.
func (s *Server) turnedDown(nc net.Conn, err error) {
	switch {
	case errors.Is(err, errAhead):
		s.complain(slog.LevelWarn, clientAhead, nc, "reason", err)
	case malformed(err):
		s.complain(slog.LevelWarn, noZooKeeper, nc, "looks_like", guess(nil), "reason", err)
	case errors.Is(err, errNeedsLeader), errors.Is(err, errRenewal), errors.Is(err, errNoContact):
		s.complain(slog.LevelInfo, handshakeFailed, nc, "reason", err)
	}
}

// malformed says whether err is about bytes that make no sense.
func malformed(err error) bool {
	return errors.Is(err, jute.ErrShort) || errors.Is(err, jute.ErrLength) || errors.Is(err, jute.ErrNull)
}

// unattached tells of a client that asked for a session that is not there, or not its own.
// Which it is takes a look at all sessions: no more often than there is a line.
func (s *Server) unattached(ctx context.Context, nc net.Conn, id core.LeaseID) {
	left, ok := s.stats.failures.due(failure{sessionUnknown, remoteIP(nc)}, s.clock())
	if !ok {
		return
	}
	level, kind := slog.LevelInfo, sessionUnknown
	all, err := s.cfg.Sessions.List(ctx)
	if err == nil && slices.ContainsFunc(all, func(one core.SessionStatus) bool { return one.ID == id }) {
		level, kind = slog.LevelWarn, wrongPassword
	}
	s.say(level, kind, nc, left, "session", sessionID(id)) //nolint:contextcheck // the line is due even if the client has gone
}

// parted tells why a connection was closed, if that is the client's own doing and not
// what clients do.
func (c *conn) parted(err error) {
	switch {
	case errors.Is(err, errFrameLength):
		c.complain(frameTooLong, "reason", err)
	case malformed(err), errors.Is(err, errNoToken):
		c.complain(badRequest, "reason", err)
	case errors.Is(err, errSlowClient), errors.Is(err, errNotReading):
		c.complain(clientSlow, "reason", err)
	}
}

// unknownOperation tells of a request for an operation that there is not.
func (c *conn) unknownOperation(op wire.OpCode) { c.complain(unknownOpcode, "opcode", int32(op)) }

// unproven tells of a client whose auth packet proved nothing: of what was in it no more
// than the scheme.
func (c *conn) unproven(scheme string) {
	reason := "the scheme is not served"
	if c.srv.registered(scheme) {
		reason = "what it showed proves nothing"
	}
	c.complain(authRefused, "scheme", shortened(scheme), "reason", reason)
}

// shortened is text of a client's as far as the log is to have it.
func shortened(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// tooLong is the error of a frame that claims to be n bytes long.
func tooLong(n, limit int) error {
	return fmt.Errorf("%w: %d bytes, and jute.maxbuffer is %d", errFrameLength, n, limit)
}

// aheadOf is the error of a client that has seen more than there is.
func aheadOf(seen, rev core.Rev) error {
	return fmt.Errorf("%w: 0x%x, and this one is at 0x%x", errAhead, int64(seen), int64(rev))
}
