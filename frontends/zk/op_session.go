package zk

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opCloseSession = operation{name: "closeSession", decode: decodeClose, reply: replyNothing}
	opPing         = operation{name: "ping", run: (*conn).ping}
	opSync         = operation{name: "sync", decode: decodeSync, run: (*conn).sync}
	opAuth         = operation{name: "auth", decode: decodeAuth, run: (*conn).authOK}
)

// decodeClose makes the last request of a connection.
func decodeClose(_ *conn, q *request, _ *jute.Reader) {
	q.cmd = &core.SessionClose{}
	q.last = true
}

// ping answers with a header, under the xid of pings whatever the request's was
// (ZooKeeper 3.9 FinalRequestProcessor).
func (c *conn) ping(q *request) error {
	q.xid = wire.XidPing
	return c.answer(q, c.shown(), wire.OK, nil)
}

// authOK answers with a header.
func (c *conn) authOK(q *request) error { return c.answer(q, c.shown(), wire.OK, nil) }

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
	v, err := c.srv.cfg.Store.View(ctx, c.srv.principal(ctx, q.who), core.Consistency{Linearizable: true})
	if err != nil {
		return c.fail(q, err)
	}
	c.run.view, c.run.viewer = v, q.who
	if !c.await(v.Rev()) {
		return errEnded
	}
	return c.answer(q, v.Rev(), wire.OK, (&wire.SyncResponse{Path: q.path}).Append)
}

// decodeAuth decides on an AuthPacket. There are no ACLs yet that name anyone, so
// that nothing depends on what a client says it is: digest takes any user and
// password, and ip needs none, as in ZooKeeper 3.9. Any other scheme fails, which
// ends the connection.
func decodeAuth(_ *conn, q *request, r *jute.Reader) {
	var m wire.AuthPacket
	m.Decode(r)
	switch {
	case r.Err() != nil:
	case m.Scheme == "ip", m.Scheme == "digest" && m.Auth != nil:
	default:
		q.refuse(wire.AuthFailed)
		q.last = true
	}
}
