package zk

import (
	"context"
	"strings"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opCloseSession = operation{name: "closeSession", decode: decodeClose, reply: replyNothing}
	opPing         = operation{name: "ping", run: (*conn).ping}
	opSync         = operation{name: "sync", decode: decodeSync, run: (*conn).sync}
	opAuth         = operation{name: "auth", decode: decodeAuth, run: (*conn).done}
	opWhoAmI       = operation{name: "whoAmI", run: (*conn).whoAmI}
	opReconfig     = operation{name: "reconfig", decode: decodeReconfig, run: (*conn).reconfig, sees: seesAll}
)

// decodeClose makes the last request of a connection.
func decodeClose(_ *conn, q *request, _ *jute.Reader) {
	q.cmd = &core.SessionClose{}
	q.last = true
}

// ping answers with a header, under the xid of pings whatever the request's was
// (ZooKeeper 3.9 FinalRequestProcessor). Who is out of contact does not know that the
// session lives, and must not say so (design 9).
func (c *conn) ping(q *request) error {
	if !c.local && c.srv.cfg.Sessions.Contact() != nil {
		return errNoContact
	}
	q.xid = wire.XidPing
	return c.answer(q, c.shown(), wire.OK, nil)
}

// done answers with a header what was done when it was read.
func (c *conn) done(q *request) error { return c.answer(q, c.shown(), wire.OK, nil) }

func decodeSync(_ *conn, q *request, r *jute.Reader) {
	var m wire.SyncRequest
	m.Decode(r)
	q.path = m.Path
}

// sync answers once every write is seen that was acknowledged, by any member,
// before it came: stricter than ZooKeeper's, which asks nobody but the leader (Z7).
// A request behind it on the connection sees as much.
func (c *conn) sync(q *request) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	c.run.release()
	v, err := c.view(ctx, q, core.Consistency{Linearizable: true})
	if err != nil {
		return c.fail(q, err)
	}
	c.run.view, c.run.viewer = v, q.who
	if !c.await(v.Rev()) {
		return errEnded
	}
	return c.answer(q, v.Rev(), wire.OK, (&wire.SyncResponse{Path: q.path}).Append)
}

// whoAmI tells the client what it has proven to be: of a digest the name alone (ZooKeeper
// 3.9 AuthUtil.getClientInfos). Of a scheme that is not registered it has no name.
func (c *conn) whoAmI(q *request) error {
	m := wire.WhoAmIResponse{ClientInfo: []wire.ClientInfo{}}
	for scheme, id := range q.who.proven.All() {
		switch {
		case scheme == schemeDigest:
			id, _, _ = strings.Cut(id, ":")
		case !c.srv.registered(scheme):
			id = ""
		}
		m.ClientInfo = append(m.ClientInfo, wire.ClientInfo{Scheme: scheme, User: id})
	}
	return c.answer(q, c.shown(), wire.OK, m.Append)
}
