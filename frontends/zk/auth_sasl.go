package zk

import (
	"errors"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/sasl"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// opSASL is a step of authentication by SASL. It is taken where the request is read, as
// what it proves counts for the requests behind it; the reply waits for its turn.
var opSASL = operation{name: "sasl", decode: decodeSASL, run: (*conn).answerSASL}

// saslReply is the reply to a step. One to a failure has a body, too.
type saslReply struct {
	wire.SASLMessage
	code wire.ErrorCode
}

// superSASL is the SASL user whose password may be a setting of its own
// (SASLAuthenticationProvider.superPassword).
const superSASL = "super"

var errNoToken = errors.New("a sasl packet without a token")

// decodeSASL takes a token of the client's: a step of an exchange in which the second
// one proves who it is. What comes after that, or after a failure, fails. Without users,
// which is without a section of a login file, there is no exchange, and nothing is
// proven (ZooKeeper 3.9 ZooKeeperServer.processSasl).
func decodeSASL(c *conn, q *request, r *jute.Reader) {
	var m wire.SASLMessage
	m.Decode(r)
	switch {
	case r.Err() != nil:
		return
	case m.Token == nil:
		r.Fail(errNoToken)
		return
	}
	var reply saslReply
	q.body = &reply
	security := &c.srv.cfg.Security
	if security.Users == nil {
		return
	}
	if c.exchange == nil {
		c.exchange = sasl.New(security.password)
	}
	token, err := c.exchange.Step(m.Token)
	if err == nil {
		reply.Token = token
		c.identifySASL(c.exchange.User())
		return
	}
	c.complain(saslRefused, "reason", err)
	required := security.enforces(schemeSASL)
	if security.AllowSASLFailed && !required {
		return // it goes on as nobody
	}
	reply.code, q.last = wire.AuthFailed, true
	if required {
		reply.code = wire.SessionClosedRequireSASL
	}
}

// answerSASL replies to a step, with a token or without one. As with ZooKeeper, such a
// reply tells no zxid.
func (c *conn) answerSASL(q *request) error {
	reply := q.body.(*saslReply)
	return c.answer(q, 0, reply.code, reply.Append)
}

// identifySASL notes who a client has proven to be; nothing while it has not yet.
func (c *conn) identifySASL(user string) {
	if user == "" {
		return
	}
	now := c.who.Load()
	shown := now.credentials
	shown.SASLUser = user
	c.who.Store(now.with(schemeSASL, user, shown))
	if slices.Contains(c.srv.cfg.Security.SASLSuper, user) {
		c.identify(core.SchemeSuper, "")
	}
}

// password is that of a user of SASL.
func (s *Security) password(user string) (string, bool) {
	password, ok := s.Users[user]
	if ok && user == superSASL && s.SASLSuperPassword != "" {
		password = s.SASLSuperPassword
	}
	return password, ok
}
