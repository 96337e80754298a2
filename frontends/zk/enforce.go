package zk

import (
	"slices"

	"github.com/triglot/triglot/frontends/zk/wire"
)

// opTurnedAway serves requests of clients that have not authenticated as they must.
var opTurnedAway = operation{name: "turned away", run: (*conn).turnAway}

var saslAlone = []string{schemeSASL}

// enforced are the schemes of which a client must have authenticated by one; nil is that
// it need not. To require SASL leaves no other (ZooKeeper 3.9 AuthenticationHelper).
func (s *Security) enforced() []string {
	switch {
	case s.RequireSASL:
		return saslAlone
	case s.RequireAuth:
		return s.AuthSchemes
	}
	return nil
}

func (s *Security) enforces(scheme string) bool { return slices.Contains(s.enforced(), scheme) }

// admits says whether the connection may make a request now. Until it has authenticated
// as it must it may do nothing else: not even ping, or close its session.
func (c *conn) admits(op wire.OpCode) bool {
	schemes := c.srv.cfg.Security.enforced()
	if schemes == nil || op == wire.OpAuth || op == wire.OpSASL {
		return true
	}
	for scheme := range c.who.Load().proven.All() {
		if slices.Contains(schemes, scheme) {
			return true
		}
	}
	return false
}

// turnAway tells the client why, under no zxid, as ZooKeeper does. The connection is
// closed behind it; the session is left to expire.
func (c *conn) turnAway(q *request) error {
	c.complain(authRequired, "schemes", c.srv.cfg.Security.enforced())
	return c.answer(q, 0, wire.SessionClosedRequireSASL, nil)
}
